"""Questions of a few marks for `evaluate`: made from a table of traits, embedded by the model of the embeddings."""

from pathlib import Path

import numpy as np

from fieldmark.build import load_model
from fieldmark.data.shards import EmbeddingsInfo
from fieldmark.errors import CheckpointError, EvaluationError, list_first
from fieldmark.evaluation.few_words import AskedQuestion, encode_embedding
from fieldmark.gallery.search.description import DescriptionReader, HeldItems
from fieldmark.marks.questions import make_questions
from fieldmark.marks.traits import read_traits
from fieldmark.names import KnownNames
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime
from fieldmark.training.layout import RunLayout, find_marks
from fieldmark.types import Embeddings, Item, Medium

_QUESTIONS = 60
"""Of each number of marks and each of seen and unseen; a receipt keeps them all, of 3 kB each."""
_DRAWN = 4 * _QUESTIONS


def ask_questions(
    traits: Path, *, embeddings: Embeddings, folder: Path, info: EmbeddingsInfo, seed: int, runtime: Runtime
) -> tuple[AskedQuestion, ...]:
    """Make questions about the classes of an embeddings folder, and embed them as a search does.

    The table judges; what is known of marks is what the run's training texts say.

    Args:
        folder: The embeddings folder, in that of its run or elsewhere.
        seed: Of the questions.

    Raises:
        ConfigError: The table cannot be read.
        EvaluationError: The checkpoint is gone or another one, or the table has none of the classes.
    """
    table = read_traits(traits)
    class_names = {item.class_name for item in embeddings.items if item.class_name}
    questions = make_questions(table, sorted(class_names), count=_DRAWN, seed=seed)
    if not questions:
        raise EvaluationError(
            f"The table '{traits}' gives no question about the {len(class_names):,} classes of the embeddings "
            f"({list_first(sorted(class_names))}). Give one whose names are theirs, with marks that some have."
        )
    seen = frozenset(info.class_names)
    kept = []
    for mark_count in (1, 2, 3):
        own = [each for each in questions if len(each.marks) == mark_count]
        for is_seen in (True, False):
            kept += [each for each in own if seen.issuperset(each.class_names) == is_seen][:_QUESTIONS]
    checkpoint = _find_checkpoint(folder, info)
    model = load_model(checkpoint, device=runtime.choose_device())
    if model.fingerprint != info.fingerprint:
        raise EvaluationError(
            f"'{checkpoint}' is not the model that made the embeddings. Restore that run, or embed again with this one."
        )
    encoder = ModelQueryEncoder(model, runtime=runtime)
    embedded = encoder.embed_texts([Item(f"question-{n}", Medium.TEXT, text=q.text) for n, q in enumerate(kept)])
    known = KnownNames(names for medium in model.media for names in model.named_species(medium))
    marks = find_marks(checkpoint)
    rows = embeddings.embedding[[item.medium is not Medium.TEXT for item in embeddings.items]].astype(np.float64)
    held = HeldItems(read_embeddings=lambda: rows, count_items=lambda: len(rows))
    place = checkpoint if marks is None else marks.parent
    reader = DescriptionReader(place, encoder=encoder, list_known=lambda: known, held=held)
    return tuple(
        AskedQuestion(
            each.text,
            len(each.marks),
            each.class_names,
            encode_embedding(reader.move(embedded[number], each.text)),
        )
        for number, each in enumerate(kept)
        if number in embedded
    )


def _find_checkpoint(folder: Path, info: EmbeddingsInfo) -> Path:
    """Return the run around the embeddings, or the checkpoint that they name."""
    named = Path(str(info.facts.get("checkpoint", "")))
    for path in (folder.resolve().parent, named):
        if RunLayout(path).best.is_file() or path.is_file():
            return path
    raise CheckpointError(
        path=named,
        reason="the model that made the embeddings is not there; put it back, or evaluate without --traits",
    )
