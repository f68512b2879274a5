"""The verb `evaluate`: an embeddings folder to the 16 MAPs."""

from pathlib import Path
from typing import Literal

from fieldmark.data.shards import read_embeddings
from fieldmark.evaluation.protocol import PROTOCOLS, Evaluation
from fieldmark.evaluation.protocol import evaluate as measure
from fieldmark.types import Split


def evaluate(
    folder: Path | str, *, protocol: Literal["strict", "paper"] = "strict", split: Split | None = None, seed: int = 0
) -> Evaluation:
    """Measures the 12 + 4 tasks on the embeddings in a folder.

    Args:
        split: Which items of the folder; None takes those of the test split, or all where there are none.
        seed: Of the bootstrap.

    Raises:
        EmbeddingsError: The folder is not complete or damaged.
        CannotEvaluateError: Nothing in it can be measured.
        NonFiniteEmbeddingError: Items without a usable vector.
    """
    embeddings, info = read_embeddings(Path(folder))
    if split is None and any(item.split is Split.TEST for item in embeddings.items):
        split = Split.TEST
    return measure(
        embeddings, protocol=PROTOCOLS[protocol], split=split, straddling_groups=info.straddling_groups, seed=seed
    )
