"""The verb `verify`: a receipt against the embeddings it was made from, and every difference."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldmark._version import __version__
from fieldmark.config_file import load_config
from fieldmark.data.manifest import read_manifest
from fieldmark.data.shards import INFO_NAME, read_content_hashes
from fieldmark.errors import (
    ConfigError,
    EmbeddingsError,
    EvaluationError,
    ManifestError,
    NonFiniteEmbeddingError,
    write_count,
)
from fieldmark.evaluation.receipt import Receipt, hash_evaluator, read_receipt
from fieldmark.evaluation.verification import (
    Cause,
    Difference,
    check_hash,
    compare_items,
    compare_manifest,
    compare_media,
    compare_numbers,
    compare_values,
    count_numbers,
)
from fieldmark.runtime import Runtime
from fieldmark.training.layout import RunLayout
from fieldmark.workflows.evaluate import MeasuredFolder, find_embeddings, make_receipt, measure_folder

_SHOWN_DIFFERENCES = 12
"""Differences of each cause that the text shows."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification.

    Args:
        notes: Remarks that explain a difference or limit the verification.
        unseen: What could not be looked at.
        number_count: Numbers that were computed again.
        file_count: Media files that were compared.
    """

    path: Path
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    item_count: int
    number_count: int
    unseen: tuple[str, ...] = ()
    file_count: int = 0

    json_keys: ClassVar = (
        "receipt=path",
        "verified=is_verified",
        "item_count",
        "number_count",
        "file_count",
        "not_looked_at=unseen",
        "differences",
        "notes",
    )

    @property
    def is_verified(self) -> bool:
        """True if nothing differs."""
        return not self.differences

    def to_text(self) -> str:
        """Return the verdict, then the differences by cause, as text."""
        lines = [*self.notes, *(f"not looked at: {each}" for each in self.unseen)]
        for cause in Cause:
            own = [d for d in self.differences if d.cause is cause]
            if own:
                lines += ["", _TITLES[cause] + f" ({len(own):,}):"]
                lines += [
                    f"  {d.name}: {_format_value(d.expected)} in the receipt, {_format_value(d.found)} now"
                    for d in own[:_SHOWN_DIFFERENCES]
                ]
                if len(own) > _SHOWN_DIFFERENCES:
                    lines.append(f"  and {len(own) - _SHOWN_DIFFERENCES:,} more; --json lists them")
        if self.is_verified:
            verdict = (
                f"verified: {self.item_count:,} items are unchanged in the embeddings, {self.file_count:,} of their "
                f"files on disk; {self.number_count:,} numbers were recomputed"
            )
        else:
            causes = ", ".join(dict.fromkeys(d.cause.value for d in self.differences))
            verdict = f"not verified: {write_count(len(self.differences), 'difference')}, in {causes}"
        return "\n".join([verdict, *lines])


_TITLES = {
    Cause.RECEIPT: "The receipt itself was changed after it was written",
    Cause.MODEL: "The model or its data differ",
    Cause.CONFIG: "Keys of the configuration differ",
    Cause.LABEL: "Labels differ",
    Cause.MANIFEST: "The manifest differs from what was embedded",
    Cause.MEDIA: "Media files differ from what was embedded",
    Cause.ITEM: "Items differ",
    Cause.EMBEDDING: "Embeddings differ",
    Cause.NUMBER: "Numbers differ",
}


def verify(
    receipt: Path | str, *, embeddings: Path | str | None = None, runtime: Runtime | None = None
) -> VerifyReport:
    """Compute a receipt's numbers again from the embeddings, and compare every value of it.

    The media and the manifest are compared with what was embedded where they are there; the report says what was not
    looked at.

    Args:
        embeddings: Their folder now; None for the path in the receipt, from its own folder.

    Raises:
        EvaluationError: The file is no receipt.
        EvaluationError: It has the form of another version.
        EmbeddingsError: The embeddings are not there, not complete or damaged.
    """
    path = Path(receipt)
    expected = read_receipt(path)
    differences = list(check_hash(expected))
    folder = path.parent / expected.embeddings_path if embeddings is None else Path(embeddings)
    if not (find_embeddings(folder) / INFO_NAME).is_file():
        raise EmbeddingsError(
            path=folder,
            reason="no finished embeddings are there; give the folder that holds them now with --embeddings",
        )
    notes = list(_list_notes(expected))
    try:
        measured = measure_folder(folder, settings=expected.settings, runtime=runtime)
    except (EvaluationError, NonFiniteEmbeddingError) as error:
        differences.append(Difference(Cause.EMBEDDING, "all", "measured", str(error)))
        return VerifyReport(path, tuple(differences), tuple(notes), 0, 0, (_MODEL_UNSEEN, "media and manifest"))
    found = make_receipt(measured, path=path)
    differences += compare_values(Cause.MODEL, expected.model, found.model)
    differences += _compare_config(expected, measured, found, notes)
    differences += compare_items(expected.items, found.items)
    if not differences and expected.items_sha256 != found.items_sha256:
        differences.append(Difference(Cause.ITEM, "items_sha256", expected.items_sha256, found.items_sha256))
    changed, unknown_count = compare_numbers(expected, found)
    differences += changed
    if unknown_count:
        notes.append(f"{unknown_count:,} values of this evaluation are not in the receipt, and were not compared")
    unseen = [_MODEL_UNSEEN]
    differences += _compare_manifest(expected, measured, unseen)
    changed_files, file_count, gone_count = compare_media(
        {item.item_id: item for item in measured.embeddings.items}.values(), read_content_hashes(measured.folder)
    )
    differences += changed_files
    if gone_count and not file_count:
        unseen.append(f"the media: none of the {gone_count:,} files is where it was")
    return VerifyReport(
        path,
        tuple(differences),
        tuple(notes),
        unseen=tuple(unseen),
        file_count=file_count,
        item_count=sum(len(items) for by_class in found.items.values() for items in by_class.values()),
        number_count=count_numbers(found),
    )


_MODEL_UNSEEN = "the model: the embeddings were taken as they are, and not computed again"


def _compare_manifest(expected: Receipt, measured: MeasuredFolder, unseen: list[str]) -> Iterator[Difference]:
    """Compare the manifest, where it still is, with what was embedded from it."""
    facts = measured.info.facts
    manifest = Path(str(facts.get("manifest", "")))
    if "manifest" not in facts or not manifest.is_file():
        unseen.append("the manifest: it is not where it was, so what is trained on was not compared either")
        return
    sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
    if sha256 == expected.model.get("manifest_sha256"):
        return
    yield Difference(Cause.MANIFEST, f"sha256 of {manifest}", expected.model.get("manifest_sha256"), sha256)
    try:
        items = read_manifest(manifest)
    except ManifestError as error:
        yield Difference(Cause.MANIFEST, str(manifest), "readable", str(error))
        return
    yield from compare_manifest({item.item_id: item for item in measured.embeddings.items}.values(), items)


def _list_notes(receipt: Receipt) -> Iterator[str]:
    if receipt.fieldmark != __version__:
        yield f"made by fieldmark {receipt.fieldmark}, verified by {__version__}"
    if receipt.evaluator_sha256 != hash_evaluator():
        yield (
            "the evaluation code, or a library it computes with, is not the one that made the receipt; if only numbers "
            "differ, this is why"
        )


def _compare_config(
    expected: Receipt, measured: MeasuredFolder, found: Receipt, notes: list[str]
) -> Iterator[Difference]:
    """Compare the receipt's configuration with that of the embeddings, and with the run's own file."""
    if expected.config is None:
        notes.append("the receipt has no configuration: its embeddings were made before it was recorded")
        return
    yield from compare_values(Cause.CONFIG, expected.config, found.config or {})
    run_config = RunLayout(Path(str(measured.info.facts.get("checkpoint")))).config
    if not run_config.is_file():
        notes.append("the run is not where it was; the configuration was compared with the one kept in the embeddings")
        return
    try:
        of_run = json.loads(load_config(run_config).to_json())
    except ConfigError as error:
        yield Difference(Cause.CONFIG, str(run_config), "readable", str(error))
        return
    if found.config == expected.config:
        yield from compare_values(Cause.CONFIG, expected.config, of_run, where=f" of {run_config}")


def _format_value(value: object) -> str:
    """Return a value as the text shows it."""
    if value is None:
        return "nothing"
    return f"{value:.12g}" if isinstance(value, float) else f"'{value}'" if isinstance(value, str) else str(value)
