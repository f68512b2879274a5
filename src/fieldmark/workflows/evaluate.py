"""The verb `evaluate`: an embeddings folder to the 16 MAPs and all that stands beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fieldmark.data.shards import INFO_NAME, EmbeddingsInfo, read_embeddings
from fieldmark.data.taxonomy import read_taxonomy
from fieldmark.errors import ManifestError, first
from fieldmark.evaluation.protocol import PROTOCOLS, Known, Measurement, measure
from fieldmark.evaluation.ranking import Compute
from fieldmark.evaluation.result import Evaluation
from fieldmark.runtime import Runtime
from fieldmark.types import Embeddings, Item, Split

ProtocolName = Literal["strict", "paper"]

MEASURED_RANKS = ("genus", "family")
"""Of a taxonomy: at these a wrong hit may still be worth something."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation is asked for; a receipt keeps it.

    Args:
        split: Which items of the folder; None takes those of the test split, or all where there are none.
        seed: Of the bootstrap.
        ranks: For genus and family, the name there of each class; empty without a taxonomy.
    """

    protocol: ProtocolName = "strict"
    split: Split | None = None
    seed: int = 0
    ranks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasuredFolder:
    """An embeddings folder, what it holds, and what was measured on it."""

    folder: Path
    settings: Settings
    embeddings: Embeddings
    info: EmbeddingsInfo
    measurement: Measurement

    @property
    def evaluation(self) -> Evaluation:
        """The numbers."""
        return self.measurement.evaluation


def evaluate(
    folder: Path | str,
    *,
    protocol: ProtocolName = "strict",
    split: Split | None = None,
    seed: int = 0,
    taxonomy: Path | str | None = None,
    runtime: Runtime | None = None,
) -> Evaluation:
    """Measures the 12 + 4 tasks on the embeddings in a folder.

    Args:
        folder: Embeddings, or a run folder that holds one folder of them.
        split: Which items of the folder; None takes those of the test split, or all where there are none.
        seed: Of the bootstrap.
        taxonomy: A CSV file that tells genus and family of the classes; None measures at class rank alone.

    Raises:
        EmbeddingsError: The folder is not complete or damaged.
        CannotEvaluateError: Nothing in it can be measured.
        NonFiniteEmbeddingError: Items without a usable vector.
        ManifestError: The taxonomy cannot be read, or tells genus and family of none of the classes.
    """
    settings = Settings(protocol=protocol, split=split, seed=seed)
    return measure_folder(folder, settings=settings, taxonomy=taxonomy, runtime=runtime).evaluation


def measure_folder(
    folder: Path | str, *, settings: Settings, taxonomy: Path | str | None = None, runtime: Runtime | None = None
) -> MeasuredFolder:
    """Everything that was measured on a folder; the classes that its model scores are those seen in training.

    Args:
        taxonomy: Where the settings take their ranks from; None for the ranks that they have.

    Raises:
        EmbeddingsError: As for `evaluate`.
        CannotEvaluateError: As for `evaluate`.
        NonFiniteEmbeddingError: As for `evaluate`.
        ManifestError: As for `evaluate`.
    """
    folder = find_embeddings(Path(folder))
    embeddings, info = read_embeddings(folder)
    if taxonomy is not None:
        settings = replace(settings, ranks=_read_ranks(Path(taxonomy), embeddings.items))
    split = settings.split
    if split is None and any(item.split is Split.TEST for item in embeddings.items):
        split = Split.TEST
    known = Known(
        split=split,
        straddling_groups=frozenset(info.straddling_groups),
        seen_classes=frozenset(info.class_names) if info.class_names else None,
        ranks=settings.ranks,
    )
    measurement = measure(
        embeddings,
        protocol=PROTOCOLS[settings.protocol],
        known=known,
        seed=settings.seed,
        compute=Compute(device=(runtime or Runtime.from_environment()).torch_device()),
        with_space=True,
    )
    return MeasuredFolder(folder, settings, embeddings, info, measurement)


def _read_ranks(path: Path, items: Iterable[Item]) -> dict[str, dict[str, str]]:
    """Genus and family of each class of the items, whatever of its names the taxonomy lists it under."""
    taxonomy = read_taxonomy(path)
    class_names = sorted({item.class_name for item in items if item.class_name is not None})
    ranks: dict[str, dict[str, str]] = {}
    for rank in MEASURED_RANKS:
        told = taxonomy.names_at(rank)
        entries = {name: taxonomy.class_named(name) for name in class_names}
        ranks[rank] = {name: told[entry] for name, entry in entries.items() if entry in told}
    if not any(ranks.values()):
        raise ManifestError(
            f"The taxonomy '{path}' tells genus and family of none of the {len(class_names):,} classes of the "
            f"embeddings ({first(class_names)}). Give a row with 'class_name', 'genus' and 'family' for each.",
            kind="taxonomy",
        )
    return ranks


def find_embeddings(path: Path) -> Path:
    """The embeddings folder at a path: itself, or the only one that a run folder holds, or its `test`."""
    if (path / INFO_NAME).is_file():
        return path
    inside = sorted(file.parent for file in path.glob(f"*/{INFO_NAME}"))
    if path / "test" in inside:
        return path / "test"
    return inside[0] if len(inside) == 1 else path
