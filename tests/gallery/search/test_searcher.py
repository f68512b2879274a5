"""One search over a store, with a fake of the model: several queries, marks, more like an item, one pass."""

import numpy as np
import pytest

from fieldmark.gallery.search.calibration import UNCALIBRATED, Curve, PairScale, ScoreCalibration
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import MarkedItems
from fieldmark.gallery.search.searcher import Searcher
from fieldmark.gallery.store import Filter
from fieldmark.types import MEDIA, Item, MediaLimits, Medium

DIM = 8
CLASSES = ("Auk", "Bunting", "Crow")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class FakeEncoder:
    """Embeds an item as the rows that it was given for its text."""

    class_names = CLASSES
    fingerprint = "fake"
    limits = MediaLimits()

    def __init__(self, rows_by_text):
        self._rows_by_text = rows_by_text

    def embed(self, item):
        return self._rows_by_text[item.text]

    def embed_class_name(self, class_name):
        return None

    def embed_texts(self, items):
        return {}

    def named_species(self, medium):
        return ()


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


def test_margins_of_two_queries_are_those_of_their_mean_scores(index, tmp_path, rows_by_id):
    rng = np.random.default_rng(2)
    queries = unit(rng.normal(size=(2, DIM)))
    searcher = make_searcher(index, tmp_path, one=queries[:1], two=queries[1:])
    class_of = {item_id: CLASSES[number % 3] for number, item_id in enumerate(rows_by_id)}
    mean = queries.mean(axis=0)
    hits = searcher.search(["one", "two"], k=12, where=Filter(class_names=frozenset({"Auk"}))).hits
    assert len(hits) == 12
    for hit in hits:
        found = {h.item_id: h.score for h in hits if h.medium is hit.medium}
        # Candidates score by each query's best segment, the look-alike by the segment nearest to both.
        others = {
            item_id: max(rows @ mean)
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
            find_other_class = comparison.find_other_class

            @staticmethod
            def find_nearest(**wanted):
                asked.append(wanted)
                return comparison.find_nearest(**wanted)

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
        ({"by_segment": True}, 8),
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
    rng = np.random.default_rng(5)
    for _ in range(10):
        queries = unit(rng.normal(size=(2, DIM)))
        searcher = make_searcher(index, tmp_path, one=queries[:1], two=queries[1:])
        many = searcher.search(["one", "two"], k=9, media=[Medium.IMAGE]).hits
        [first] = searcher.search(["one", "two"], k=1, media=[Medium.IMAGE]).hits
        assert first.item_id == many[0].item_id
