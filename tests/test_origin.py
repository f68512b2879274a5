"""What counts as one origin, for every part that asks."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data.naming import count_votes
from fieldmark.data.split import split_items, split_validation
from fieldmark.datasets.checks.problems import ProblemKind, find_problems
from fieldmark.evaluation.evaluated_items import ItemVector, select_items
from fieldmark.gallery.search.fitting import fit_calibration
from fieldmark.leakage import find_leaks_of_items
from fieldmark.names import KnownNames
from fieldmark.origin import name_origins, number_origins
from fieldmark.types import Embeddings, Item, Medium, Split

CLIP = Item("clip", Medium.AUDIO, path=Path("songs/7.ogg"), class_name="Gull", end_seconds=3.0)
TEXT = Item("text", Medium.TEXT, text="a gull", class_name="Gull")


def links(name: str) -> list[Item]:
    """Two items that share an origin, or do not."""
    return {
        "one file": [CLIP, replace(CLIP, item_id="later", start_seconds=3.0)],
        "one file spelled in two ways": [CLIP, replace(CLIP, item_id="b", path=Path("songs/x/../7.ogg"))],
        "sound and picture of one file": [CLIP, replace(CLIP, item_id="b", medium=Medium.VIDEO)],
        "one group": [replace(CLIP, group="tape"), replace(TEXT, group="tape")],
        "a caption": [CLIP, replace(TEXT, caption_of="clip")],
        "captions of one photo that is not there": [
            replace(TEXT, caption_of="photo"),
            replace(TEXT, item_id="b", caption_of="photo"),
        ],
        "an excerpt": [CLIP, replace(TEXT, extra=(("derived_from", "clip"),))],
        "one file, one of the clips in a group": [replace(CLIP, group="tape"), replace(CLIP, item_id="b")],
    }[name]


LINKS = (
    "one file",
    "one file spelled in two ways",
    "sound and picture of one file",
    "one group",
    "a caption",
    "captions of one photo that is not there",
    "an excerpt",
    "one file, one of the clips in a group",
)


@pytest.mark.parametrize("name", LINKS)
def test_items_share_an_origin(name):
    items = links(name)
    assert len(set(name_origins(items))) == 1
    assert number_origins(items).tolist() == [0, 0]


@pytest.mark.parametrize(
    "items",
    [
        [CLIP, replace(CLIP, item_id="b", path=Path("songs/8.ogg"))],
        [replace(CLIP, group="tape 1"), replace(CLIP, item_id="b", group="tape 2")],  # whoever says so knows
        [TEXT, replace(TEXT, item_id="b")],
        [replace(TEXT, group="x"), replace(CLIP, path=Path("x")), replace(TEXT, item_id="x")],
        [replace(TEXT, group=""), replace(CLIP, group="")],
    ],
)
def test_items_do_not_share_an_origin(items):
    assert len(set(name_origins(items))) == len(items)
    assert sorted(number_origins(items).tolist()) == list(range(len(items)))


def test_origins_are_shared_through_others():
    caption = replace(TEXT, item_id="caption", caption_of="clip")
    photo = Item("photo", Medium.IMAGE, path=Path("1.jpg"), group="tape")
    items = [caption, photo, replace(CLIP, item_id="earlier", group="tape"), CLIP, TEXT]
    assert name_origins(items) == ["group 'tape'"] * 4 + ["text 'text'"]


rows = st.tuples(
    st.sampled_from([None, "", "a", "b"]),
    st.sampled_from([None, "1.ogg", "x/../1.ogg", "2.ogg"]),
    st.sampled_from([None, "0", "1", "nobody"]),
)


def items_of(table) -> list[Item]:
    return [
        Item(
            str(n), Medium.AUDIO, path=file and Path(file), text=None if file else "x", group=group, caption_of=caption
        )
        for n, (group, file, caption) in enumerate(table)
    ]


@given(st.lists(rows, max_size=12), st.randoms(use_true_random=False))
def test_names_and_numbers_tell_the_same_whatever_the_order(table, random):
    items = items_of(table)
    shuffled = random.sample(items, len(items))
    number = dict(zip((item.item_id for item in items), number_origins(items).tolist(), strict=True))
    assert [number[item.item_id] for item in shuffled] == number_origins(shuffled).tolist()
    names = dict(zip((item.item_id for item in items), name_origins(items), strict=True))
    assert [names[item.item_id] for item in shuffled] == name_origins(shuffled)
    for one, two in combinations(number, 2):
        assert (number[one] == number[two]) == (names[one] == names[two])
    assert set(number.values()) == set(range(len(set(number.values()))))


# ---------------------------------------------------------------- every part asks the same


def in_training(items) -> list[Item]:
    return [replace(item, split=Split.TRAIN, class_name="Gull") for item in items]


def embed(items) -> Embeddings:
    no_time = np.full(len(items), np.nan)
    vectors = np.eye(len(items), 2, dtype=np.float32) + np.float32(0.1)
    return Embeddings(tuple(items), no_time, no_time, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.mark.parametrize("name", LINKS)
class TestOneOrigin:
    """A property for each part: items of one origin are one thing."""

    def test_split_keeps_it_whole(self, name):
        for seed in range(8):
            split = split_items(
                links(name),
                shares={Split.TRAIN: 0.5, Split.VALIDATION: 0.0, Split.TEST: 0.5},
                seed=seed,
            )
            assert len({item.split for item in split}) == 1

    def test_validation_keeps_it_whole(self, name):
        others = [replace(TEXT, item_id=f"{n}", medium=medium) for n in range(4) for medium in Medium]
        for seed in range(8):
            items = in_training([*links(name), *others])
            split = split_validation(items, share=0.5, generator=np.random.default_rng(seed))
            assert len({item.split for item in split[:2]}) == 1

    def test_validation_leaves_alone_what_stands_in_test_too(self, name):
        first, second = in_training(links(name))
        others = in_training([replace(TEXT, item_id=f"{n}", medium=medium) for n in range(4) for medium in Medium])
        items = [replace(first, split=Split.TEST), second, *others]
        result = split_validation(items, share=1.0, generator=np.random.default_rng(0))
        assert result[1].split is Split.TRAIN

    def test_check_finds_it_in_two_splits(self, name):
        first, second = links(name)
        items = [replace(first, split=Split.TRAIN), replace(second, split=Split.TEST)]
        found = [each for each in find_problems(items, []) if each.kind is ProblemKind.GROUP_STRADDLES_SPLITS]
        assert [set(each.item_ids) for each in found] == [{first.item_id, second.item_id}]

    def test_strict_protocol_leaves_it_out(self, name):
        first, second = links(name)
        tested = replace(second, split=Split.TEST)
        [leak] = find_leaks_of_items([replace(first, split=Split.TRAIN), tested])
        assert (leak.item_id, leak.learned_id) == (second.item_id, first.item_id)
        assert find_leaks_of_items([first, tested]) == ()

    def test_bootstrap_draws_it_once(self, name):
        evaluated = select_items(
            embed([replace(item, class_name="Gull") for item in links(name)]),
            vector=ItemVector.EMBEDDING,
            split=None,
            leaking_ids=frozenset(),
        )
        assert evaluated.group_count == 1

    def test_vote_is_one(self, name):
        items = in_training(links(name))
        features = {items[0].item_id: torch.tensor([[0.9, 0.1]]).sqrt(), items[1].item_id: torch.tensor([[0.1, 0.5]])}
        votes = count_votes(
            items,
            features,
            origin=number_origins(items),
            named_scores={"Larus canus": 0, "Sterna hirundo": 1},
            known=KnownNames([("Larus canus",), ("Sterna hirundo",)]),
        )
        assert len(votes.by_class["Gull"]) == 1

    def test_calibration_never_lets_it_answer_itself(self, name):
        items = [replace(item, class_name="Gull", split=Split.TEST) for item in links(name)]
        calibration = fit_calibration(embed(items), trained_classes=[], generator=np.random.default_rng(0))
        assert calibration.scales == {}
