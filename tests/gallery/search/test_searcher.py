"""One search over a store, with a fake of the model: several queries, marks, more like an item, one pass."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fieldmark.errors import EmptyMediaError, RequestError
from fieldmark.gallery.facts import FactFilter
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.search.calibration import UNCALIBRATED, Curve, PairScale, ScoreCalibration
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import MarkedItems
from fieldmark.gallery.search.searcher import Searcher
from fieldmark.gallery.store import Filter
from fieldmark.types import MEDIA, Item, Medium
from query_encoders import PlainQueryEncoder

DIM = 8
CLASSES = ("Auk", "Bunting", "Crow")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class FakeEncoder(PlainQueryEncoder):
    """Embeds an item as the rows that it was given for its text."""

    class_names = CLASSES

    def __init__(self, rows_by_text):
        self._rows_by_text = rows_by_text

    def embed(self, item):
        return self._rows_by_text[item.text]


@pytest.fixture(scope="module")
def rows_by_id():
    """Segments of items of each medium; those of sounds and videos lie wide apart, so that their mean is short."""
    rng = np.random.default_rng(0)
    return {
        f"{medium}-{number}": unit(rng.normal(size=(3 if medium in (Medium.AUDIO, Medium.VIDEO) else 1, DIM)))
        for medium in MEDIA
        for number in range(9)
    }


@pytest.fixture(scope="module")
def index(create_index, rows_by_id, embeddings_of, tmp_path_factory):
    store = create_index(tmp_path_factory.mktemp("store"))
    items = [
        Item(
            item_id,
            Medium(item_id.split("-")[0]),
            class_name=CLASSES[number % 3],
            license="CC0" if number % 2 else None,
            event_date="2001-05-04" if number % 4 == 0 else None,
        )
        for number, item_id in enumerate(rows_by_id)
    ]
    parts = [(item, rows_by_id[item.item_id].astype(np.float32)) for item in items]
    store.add(embeddings_of(*parts), content_hash_by_item_id=dict.fromkeys(rows_by_id, "h"))
    return store


def make_searcher(index, tmp_path, *, calibration=UNCALIBRATED, **rows_by_text):
    rows = {text.replace("_", " "): rows.astype(np.float32) for text, rows in rows_by_text.items()}
    return Searcher(tmp_path, index=index, encoder=FakeEncoder(rows), calibration=calibration)


def score_of(rows, query):
    """The score of an item by a query, as it is defined: the best cosine of a segment."""
    return max(unit(rows) @ unit(query))


def test_two_queries_score_by_the_mean_of_their_own_scores(index, tmp_path, rows_by_id):
    """A query of several segments is the mean of these, of length 1, whatever other query stands beside it."""
    rng = np.random.default_rng(1)
    first, second = unit(rng.normal(size=(4, DIM))), unit(rng.normal(size=(2, DIM)))
    assert np.linalg.norm(first.mean(axis=0)) < 0.9
    searcher = make_searcher(index, tmp_path, one_song=first, another_song=second)
    for queries, vectors in (
        (["one song", "another song"], [first.mean(axis=0), second.mean(axis=0)]),
        (["one song", ItemId("audio-0")], [first.mean(axis=0), rows_by_id["audio-0"].mean(axis=0)]),
    ):
        hits = searcher.search(queries, k=36).hits
        assert len(hits) >= 35
        for hit in hits:
            scores = [score_of(rows_by_id[hit.item_id], vector) for vector in vectors]
            assert hit.score == pytest.approx(np.mean(scores), abs=1e-5)


def test_conditions_without_words_that_say_anything_list_what_meets_them(index, tmp_path, rows_by_id):
    searcher = make_searcher(index, tmp_path)
    expected = sorted(item_id for number, item_id in enumerate(rows_by_id) if number % 4 == 0)
    may = Filter(facts=FactFilter(months=frozenset({5})))
    for query in ("songs", "all the photos", ()):
        result = searcher.search(query, k=36, where=may)
        assert (result.is_listing, [hit.item_id for hit in result.hits]) == (True, expected)
        assert "no order of likeness" in result.to_text()
    sounds = searcher.search((), k=1, where=may, media=[Medium.AUDIO, Medium.IMAGE], per_medium=True).hits
    assert [hit.medium for hit in sounds] == [Medium.IMAGE, Medium.AUDIO]
    assert not searcher.search((), k=36, where=Filter(facts=FactFilter(months=frozenset({6})))).hits
    with pytest.raises(RequestError, match="or conditions on records"):
        searcher.search(())


def test_margins_of_two_queries_are_those_of_their_mean_scores(index, tmp_path, rows_by_id):
    rng = np.random.default_rng(2)
    queries = unit(rng.normal(size=(2, DIM)))
    searcher = make_searcher(index, tmp_path, one=queries[:1], two=queries[1:])
    class_of = {item_id: CLASSES[number % 3] for number, item_id in enumerate(rows_by_id)}
    hits = searcher.search(["one", "two"], k=12, where=Filter(class_names=frozenset({"Auk"}))).hits
    assert len(hits) == 12
    for hit in hits:
        found = {h.item_id: h.score for h in hits if h.medium is hit.medium}
        others = {
            item_id: np.mean([score_of(rows, query) for query in queries])
            for item_id, rows in rows_by_id.items()
            if item_id.startswith(hit.medium) and class_of[item_id] != "Auk"
        }
        nearest = max(others, key=others.get)
        assert hit.look_alike == class_of[nearest]
        assert hit.margin == pytest.approx(max(found.values()) - others[nearest], abs=1e-5)


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("by_segment", [False, True])
def test_more_like_an_item_gives_every_item_but_this_one(medium, by_segment, index, tmp_path, rows_by_id):
    searcher = make_searcher(index, tmp_path)
    asked = f"{medium}-4"
    for media in ((), (medium,)):
        hits = searcher.search(ItemId(asked), k=200, media=media, by_segment=by_segment).hits
        wanted = {item_id for item_id in rows_by_id if not media or item_id.startswith(medium)}
        assert {hit.item_id for hit in hits} == wanted - {asked}
    both = searcher.search([ItemId(asked), ItemId("text-1")], k=200, by_segment=by_segment).hits
    assert {hit.item_id for hit in both} == rows_by_id.keys() - {asked, "text-1"}
    kept = searcher.search(ItemId(asked), k=200, where=Filter(exclude_item_ids=frozenset({"image-0"}))).hits
    assert {hit.item_id for hit in kept} == rows_by_id.keys() - {asked, "image-0"}


def test_a_marked_item_stays_a_hit(index, tmp_path, rows_by_id):
    searcher = make_searcher(index, tmp_path, a_bird=np.eye(DIM)[:1])
    hits = searcher.search("a bird", k=200, marks=MarkedItems(frozenset({"image-2"}), frozenset({"text-5"}))).hits
    assert {hit.item_id for hit in hits} == rows_by_id.keys()


class Counting:
    """Counts the comparisons of a store and what is asked of them."""

    def __init__(self, index):
        self._index = index
        self.comparisons = 0
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._index, name)

    def compare(self, query):
        self.comparisons += 1
        comparison, asked = self._index.compare(query), self.asked

        class Recorded:
            score_other_class = comparison.score_other_class

            @staticmethod
            def find_nearest(**wanted):
                asked.append(wanted)
                return comparison.find_nearest(**wanted)

            @staticmethod
            def score_nearest(**wanted):
                asked.append(wanted)
                return comparison.score_nearest(**wanted)

        return Recorded()


@pytest.fixture
def calibration():
    curve = Curve(3.0, -1.0, 0.3, relevant_count=50, query_count=20)
    scales = {(query, hit): PairScale(0.0, 1.0, curve) for query in MEDIA for hit in MEDIA}
    return ScoreCalibration(scales, open_set_curves=dict.fromkeys(MEDIA, curve))


@pytest.mark.parametrize(
    ("options", "asked_count"),
    [
        ({}, 4),
        ({"k": 40}, 4),
        ({"media": [Medium.AUDIO]}, 4),
        ({"where": Filter(exclude_item_ids=frozenset({"image-1"}))}, 4),
        ({"where": Filter(licenses=frozenset({"CC0"}))}, 8),
        ({"by_segment": True}, 4),
    ],
)
def test_each_medium_is_asked_once(options, asked_count, index, tmp_path, calibration):
    counting = Counting(index)
    searcher = make_searcher(counting, tmp_path, calibration=calibration, a_bird=np.eye(DIM)[:1])
    result = searcher.search("a bird", **options)
    assert result.collection is not None
    assert (counting.comparisons, len(counting.asked)) == (1, asked_count)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 40},
        {"media": [Medium.AUDIO]},
        {"where": Filter(licenses=frozenset({"CC0"}))},
        {"where": Filter(class_names=frozenset({"Crow"}))},
        {"by_segment": True},
        {"per_medium": True},
    ],
)
def test_the_open_set_answer_is_of_the_whole_gallery_whatever_the_search_was_narrowed_to(
    options, index, tmp_path, calibration
):
    searcher = make_searcher(index, tmp_path, calibration=calibration, a_bird=np.eye(DIM)[:1])
    whole = searcher.search("a bird").collection
    narrowed = searcher.search("a bird", **options).collection
    assert narrowed.probability == pytest.approx(whole.probability, abs=1e-9)
    excluded = searcher.search("a bird", where=Filter(exclude_item_ids=frozenset(f"image-{n}" for n in range(9))))
    assert abs(excluded.collection.probability - whole.probability) > 1e-4


def test_marks_do_not_change_the_open_set_answer(index, tmp_path, calibration):
    searcher = make_searcher(index, tmp_path, calibration=calibration, a_bird=np.eye(DIM)[:1])
    plain = searcher.search("a bird").collection
    marked = searcher.search("a bird", marks=MarkedItems(relevant=frozenset({"image-2", "audio-3"}))).collection
    assert marked.probability == plain.probability


@pytest.fixture
def owl_store(create_index, embeddings_of, tmp_path):
    """Texts, videos and sounds of an owl, photos of crows, and a photo of an owl without a label."""
    rows = np.eye(DIM, dtype=np.float32)
    items = [(Item(f"{m}-{n}", m, class_name="Owl"), rows[:1]) for m in MEDIA[1:] for n in range(6)]
    items += [(Item(f"image-{n}", Medium.IMAGE, class_name="Crow"), rows[1:2]) for n in range(6)]
    items.append((Item("asked", Medium.IMAGE), rows[:1]))
    store = create_index(tmp_path / "store")
    store.add(embeddings_of(*items), content_hash_by_item_id={item.item_id: "h" for item, _ in items})
    return store


@pytest.mark.parametrize("scale", [4.0, 10.0])
def test_a_class_that_only_other_media_hold_is_found(scale, owl_store, tmp_path):
    pair = Curve(scale, -scale / 2, 0.3, relevant_count=50, query_count=20)
    plain = Curve(1.0, 0.0, 0.5, relevant_count=50, query_count=20)
    scales = {(query, hit): PairScale(0.0, 1.0, pair) for query in MEDIA for hit in MEDIA}
    earlier = ScoreCalibration(scales, open_set_curves=dict.fromkeys(MEDIA, plain))
    now = ScoreCalibration(
        scales, open_set_curves=dict.fromkeys(MEDIA, plain), elsewhere_curves=earlier.open_set_curves
    )
    said = [
        make_searcher(owl_store, tmp_path, calibration=each).search(ItemId("asked"), media=[Medium.IMAGE]).collection
        for each in (earlier, now)
    ]
    assert [answer.is_likely for answer in said] == [False, True]
    # Where the hits in other media are nearly certain, even one curve does not call the class missing.
    assert said[0].can_tell is (scale < 9)


def test_an_item_marked_wrong_lowers_what_is_like_it(index, tmp_path, calibration):
    searcher = make_searcher(index, tmp_path, calibration=calibration, a_bird=np.eye(DIM)[:1])
    chance = {}
    for name, marks in (("plain", None), ("wrong", MarkedItems(irrelevant=frozenset({"image-2"})))):
        hits = searcher.search("a bird", k=200, marks=marks).hits
        chance[name] = {hit.item_id: hit.probability for hit in hits}
    assert all(chance["wrong"][item_id] < before for item_id, before in chance["plain"].items())


def test_the_moment_of_a_hit_is_not_chosen_by_what_is_marked_wrong(index, tmp_path, rows_by_id):
    query = rows_by_id["audio-0"][:1]
    searcher = make_searcher(index, tmp_path, a_bird=query)
    marks = MarkedItems(irrelevant=frozenset(f"image-{number}" for number in range(9)))
    starts = [
        {hit.item_id: hit.start_seconds for hit in searcher.search("a bird", k=200, marks=given).hits}
        for given in (None, marks)
    ]
    assert starts[0]["audio-0"] == 0.0
    assert starts[0] == starts[1]


def test_margin_of_a_single_hit_is_over_the_nearest_item_of_another_class(index, tmp_path, rows_by_id):
    searcher = make_searcher(index, tmp_path, a_bird=np.eye(DIM)[:1])
    many = searcher.search("a bird", k=30, media=[Medium.IMAGE]).hits
    [first] = searcher.search("a bird", k=1, media=[Medium.IMAGE]).hits
    assert first == many[0]
    assert first.margin is not None


def test_a_named_class_gives_each_item_once_those_of_the_class_first(index, tmp_path, rows_by_id):
    searcher = make_searcher(index, tmp_path, Auk=np.eye(DIM)[:1])
    result = searcher.search("Auk", k=200)
    assert result.class_name == "Auk"
    assert sorted(hit.item_id for hit in result.hits) == sorted(rows_by_id)
    assert [hit.class_name for hit in result.hits[:12]] == ["Auk"] * 12


def test_the_first_hit_of_two_queries_need_not_be_the_nearest_to_either(index, tmp_path):
    pairs = [(f"one {letter}", f"two {letter}") for letter in "abcdefghij"]
    rng = np.random.default_rng(5)
    searcher = make_searcher(
        index, tmp_path, **{text: unit(rng.normal(size=(1, DIM))) for texts in pairs for text in texts}
    )
    for texts in pairs:
        many = searcher.search(texts, k=9, media=[Medium.IMAGE]).hits
        [first] = searcher.search(texts, k=1, media=[Medium.IMAGE]).hits
        assert first.item_id == many[0].item_id


# ---------------------------------------------------------------- several queries and marks in a larger gallery

PER_CLASS = 40
"""Of each medium: more than a search looks at for ten hits."""


@pytest.fixture(scope="module")
def crowd():
    """Segments and class of the items of three classes in photos and sounds, those of a class near to each other."""
    rng = np.random.default_rng(3)
    centers = np.eye(DIM)[:3] + 0.5
    return {
        f"{medium}-{name}-{number}": unit(center + 0.3 * rng.normal(size=(3 if medium is Medium.AUDIO else 1, DIM)))
        for medium in (Medium.IMAGE, Medium.AUDIO)
        for name, center in zip(CLASSES, centers, strict=True)
        for number in range(PER_CLASS)
    }


def class_in(item_id):
    return item_id.split("-")[1]


@pytest.fixture(scope="module")
def crowded(crowd, embeddings_of, tmp_path_factory):
    return store_items(crowd, embeddings_of, tmp_path_factory.mktemp("crowd"))


def store_items(rows_by_id, embeddings_of, folder):
    store = LanceIndex.create(folder, fingerprint="fake", dim=DIM)
    items = [Item(item_id, Medium(item_id.split("-")[0]), class_name=class_in(item_id)) for item_id in rows_by_id]
    parts = [(item, rows_by_id[item.item_id].astype(np.float32)) for item in items]
    store.add(embeddings_of(*parts), content_hash_by_item_id=dict.fromkeys(rows_by_id, "h"))
    return store


def make_calibration(kind):
    """Curves of each pair of media, each another; or what is usual, for all pairs or for some; or nothing."""
    pairs = [(query, hit) for query in MEDIA for hit in MEDIA]
    curves = [Curve(6.0 + number, -4.0, 0.3, relevant_count=50, query_count=20) for number in range(len(pairs))]
    scales = {pair: PairScale(0.65, 0.1 + 0.01 * number, None) for number, pair in enumerate(pairs)}
    match kind:
        case "curves":
            pass
        case "some curves":
            curves = [None if pair[1] is Medium.AUDIO else curve for pair, curve in zip(pairs, curves, strict=True)]
        case "standard":
            return ScoreCalibration(scales)
        case "none":
            return UNCALIBRATED
    scales = {pair: replace(scales[pair], curve=curve) for pair, curve in zip(pairs, curves, strict=True)}
    return ScoreCalibration(scales)


KINDS = ("curves", "some curves", "standard", "none")
CROWD_IDS = [f"{m}-{n}-{number}" for m in ("image", "audio") for n in CLASSES for number in (0, 1, 2)]


@st.composite
def searches(draw):
    """What is asked: one to three vectors, or the name of a class; marks; and which hits are wanted."""
    marked = draw(st.lists(st.sampled_from(CROWD_IDS), unique=True, max_size=6))
    split = draw(st.integers(0, len(marked)))
    marks = MarkedItems(frozenset(marked[:split]), frozenset(marked[split:]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    texts = ["Auk"] if draw(st.booleans()) else ["one", "two", "three"][: draw(st.integers(1, 3))]
    rows = {text: unit(np.eye(DIM)[:1] + 0.5 + rng.normal(size=(1, DIM))) for text in texts}
    class_names = draw(st.sampled_from([None, {"Auk"}, {"Auk", "Crow"}]))
    options = {"where": Filter(class_names=class_names and frozenset(class_names)), "by_segment": draw(st.booleans())}
    return rows, marks, draw(st.sampled_from(KINDS)), options


@given(searches())
def test_the_first_ten_hits_do_not_depend_on_k(crowded, search):
    rows, marks, kind, options = search
    searcher = make_searcher(crowded, Path("nowhere"), calibration=make_calibration(kind), **rows)
    few = searcher.search(list(rows), k=10, marks=marks, **options).hits
    assert few == searcher.search(list(rows), k=200, marks=marks, **options).hits[:10]


@given(searches())
def test_margins_are_those_of_the_mean_scores_of_the_whole_gallery(crowd, crowded, search):
    rows, marks, kind, options = search
    searcher = make_searcher(crowded, Path("nowhere"), calibration=make_calibration(kind), **rows)
    vectors = [row[0] for row in rows.values()] + [
        unit(unit(crowd[item_id]).mean(axis=0)) for item_id in marks.relevant
    ]
    result = searcher.search(list(rows), k=10, marks=marks, **options)
    assume(not result.parts)  # queries that contradict each other are answered each alone
    for hit in result.hits:
        best = {}
        for item_id, segments in crowd.items():
            if item_id.startswith(hit.medium):
                score = np.max(segments @ np.stack(vectors).T, axis=0).mean()
                if options["by_segment"]:
                    score = np.max((segments @ np.stack(vectors).T).mean(axis=1))
                best[class_in(item_id)] = max(score, best.get(class_in(item_id), -1))
        others = {name: value for name, value in best.items() if name != hit.class_name}
        assert hit.look_alike == max(others, key=others.get)
        assert hit.margin == pytest.approx(best[hit.class_name] - others[hit.look_alike], abs=1e-5)


def test_the_look_alike_of_hits_that_are_not_of_the_named_class_is_the_nearest_class(crowded, tmp_path):
    """The nearest hits are all of one class, and those of the named class lie behind a third."""
    searcher = make_searcher(crowded, tmp_path, Auk=np.array([[0, 0.8, 1.5, *[0.5] * 5]]))
    where = Filter(media=frozenset({Medium.IMAGE}), exclude_item_ids=frozenset(f"image-Auk-{n}" for n in range(3, 40)))
    whole = searcher.search("Auk", k=200, where=where).hits
    best = {name: max(hit.score for hit in whole if hit.class_name == name) for name in CLASSES}
    assert best["Crow"] > best["Bunting"] > best["Auk"]
    few = searcher.search("Auk", k=5, where=where).hits
    assert few == whole[:5]
    assert [(hit.class_name, hit.look_alike) for hit in few[2:4]] == [("Auk", "Crow"), ("Crow", "Bunting")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.001, 1.0])
@pytest.mark.parametrize("media", [(), (Medium.IMAGE,)])
def test_ten_wrong_marks_bring_in_other_classes(kind, spread, media, crowd, embeddings_of, tmp_path):
    """Also where the items of a class are all but identical."""
    mean = {
        name: unit(np.mean([r.mean(axis=0) for i, r in crowd.items() if class_in(i) == name], axis=0))
        for name in CLASSES
    }
    rows_by_id = {
        item_id: unit(mean[class_in(item_id)] + spread * (r - mean[class_in(item_id)])) for item_id, r in crowd.items()
    }
    store = store_items(rows_by_id, embeddings_of, tmp_path / "store")
    searcher = make_searcher(store, tmp_path, calibration=make_calibration(kind), one=mean["Auk"][None])
    first = searcher.search("one", media=media).hits
    assert {hit.class_name for hit in first} == {"Auk"}
    wrong = frozenset(hit.item_id for hit in first)
    after = searcher.search("one", media=media, marks=MarkedItems(irrelevant=wrong)).hits
    assert "Auk" not in {hit.class_name for hit in after}


@pytest.mark.parametrize("kind", KINDS)
def test_one_wrong_mark_leaves_a_class_that_other_marks_call_right(kind, crowded, crowd, tmp_path):
    searcher = make_searcher(crowded, tmp_path, calibration=make_calibration(kind), one=crowd["image-Auk-3"])
    marks = MarkedItems(frozenset({"image-Auk-0", "image-Auk-1", "audio-Auk-1"}), frozenset({"image-Auk-2"}))
    hits = searcher.search("one", marks=marks).hits
    assert {hit.class_name for hit in hits} == {"Auk"}
    assert "image-Auk-2" not in {hit.item_id for hit in hits}


@pytest.mark.parametrize("kind", KINDS)
def test_a_hit_marked_wrong_leaves_the_first_places_under_a_name(kind, crowded, tmp_path):
    searcher = make_searcher(crowded, tmp_path, calibration=make_calibration(kind), Auk=np.ones((1, DIM)))
    first = searcher.search("Auk", k=6).hits
    marks = MarkedItems(irrelevant=frozenset(hit.item_id for hit in first))
    after = searcher.search("Auk", k=240, marks=marks).hits
    assert {hit.class_name for hit in after[: 2 * PER_CLASS - 6]} == {"Auk"}
    assert {(hit.item_id, hit.probability) for hit in after if hit.item_id in marks.irrelevant} == {
        (item_id, 0.0) for item_id in marks.irrelevant
    }
    assert not marks.irrelevant & {hit.item_id for hit in after[: 2 * PER_CLASS]}


def test_an_item_marked_right_and_wrong_is_an_error_before_anything_is_searched(crowded, tmp_path):
    counting = Counting(crowded)
    searcher = make_searcher(counting, tmp_path)
    marks = MarkedItems(frozenset({"image-Auk-0", "image-Auk-1"}), frozenset({"image-Auk-1"}))
    with pytest.raises(RequestError, match=r"both right and wrong: image-Auk-1\. .* Choose one"):
        searcher.search("a text that no encoder knows", marks=marks)
    assert counting.comparisons == 0


@pytest.fixture
def sharp():
    """A calibration by which near items are surely of one class."""
    curve = Curve(20.0, -10.0, 0.3, relevant_count=50, query_count=20)
    scales = {(query, hit): PairScale(0.0, 1.0, curve) for query in MEDIA for hit in MEDIA}
    return ScoreCalibration(scales, open_set_curves=dict.fromkeys(MEDIA, curve))


@pytest.fixture
def two_classes(create_index, embeddings_of, tmp_path):
    """Six items of an auk and of a crow in each medium: as many as count for the open-set answer, and the query."""
    rows = np.eye(DIM, dtype=np.float32)
    parts = [
        (Item(f"{name}-{medium}-{number}", medium, class_name=name), rows[place : place + 1])
        for place, name in enumerate(("Auk", "Crow"))
        for medium in MEDIA
        for number in range(6)
    ]
    store = create_index(tmp_path / "two")
    ids = [item.item_id for item, _ in parts]
    store.add(embeddings_of(*parts), content_hash_by_item_id=dict.fromkeys(ids, "h"))
    return store


def test_queries_of_different_classes_are_told_apart_and_answered_each_alone(two_classes, tmp_path, sharp):
    auk, crow = ItemId("Auk-image-0"), ItemId("Crow-audio-0")
    searcher = make_searcher(two_classes, tmp_path, calibration=sharp)
    result = searcher.search([auk, crow], k=4)
    assert [(part.medium, part.likeliest[0].name) for part in result.parts] == [("image", "Auk"), ("audio", "Crow")]
    assert (result.collection, result.likeliest) == (None, ())
    assert [hit.class_name for hit in result.hits] == ["Auk", "Crow"] * 2
    assert {hit.item_id for hit in result.hits}.isdisjoint({"Auk-image-0", "Crow-audio-0"})


def test_queries_of_one_class_are_one_and_have_its_likeliest_classes(two_classes, tmp_path, sharp):
    searcher = make_searcher(two_classes, tmp_path, calibration=sharp)
    result = searcher.search([ItemId("Auk-image-0"), ItemId("Auk-audio-0")], k=4)
    assert result.parts == ()
    assert result.likeliest[0].name == "Auk"
    assert result.likeliest[0].probability > 0.9


class ClipEncoder(PlainQueryEncoder):
    """Embeds the pictures of a clip as one row, and its sound as another; None is a track that cannot be decoded."""

    class_names = CLASSES

    def __init__(self, pictures, sound=None):
        self._rows = {Medium.VIDEO: pictures, Medium.AUDIO: sound}
        self.asked = []

    def embed(self, item):
        self.asked.append((item.medium, item.start_seconds, item.end_seconds))
        rows = self._rows[item.medium]
        if rows is None:
            raise EmptyMediaError(path=item.path, reason="its sound track has no sample")
        return unit(rows.astype(np.float32))[None]


AUK, CROW = np.eye(DIM)[:2]


def write_clip(path, *, has_sound):
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width = video.height = 16
        sound = container.add_stream("aac", rate=8000, layout="mono") if has_sound else None
        container.mux([*video.encode(av.VideoFrame(16, 16, "yuv420p")), *video.encode()])
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux([*sound.encode(frame), *sound.encode()])


@pytest.fixture
def search_with_clip(two_classes, sharp, tmp_path):
    def search(pictures, sound=None, *, clip=None, **options):
        write_clip(tmp_path / "clip", has_sound=sound is not None)
        encoder = ClipEncoder(pictures, sound)
        searcher = Searcher(tmp_path, index=two_classes, encoder=encoder, calibration=sharp)
        found = searcher.search(clip or Item("clip", Medium.VIDEO, path=tmp_path / "clip"), k=4, **options)
        return found, encoder

    return search


def test_the_own_sound_of_a_clip_speaks_where_it_is_plain(search_with_clip):
    unsure = AUK + CROW
    alone, _ = search_with_clip(unsure)
    heard, _ = search_with_clip(unsure, CROW)
    assert alone.notes == ()
    assert alone.likeliest[0].probability < 0.6
    assert {hit.class_name for hit in heard.hits} == {"Crow"}
    assert heard.likeliest[0].name == "Crow"
    assert heard.likeliest[0].probability > 0.8
    assert heard.media == (Medium.VIDEO,)
    assert heard.notes == ("the sound of the clip is like Crow and was counted too",)


def test_the_sound_of_another_class_is_told_and_changes_nothing(search_with_clip):
    alone, _ = search_with_clip(AUK)
    heard, _ = search_with_clip(AUK, CROW)
    assert heard.notes == ("the sound of the clip is like Crow; the hits follow its pictures",)
    assert replace(heard, notes=(), encode_seconds=0.0, rank_seconds=0.0) == replace(
        alone, encode_seconds=0.0, rank_seconds=0.0
    )


def test_a_sound_that_says_nothing_changes_nothing(search_with_clip):
    alone, silent = search_with_clip(AUK)
    heard, _ = search_with_clip(AUK, AUK + CROW)
    assert [hit.item_id for hit in heard.hits] == [hit.item_id for hit in alone.hits]
    assert heard.notes == ()
    assert {medium for medium, *_ in silent.asked} == {Medium.VIDEO}


def test_a_sound_track_that_cannot_be_decoded_changes_nothing(search_with_clip, two_classes, sharp, tmp_path):
    alone, _ = search_with_clip(AUK)
    write_clip(tmp_path / "clip", has_sound=True)
    searcher = Searcher(tmp_path, index=two_classes, encoder=ClipEncoder(AUK), calibration=sharp)
    found = searcher.search(Item("clip", Medium.VIDEO, path=tmp_path / "clip"), k=4)
    assert [hit.item_id for hit in found.hits] == [hit.item_id for hit in alone.hits]
    assert found.notes == ()


def test_the_first_minute_of_a_part_is_heard_and_of_marks_and_several_queries_none(search_with_clip, tmp_path):
    part = Item("clip", Medium.VIDEO, path=tmp_path / "clip", start_seconds=30.0, end_seconds=300.0)
    _, encoder = search_with_clip(AUK, AUK, clip=part)
    assert (Medium.AUDIO, 30.0, 90.0) in encoder.asked
    for clip, marks in (([part, ItemId("Auk-image-0")], None), (part, MarkedItems(frozenset({"Auk-image-0"})))):
        _, encoder = search_with_clip(AUK, AUK, clip=clip, marks=marks)
        assert {medium for medium, *_ in encoder.asked} == {Medium.VIDEO}


class PhotoEncoder(PlainQueryEncoder):
    """Embeds every file as a row unlike all items, and recognizes so much in it."""

    class_names = CLASSES

    def __init__(self, sureness):
        self._sureness = sureness

    def embed(self, item):
        return np.eye(DIM, dtype=np.float32)[2:3]

    def measure_sureness(self, embedding, *, medium):
        return np.full(len(embedding), self._sureness)


@pytest.mark.parametrize("medium", [Medium.IMAGE, Medium.VIDEO])
@pytest.mark.parametrize(
    ("sureness", "doubt", "is_said"), [(0.3, 500.0, True), (0.9, 500.0, False), (0.3, 0.0, False)], ids=str
)
def test_a_picture_in_which_nothing_is_recognized_says_so(  # noqa: PLR0917 - fixtures
    two_classes, sharp, tmp_path, medium, sureness, doubt, is_said
):
    """It is said where the model recognizes nothing, and the answer is that it cannot tell."""
    curve = replace(sharp.open_set_curves[medium], doubt=doubt)
    calibration = replace(sharp, open_set_curves={medium: curve})
    (tmp_path / "garden").write_bytes(b"a lawn")
    searcher = Searcher(tmp_path, index=two_classes, encoder=PhotoEncoder(sureness), calibration=calibration)
    found = searcher.search(Item("garden", medium, path=tmp_path / "garden"), k=4)
    assert found.collection is not None
    assert found.collection.can_tell == (doubt == 0)
    said = "the model recognizes nothing in this picture: it may show no bird, or one that it does not know"
    assert found.notes == ((said,) if is_said else ())
