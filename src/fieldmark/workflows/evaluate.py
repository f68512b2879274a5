"""The verb `evaluate`: an embeddings folder to the 16 MAPs, the receipt and the page."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark._version import __version__
from fieldmark.data.shards import INFO_NAME, EmbeddingsInfo, read_content_hashes, read_embeddings
from fieldmark.data.taxonomy import read_taxonomy
from fieldmark.errors import ManifestError, list_first
from fieldmark.evaluation.measurement import EvaluationContext, Measurement, measure
from fieldmark.evaluation.protocol import PROTOCOLS, ProtocolName, Settings
from fieldmark.evaluation.ranking import Compute
from fieldmark.evaluation.receipt import RECEIPT_VERSION, ItemDigests, Receipt, digest_items, hash_evaluator, hash_items
from fieldmark.evaluation.result import Evaluation
from fieldmark.io import encode_report, write_text
from fieldmark.leakage import Findings, Leak, find_leaks, read_findings
from fieldmark.origin import LinkKind, link_origins
from fieldmark.runtime import Runtime
from fieldmark.types import Embeddings, Item, Reporter, SilentReporter, Split
from fieldmark.workflows.questions import ask_questions

_MEASURED_RANKS = ("genus", "family")
"""Ranks of a taxonomy at which a wrong hit may still be worth something."""


@dataclass(frozen=True, slots=True)
class MeasuredFolder:
    """An embeddings folder, its content, and its evaluation."""

    folder: Path
    settings: Settings
    embeddings: Embeddings
    info: EmbeddingsInfo
    measurement: Measurement

    @property
    def evaluation(self) -> Evaluation:
        """The numbers."""
        return self.measurement.evaluation

    def digest_items(self) -> ItemDigests:
        """Return the digests of every item in the folder."""
        return digest_items(self.embeddings, read_content_hashes(self.folder))

    def hash_items(self, items: ItemDigests) -> str:
        """Return one hash over all items and over the facts of the folder."""
        info = self.info
        return hash_items(
            items,
            leaking_groups=info.straddling_groups,
            leaking_ids=info.leaking_ids,
            class_names=info.class_names,
        )


def evaluate(  # noqa: PLR0913 - users set each of them independently
    folder: Path | str,
    *,
    protocol: ProtocolName = "strict",
    split: Split | None = None,
    seed: int = 0,
    taxonomy: Path | str | None = None,
    findings: Path | str | None = None,
    traits: Path | str | None = None,
    runtime: Runtime | None = None,
) -> Evaluation:
    """Measure the 12 + 4 tasks on the embeddings in a folder.

    Args:
        folder: Embeddings, or a run folder that contains them.
        split: The split to measure; None for test, or for all items where there are none of test.
        seed: Of the bootstrap.
        taxonomy: A CSV file with genus and family of the classes; None measures at class rank only.
        findings: What `data check --json` printed for the manifest: the strict protocol then leaves out near
            duplicates of training items too. None leaves out the leaks that `embed` found.
        traits: A table of the marks of species, from which questions of one, two and three marks are made; None asks
            none. It judges, so it should tell the model nothing.

    Raises:
        EmbeddingsError: The folder is not complete or damaged.
        EvaluationError: Nothing in it can be measured.
        NonFiniteEmbeddingError: Items without a usable vector.
        ManifestError: The taxonomy cannot be read, or has genus and family of none of the classes; the findings
            cannot be read.
    """
    settings = Settings(protocol=protocol, split=split, seed=seed)
    measured = measure_folder(
        folder, settings=settings, taxonomy=taxonomy, findings=findings, traits=traits, runtime=runtime
    )
    return measured.evaluation


def measure_folder(
    folder: Path | str,
    *,
    settings: Settings,
    taxonomy: Path | str | None = None,
    findings: Path | str | None = None,
    traits: Path | str | None = None,
    runtime: Runtime | None = None,
) -> MeasuredFolder:
    """Measure a folder, query by query; the classes that its model scores are those seen in training.

    Args:
        taxonomy: A CSV file with the ranks; None for those of the settings.
        findings: Of a check; None for the leaks of the settings.
        traits: A table to make questions from; None for the questions of the settings.

    Raises:
        ConfigError: The table of traits cannot be read.
        CheckpointError: The model is not there, which has to embed the questions.
        EmbeddingsError: As for `evaluate`.
        EvaluationError: As for `evaluate`.
        NonFiniteEmbeddingError: As for `evaluate`.
        ManifestError: As for `evaluate`.
    """
    folder = find_embeddings(Path(folder))
    embeddings, info = read_embeddings(folder)
    if taxonomy is not None:
        settings = replace(settings, ranks=_read_ranks(Path(taxonomy), embeddings.items))
    if findings is not None:
        settings = replace(settings, leaks=_find_further_leaks(embeddings.items, read_findings(Path(findings))))
    if traits is not None:
        asked = ask_questions(
            Path(traits),
            embeddings=embeddings,
            folder=folder,
            info=info,
            seed=settings.seed,
            runtime=runtime or Runtime.from_environment(),
        )
        settings = replace(settings, questions=asked)
    split = settings.split
    if split is None and any(item.split is Split.TEST for item in embeddings.items):
        split = Split.TEST
    context = EvaluationContext(
        split=split,
        leaks=(*settings.leaks, *_list_leaks(embeddings.items, info)),
        seen_classes=frozenset(info.class_names) if info.class_names else None,
        ranks=settings.ranks,
        questions=settings.questions,
    )
    measurement = measure(
        embeddings,
        protocol=PROTOCOLS[settings.protocol],
        context=context,
        seed=settings.seed,
        compute=Compute(device=(runtime or Runtime.from_environment()).choose_device()),
        with_space=True,
    )
    return MeasuredFolder(folder, settings, embeddings, info, measurement)


def _list_leaks(items: Iterable[Item], info: EmbeddingsInfo) -> tuple[Leak, ...]:
    """Return the leaks that a folder knows of; earlier versions name only test items, or only their groups."""
    if info.leaks:
        return info.leaks
    tested = [item for item in items if item.split is Split.TEST]
    groups = frozenset(info.straddling_groups)
    ids = {**dict.fromkeys(info.leaking_ids, LinkKind.ORIGIN)}
    ids |= {item.item_id: LinkKind.GROUP for item in tested if item.group in groups}
    return tuple(Leak(item_id, kind, None) for item_id, kind in ids.items())


def _find_further_leaks(items: Iterable[Item], findings: Findings) -> tuple[Leak, ...]:
    """Return the embedded items that leak by the findings of a check, on their own or through their origin."""
    own = {item.item_id: item for item in items}
    leaks = find_leaks(
        {**findings.splits, **{item_id: item.split for item_id, item in own.items()}},
        [*link_origins(own.values()), *findings.links],
    )
    return tuple(leak for leak in leaks if leak.item_id in own)


def write_receipt(measured: MeasuredFolder, path: Path) -> None:
    """Write the receipt of an evaluation, whole or not at all."""
    make_receipt(measured, path=path).write(path)


def make_receipt(measured: MeasuredFolder, *, path: Path) -> Receipt:
    """Return the receipt of an evaluation, to be written at `path`."""
    info, settings = measured.info, measured.settings
    items = measured.digest_items()
    config = info.facts.get("config")
    return Receipt(
        receipt_version=RECEIPT_VERSION,
        receipt_sha256="",
        fieldmark=__version__,
        evaluator_sha256=hash_evaluator(),
        versions=info.versions,
        embeddings_path=Path(os.path.relpath(measured.folder.resolve(), path.parent.resolve())).as_posix(),
        model={
            "fingerprint": info.fingerprint,
            "dim": info.dim,
            **{key: value for key, value in info.facts.items() if key != "config"},
        },
        config=config if isinstance(config, dict) else None,
        protocol=settings.protocol,
        split=settings.split,
        seed=settings.seed,
        ranks=settings.ranks,
        leaks=settings.leaks,
        questions=settings.questions,
        items_sha256=measured.hash_items(items),
        results=encode_report(measured.evaluation),
        items=items,
    ).sign()


def write_report(
    measured: MeasuredFolder, path: Path, *, title: str | None = None, reporter: Reporter | None = None
) -> None:
    """Write the page of an evaluation, whole or not at all; media that cannot be read are reported.

    Args:
        title: None takes the names of the run and of the folder.
    """
    # Loaded here: the page needs the decoders of media, and most evaluations are written without one.
    from fieldmark.evaluation.published import read_published
    from fieldmark.reports.evaluation_page import render_evaluation_page

    folder = measured.folder.resolve()
    page = render_evaluation_page(
        measured.measurement,
        title=title or f"{folder.parent.name}/{folder.name}",
        published=read_published(),
        facts=tuple(_list_facts(measured)),
        reporter=reporter or SilentReporter(),
    )
    write_text(path, page)


def _list_facts(measured: MeasuredFolder) -> Iterator[tuple[str, str]]:
    """Yield the facts that the numbers were made from, as far as the folder knows them."""
    info, settings = measured.info, measured.settings
    yield "fieldmark", __version__
    yield "made by", ", ".join(f"{name} {version}" for name, version in info.versions.items())
    yield "model", f"{info.fingerprint}, {info.dim} dimensions"
    for name in ("checkpoint", "manifest", "manifest_sha256", "split"):
        if name in info.facts:
            yield name.replace("_", " "), str(info.facts[name])
    yield "items sha256", measured.hash_items(measured.digest_items())
    yield "bootstrap seed", str(settings.seed)
    config = info.facts.get("config")
    if isinstance(config, dict) and "seed" in config:
        yield "training seed", str(config["seed"])


def _read_ranks(path: Path, items: Iterable[Item]) -> dict[str, dict[str, str]]:
    """Return genus and family of each class of the items, by any of its names in the taxonomy."""
    taxonomy = read_taxonomy(path)
    class_names = sorted({item.class_name for item in items if item.class_name is not None})
    ranks: dict[str, dict[str, str]] = {}
    for rank in _MEASURED_RANKS:
        told = taxonomy.names_at(rank)
        entries = {name: taxonomy.class_named(name) for name in class_names}
        ranks[rank] = {name: told[entry] for name, entry in entries.items() if entry in told}
    if not any(ranks.values()):
        raise ManifestError(
            f"The taxonomy '{path}' gives no genus and family for any of the {len(class_names):,} classes of the "
            f"embeddings ({list_first(class_names)}). Give a row with 'class_name', 'genus' and 'family' for each.",
            kind="taxonomy",
        )
    return ranks


def find_embeddings(path: Path) -> Path:
    """Return the embeddings folder at a path: itself, the only one in a run folder, or the one named `test`."""
    if (path / INFO_NAME).is_file():
        return path
    inside = sorted(file.parent for file in path.glob(f"*/{INFO_NAME}"))
    if path / "test" in inside:
        return path / "test"
    return inside[0] if len(inside) == 1 else path
