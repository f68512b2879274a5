"""The verb `verify`: a receipt against the embeddings it was made from, and what differs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeGuard

from fieldmark._version import __version__
from fieldmark.config import load_config
from fieldmark.data.shards import INFO_NAME
from fieldmark.errors import CannotEvaluateError, ConfigError, EmbeddingsError, NonFiniteEmbeddingError
from fieldmark.runtime import Runtime
from fieldmark.training.layout import RunLayout
from fieldmark.workflows.evaluate import MeasuredFolder, find_embeddings, measure_folder
from fieldmark.workflows.receipt import DIGEST_NAMES, ItemDigests, Receipt, hash_evaluator, make_receipt, read_receipt

TOLERANCE = 1e-9
"""By how much a number may differ: the libraries of another machine sum in another order."""

SHOWN_DIFFERENCES = 12
"""Of each kind, in the text."""


class Cause(StrEnum):
    """What a difference lies in."""

    RECEIPT = "receipt"
    MODEL = "model"
    CONFIG = "config"
    LABEL = "label"
    ITEM = "item"
    EMBEDDING = "embedding"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the receipt says.

    Args:
        name: The key, item or number.
        expected: What the receipt says.
        found: What is there now.
    """

    cause: Cause
    name: str
    expected: object
    found: object


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found.

    Args:
        notes: What explains a difference or limits the verification, without being one.
        number_count: Numbers that were computed again.
    """

    path: Path
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    item_count: int
    number_count: int

    @property
    def is_verified(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "receipt": str(self.path),
            "verified": self.is_verified,
            "item_count": self.item_count,
            "number_count": self.number_count,
            "differences": [
                {"cause": d.cause.value, "name": d.name, "receipt": d.expected, "found": d.found}
                for d in self.differences
            ],
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """The verdict, then the differences by cause."""
        lines = [*self.notes]
        for cause in Cause:
            own = [d for d in self.differences if d.cause is cause]
            if own:
                lines += ["", _TITLES[cause] + f" ({len(own):,}):"]
                lines += [
                    f"  {d.name}: {_say(d.expected)} in the receipt, {_say(d.found)} now"
                    for d in own[:SHOWN_DIFFERENCES]
                ]
                if len(own) > SHOWN_DIFFERENCES:
                    lines.append(f"  and {len(own) - SHOWN_DIFFERENCES:,} more; --json lists them")
        if self.is_verified:
            verdict = (
                f"verified: {self.item_count:,} items are unchanged, {self.number_count:,} numbers were computed again"
            )
        else:
            causes = ", ".join(dict.fromkeys(d.cause.value for d in self.differences))
            noun = "difference" if len(self.differences) == 1 else "differences"
            verdict = f"not verified: {len(self.differences):,} {noun}, in {causes}"
        return "\n".join([verdict, *lines])


_TITLES = {
    Cause.RECEIPT: "The receipt itself was changed after it was written",
    Cause.MODEL: "The model or its data differ",
    Cause.CONFIG: "Keys of the configuration differ",
    Cause.LABEL: "Labels differ",
    Cause.ITEM: "Items differ",
    Cause.EMBEDDING: "Embeddings differ",
    Cause.NUMBER: "Numbers differ",
}


def verify(
    receipt: Path | str, *, embeddings: Path | str | None = None, runtime: Runtime | None = None
) -> VerifyReport:
    """Computes a receipt's numbers again from the embeddings, and compares all that it says with what is there.

    Args:
        embeddings: Where they lie now; None for where the receipt says, seen from its own folder.

    Raises:
        ReceiptError: The file is no receipt.
        ReceiptVersionError: It has the form of another version.
        EmbeddingsError: The embeddings are not there, not complete or damaged.
    """
    path = Path(receipt)
    expected = read_receipt(path)
    differences = list(_check_receipt(expected))
    folder = path.parent / expected.embeddings_path if embeddings is None else Path(embeddings)
    if not (find_embeddings(folder) / INFO_NAME).is_file():
        reason = "no finished embeddings are there; give the folder that holds them now with --embeddings"
        raise EmbeddingsError(path=folder, reason=reason)
    notes = list(_notes(expected))
    try:
        measured = measure_folder(folder, settings=expected.settings, runtime=runtime)
    except (CannotEvaluateError, NonFiniteEmbeddingError) as error:
        differences.append(Difference(Cause.EMBEDDING, "all", "measured", str(error)))
        return VerifyReport(path, tuple(differences), tuple(notes), item_count=0, number_count=0)
    found = make_receipt(measured, path=path)
    differences += _compare_values(Cause.MODEL, expected.model, found.model)
    differences += _compare_config(expected, measured, found, notes)
    differences += _compare_items(expected.items, found.items)
    if not differences and expected.items_sha256 != found.items_sha256:
        differences.append(Difference(Cause.ITEM, "items_sha256", expected.items_sha256, found.items_sha256))
    differences += _compare_numbers(expected, found, notes)
    return VerifyReport(
        path,
        tuple(differences),
        tuple(notes),
        item_count=sum(len(items) for by_class in found.items.values() for items in by_class.values()),
        number_count=sum(isinstance(value, float) for _, value in _leaves(found.results)),
    )


def _check_receipt(receipt: Receipt) -> Iterator[Difference]:
    """Whether the receipt still has the hash it was written with."""
    own = receipt.own_hash()
    if own != receipt.receipt_sha256:
        yield Difference(Cause.RECEIPT, "receipt_sha256", receipt.receipt_sha256, own)


def _notes(receipt: Receipt) -> Iterator[str]:
    if receipt.fieldmark != __version__:
        yield f"made by fieldmark {receipt.fieldmark}, verified by {__version__}"
    if receipt.evaluator_sha256 != hash_evaluator():
        yield "the evaluation code is not the one that made the receipt; where only numbers differ, this is why"


def _compare_config(
    expected: Receipt, measured: MeasuredFolder, found: Receipt, notes: list[str]
) -> Iterator[Difference]:
    """The receipt's configuration against the one the embeddings tell, and against the run's own file."""
    if expected.config is None:
        notes.append("the receipt tells no configuration: its embeddings were made before that was kept")
        return
    yield from _compare_values(Cause.CONFIG, expected.config, found.config or {})
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
        yield from _compare_values(Cause.CONFIG, expected.config, of_run, where=f" of {run_config}")


def _compare_numbers(expected: Receipt, found: Receipt, notes: list[str]) -> Iterator[Difference]:
    """The numbers that the receipt tells; those that only a newer evaluation measures are noted."""
    old, new = dict(_leaves(expected.results)), dict(_leaves(found.results))
    unknown = new.keys() - old.keys()
    if unknown:
        notes.append(f"{len(unknown):,} values of this evaluation are not in the receipt, and were not compared")
    yield from _compare_values(Cause.NUMBER, old, {name: value for name, value in new.items() if name in old})


def _compare_items(expected: ItemDigests, found: ItemDigests) -> Iterator[Difference]:
    """Items that are gone, new, of another class, or with another digest."""
    old, new = dict(_placed(expected)), dict(_placed(found))
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            met, now = ("there", "gone") if name in old else ("not there", "there")
            yield Difference(Cause.ITEM, name, met, now)
            continue
        (old_class, old_digests), (new_class, new_digests) = old[name], new[name]
        if old_class != new_class:
            yield Difference(Cause.LABEL, name, old_class, new_class)
        for what, one, other in zip(DIGEST_NAMES, old_digests, new_digests, strict=True):
            if one != other:
                cause = Cause.EMBEDDING if what == "embedding" else Cause.ITEM
                yield Difference(cause, f"{what} of {name}", one, other)


def _placed(items: ItemDigests) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Each item, with its medium, its class and its digests."""
    for medium, by_class in items.items():
        for class_name, digests in by_class.items():
            for item_id, digest in digests.items():
                yield f"{medium} {item_id}", (class_name, digest.split())


def _compare_values(cause: Cause, expected: object, found: object, *, where: str = "") -> Iterator[Difference]:
    """The leaves of two plain values that differ; numbers may by `TOLERANCE`."""
    old, new = dict(_leaves(expected)), dict(_leaves(found))
    for name in [*old, *(name for name in new if name not in old)]:
        one, other = old.get(name), new.get(name)
        if _is_number(one) and _is_number(other):
            if not abs(one - other) <= TOLERANCE:  # NaN is near to nothing
                yield Difference(cause, name + where, one, other)
        elif one != other:
            yield Difference(cause, name + where, one, other)


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every plain value inside, under its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{place}")
    else:
        yield name, value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _say(value: object) -> str:
    """A value as the text shows it."""
    if value is None:
        return "nothing"
    return f"{value:.12g}" if isinstance(value, float) else f"'{value}'" if isinstance(value, str) else str(value)
