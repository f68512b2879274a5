"""The digests of a receipt change with everything that an item brings to an evaluation."""

from dataclasses import replace

import numpy as np
import pytest

from fieldmark.evaluation.receipt import digest_items, hash_items
from fieldmark.types import Embeddings, Item, Medium, Split

SONG = Item("song", Medium.AUDIO, class_name="Auk", split=Split.TEST, group="tape 7")
EMBEDDINGS = Embeddings(
    (SONG, SONG), np.array([0.0, 3.0]), np.array([3.0, 6.0]), np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)
)


def digests_of(embeddings, *, content="c" * 64):
    """The three digests of the song: split and group, content, embedding."""
    return digest_items(embeddings, {"song": content})["audio"]["Auk"]["song"].split()


@pytest.mark.parametrize(
    ("changed", "index"),
    [
        ({"items": (replace(SONG, group="tape 8"),) * 2}, 0),
        ({"items": (replace(SONG, split=Split.TRAIN),) * 2}, 0),
        ({"start_seconds": np.array([0.0, 2.0])}, 2),
        ({"end_seconds": np.array([3.0, 5.0])}, 2),
        ({"embedding": np.eye(2, dtype=np.float32)[::-1]}, 2),
        ({"logits": np.eye(2, dtype=np.float32)[::-1]}, 2),
    ],
)
def test_digests_change_where_the_item_does(changed, index):
    before, after = digests_of(EMBEDDINGS), digests_of(replace(EMBEDDINGS, **changed))
    assert [number for number in range(3) if before[number] != after[number]] == [index]


def test_digest_of_content_is_that_of_the_file():
    assert digests_of(EMBEDDINGS, content="d" * 64)[1] == "d" * 16


def test_hash_items_changes_with_items_leaking_groups_and_class_names():
    items = digest_items(EMBEDDINGS, {"song": "c" * 64})
    hashes = {
        hash_items(items, leaking_groups=["tape 7"], leaking_ids=[], class_names=["Auk", "Tern"]),
        hash_items(items, leaking_groups=["tape 8"], leaking_ids=[], class_names=["Auk", "Tern"]),
        hash_items(items, leaking_groups=["tape 7"], leaking_ids=[], class_names=["Tern", "Auk"]),
        hash_items(items, leaking_groups=["tape 7"], leaking_ids=["song"], class_names=["Auk", "Tern"]),
        hash_items({}, leaking_groups=["tape 7"], leaking_ids=[], class_names=["Auk", "Tern"]),
    }
    assert len(hashes) == 5
