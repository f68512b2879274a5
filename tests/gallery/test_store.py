"""What every store of segments must do; a slow loop is the judge of its searches."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldmark.errors import GalleryError, NonFiniteEmbeddingError, OutOfRangeError, TakenItemIdError, UnknownItemError
from fieldmark.gallery.store import Filter, ItemCount
from fieldmark.types import Embeddings, Item, Medium, Split

NASTY_NAMES = (
    "Kirtland's Warbler",
    "x' OR '1'='1",
    "'; DROP TABLE segments; --",
    'a "quoted" name',
    "back\\slash\\'",
    "%_*",
    "über ☃ 𝄞 鳥",
    "e\u0301",
    "\u00e9",
    "two\nlines\tand a tab",
    "nul\0inside",
    " ",
    "",
    "NULL",
)


def hash_by_item_id(embeddings: Embeddings, content_hash: str = "hash") -> dict[str, str]:
    return {item.item_id: content_hash for item in embeddings.items}


def meets(item: Item, where: Filter | None, set_name: str | None = None) -> bool:
    if where is None:
        return True
    return (
        (where.media is None or item.medium in where.media)
        and (where.class_names is None or item.class_name in where.class_names)
        and (where.set_names is None or set_name in where.set_names)
        and (where.licenses is None or item.license in where.licenses)
        and (where.groups is None or item.group in where.groups)
        and (where.item_ids is None or item.item_id in where.item_ids)
        and not (where.exclude_item_ids and item.item_id in where.exclude_item_ids)
    )


def slow_search(contents, query, *, k, where, by_segment):
    """(item id, place of the segment, score) of each hit, from one cosine after the other."""
    query, found = query.astype(np.float64), []
    for item, rows in contents.values():
        if meets(item, where):
            scored = []
            for place, row in enumerate(rows.astype(np.float64)):
                cosine = math.fsum(row * query) / math.sqrt(math.fsum(row * row) * math.fsum(query * query))
                scored.append((-cosine, item.item_id, place))
            found += scored if by_segment else [min(scored)]
    return [(item_id, place, -negative) for negative, item_id, place in sorted(found)[:k]]


def start_of(item: Item, place: int) -> float | None:
    return 3.0 * place if item.medium in {Medium.VIDEO, Medium.AUDIO} else None


CONTENTS = st.dictionaries(
    st.sampled_from(("a", "b", "B", "10", "9", *NASTY_NAMES)),
    st.tuples(
        st.sampled_from(Medium),
        st.none() | st.sampled_from(NASTY_NAMES),
        st.none() | st.sampled_from(("recording 1", "recording '2'")),
        st.none() | st.sampled_from(("CC0", "x' OR '1'='1")),
        st.lists(st.integers(0, 9), min_size=1, max_size=5),
    ),
    max_size=10,
)
FILTERS = st.none() | st.builds(
    Filter,
    media=st.none() | st.frozensets(st.sampled_from(Medium)),
    class_names=st.none() | st.frozensets(st.sampled_from(NASTY_NAMES)),
    licenses=st.none() | st.frozensets(st.sampled_from(("CC0", "x' OR '1'='1"))),
    groups=st.none() | st.frozensets(st.sampled_from(("recording 1", "recording '2'", "recording 3"))),
    exclude_item_ids=st.none() | st.frozensets(st.sampled_from(("a", "b", "not there", *NASTY_NAMES))),
    item_ids=st.none() | st.frozensets(st.sampled_from(("a", "B", "10", "not there", *NASTY_NAMES[:5]))),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    batches=st.lists(CONTENTS, min_size=1, max_size=3),
    removed=st.frozensets(st.sampled_from(("a", "b", "not there", *NASTY_NAMES)), max_size=4),
    searches=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60), FILTERS, st.booleans()), min_size=4, max_size=4),
)
def test_search_agrees_with_a_slow_loop_after_any_writes(
    create_index, unit_rows, embeddings_of, batches, removed, searches
):
    pool, queries = unit_rows(10, seed=1), unit_rows(5, seed=2)
    contents = {}
    with tempfile.TemporaryDirectory() as folder:
        index = create_index(Path(folder) / "index")
        for batch in batches:
            parts = {
                item_id: (Item(item_id, medium, class_name=class_name, group=group, license=terms), pool[rows])
                for item_id, (medium, class_name, group, terms, rows) in batch.items()
            }
            if parts:
                embeddings = embeddings_of(*parts.values())
                index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
            contents |= parts
        assert index.remove(removed) == len(contents.keys() & removed)
        contents = {item_id: part for item_id, part in contents.items() if item_id not in removed}

        assert index.item_count() == len(contents)
        assert index.segment_count() == sum(len(rows) for _, rows in contents.values())
        assert index.content_hashes() == dict.fromkeys(contents, "hash")
        for _, k, where, _ in searches:
            matching = sorted(item_id for item_id, (item, _) in contents.items() if meets(item, where))
            assert [stored.item.item_id for stored in index.items(where=where, limit=k)] == matching[:k]
            assert sorted(index.content_hashes(where)) == matching
            assert sum(each.item_count for each in index.counts(where)) == len(matching)
            got = index.embeddings(where)
            assert [item.item_id for item in got.items] == [i for i in matching for _ in contents[i][1]]
            np.testing.assert_array_equal(
                got.embedding, np.concatenate([pool[:0], *(contents[i][1] for i in matching)])
            )
        for query, k, where, by_segment in searches:
            expected = slow_search(contents, queries[query], k=k, where=where, by_segment=by_segment)
            hits = index.search(queries[query], k=k, where=where, by_segment=by_segment)
            assert [(hit.item_id, hit.start_seconds) for hit in hits] == [
                (item_id, start_of(contents[item_id][0], place)) for item_id, place, _ in expected
            ]
            assert [hit.score for hit in hits] == pytest.approx([score for _, _, score in expected], abs=1e-12)
            assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


@pytest.mark.parametrize("by_segment", [False, True])
def test_search_agrees_with_a_slow_loop_on_many_near_rows(index, unit_rows, embeddings_of, by_segment):
    """A trained space: classes far apart, their members within a thousandth."""
    rows = unit_rows(20, seed=3)[np.arange(600) % 20] + 0.001 * unit_rows(600, seed=4)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    contents = {
        f"{number:03}": (Item(f"{number:03}", Medium.AUDIO, class_name=str(number % 7)), rows[3 * number :][:3])
        for number in range(200)
    }
    embeddings = embeddings_of(*contents.values())
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    index.optimize()  # trains the index of an approximate store
    where = Filter(class_names=frozenset("0123"))
    for query in rows[:10]:
        expected = slow_search(contents, query, k=25, where=where, by_segment=by_segment)
        hits = index.search(query, k=25, where=where, by_segment=by_segment)
        assert [hit.item_id for hit in hits] == [item_id for item_id, _, _ in expected]


def test_search_fills_k_hits_beside_an_item_of_hundreds_of_segments(index, unit_rows, embeddings_of):
    query = unit_rows(1)[0]
    long = Item("long recording", Medium.AUDIO)
    others = [(Item(f"photo {number}", Medium.IMAGE), row[None]) for number, row in enumerate(unit_rows(5, seed=1))]
    embeddings = embeddings_of((long, np.repeat(query[None], 700, axis=0)), *others)
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))

    hits = index.search(query, k=6)
    assert {hit.item_id for hit in hits} == {"long recording", *(item.item_id for item, _ in others)}
    assert (hits[0].item_id, hits[0].start_seconds, hits[0].score) == ("long recording", 0.0, pytest.approx(1.0))
    assert {hit.item_id for hit in index.search(query, k=6, by_segment=True)} == {"long recording"}


def test_search_orders_equal_scores_by_item_id_however_they_were_added(index, unit_rows, embeddings_of):
    row = unit_rows(1)
    names = [f"{number:04}" for number in np.random.default_rng(0).permutation(300)]
    for name in names[:3]:
        embeddings = embeddings_of((Item(name, Medium.IMAGE), row))
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    embeddings = embeddings_of(*((Item(name, Medium.IMAGE), row) for name in names[3:]))
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))

    assert [hit.item_id for hit in index.search(row[0], k=7)] == sorted(names)[:7]
    index.optimize()
    assert [hit.item_id for hit in index.search(unit_rows(1, seed=5)[0], k=300)] == sorted(names)


def test_search_tells_all_a_hit_says_of_its_item(index, unit_rows, embeddings_of):
    text = Item("t", Medium.TEXT, text="A streaked brown bird.", source="field notes", license="CC0")
    clip = Item("v", Medium.VIDEO, path=Path("clips/v.mp4"), class_name="Song Sparrow")
    rows = unit_rows(3)
    embeddings = embeddings_of((text, rows[:1]), (clip, rows[1:]))
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))

    (hit,) = index.search(rows[0], k=1)
    assert (hit.item.text, hit.item.source, hit.item.license, hit.item.path) == (
        "A streaked brown bird.",
        "field notes",
        "CC0",
        None,
    )
    assert (hit.medium, hit.class_name, hit.start_seconds, hit.end_seconds) == (Medium.TEXT, None, None, None)
    (hit,) = index.search(rows[2], k=1)
    assert (hit.item_id, hit.item.path, hit.class_name) == ("v", Path("clips/v.mp4"), "Song Sparrow")
    assert (hit.medium, hit.start_seconds, hit.end_seconds) == (Medium.VIDEO, 3.0, 6.0)


def test_search_does_not_look_at_the_length_of_the_query(index, unit_rows, embeddings_of):
    embeddings = embeddings_of(
        *((Item(str(number), Medium.IMAGE), row[None]) for number, row in enumerate(unit_rows(9)))
    )
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    query = unit_rows(1, seed=9)[0].astype(np.float64)
    expected = [(hit.item_id, pytest.approx(hit.score)) for hit in index.search(query, k=9)]
    assert [(hit.item_id, hit.score) for hit in index.search(1e-30 * query, k=9)] == expected
    assert [(hit.item_id, hit.score) for hit in index.search(1e30 * query, k=9)] == expected


def test_search_of_an_empty_store_gives_no_hits(index, unit_rows):
    assert index.search(unit_rows(1)[0], k=5) == ()
    assert index.search(unit_rows(1)[0], k=5, where=Filter(media=frozenset({Medium.IMAGE})), by_segment=True) == ()


def test_search_refuses_a_query_that_is_no_direction(index, unit_rows):
    for query in (np.zeros(8), np.full(8, np.nan), np.array([np.inf, *[0.0] * 7])):
        with pytest.raises(NonFiniteEmbeddingError, match="the query"):
            index.search(query, k=1)
    with pytest.raises(GalleryError, match="dimension 5"):
        index.search(unit_rows(1, dim=5)[0], k=1)
    with pytest.raises(OutOfRangeError, match="'k' is 0"):
        index.search(unit_rows(1)[0], k=0)


def test_get_gives_back_what_was_added(index, unit_rows, embeddings_of):
    item = Item(
        "Kirtland's 'best'",
        Medium.VIDEO,
        path=Path("/birds/Kirtland's.mp4"),
        class_name="'",
        split=Split.TEST,
        group="recording",
        start_seconds=1.5,
        end_seconds=60.25,
        source="museum",
        license="CC BY 4.0",
        caption_of="other",
        extra=(("observer", "nobody"), ("länge", '"')),
    )
    added = embeddings_of((item, unit_rows(3)))
    other = embeddings_of((Item("other", Medium.TEXT, text="A note."), unit_rows(1, seed=1)))
    for embeddings in (other, added):
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))

    for expected in (added, other):
        got = index.get(expected.items[0].item_id)
        assert got.items == expected.items
        np.testing.assert_array_equal(got.start_seconds, expected.start_seconds)
        np.testing.assert_array_equal(got.end_seconds, expected.end_seconds)
        np.testing.assert_array_equal(got.embedding, expected.embedding)
        assert got.embedding.dtype == np.float32
        assert got.logits is None
    with pytest.raises(UnknownItemError, match="no item 'x' OR '1'='1'"):
        index.get("x' OR '1'='1")


@pytest.mark.parametrize("segment_counts", [(5, 2), (2, 5), (1, 1)])
def test_add_replaces_an_item_with_all_its_segments(index, unit_rows, embeddings_of, segment_counts):
    first, second = segment_counts
    kept = embeddings_of((Item("kept", Medium.AUDIO), unit_rows(4, seed=1)))
    old = embeddings_of((Item("item", Medium.AUDIO, class_name="old"), unit_rows(first, seed=2)))
    new = embeddings_of((Item("item", Medium.VIDEO, class_name="new"), unit_rows(second, seed=3)))
    index.add(kept, content_hash_by_item_id={"kept": "k"})
    for content_hash, embeddings in (("1", old), ("2", new), ("2", new)):
        index.add(embeddings, content_hash_by_item_id={"item": content_hash})

    assert index.content_hashes() == {"kept": "k", "item": "2"}
    assert index.segment_count() == 4 + second
    assert index.get("item").items == new.items
    np.testing.assert_array_equal(index.get("item").embedding, new.embedding)


def test_add_takes_all_items_or_none_and_names_the_bad_ones(index, unit_rows, embeddings_of):
    rows = unit_rows(6)
    rows[1], rows[2, 3], rows[4] = 0, np.nan, 2 * rows[4]
    embeddings = embeddings_of(*((Item(f"item {place}", Medium.IMAGE), row[None]) for place, row in enumerate(rows)))
    with pytest.raises(NonFiniteEmbeddingError, match=r"3 items .*: item 1, item 2, item 4"):
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    wide = embeddings_of((Item("wide", Medium.IMAGE), unit_rows(1, dim=9)))
    with pytest.raises(GalleryError, match="dimension 9"):
        index.add(wide, content_hash_by_item_id=hash_by_item_id(wide))
    assert index.item_count() == 0


def test_sets_are_filters_and_facts_of_hits(index, unit_rows, embeddings_of):
    rows = unit_rows(3)
    for place, set_name in enumerate(("photos of 2019", "it's", None)):
        embeddings = embeddings_of((Item(str(place), Medium.IMAGE, group=f"g{place}"), rows[place : place + 1]))
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings), set_name=set_name)
    hits = index.search(rows[0], k=3)
    assert {hit.item_id: (hit.set_name, hit.item.group) for hit in hits} == {
        "0": ("photos of 2019", "g0"),
        "1": ("it's", "g1"),
        "2": (None, "g2"),
    }
    where = Filter(set_names=frozenset({"it's", "photos of 2019", "another"}))
    assert {hit.item_id for hit in index.search(rows[0], k=3, where=where)} == {"0", "1"}
    assert [stored.set_name for stored in index.items(where=where, limit=9)] == ["photos of 2019", "it's"]
    assert index.content_hashes(Filter(set_names=frozenset({"it's"}))).keys() == {"1"}


def test_add_refuses_an_id_that_another_set_holds(index, unit_rows, embeddings_of):
    embeddings = embeddings_of(*((Item(name, Medium.IMAGE), unit_rows(1)) for name in ("a", "b")))
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings), set_name="first")
    for set_name in ("second", None):
        both = embeddings_of(*((Item(name, Medium.AUDIO), unit_rows(1)) for name in ("b", "c")))
        with pytest.raises(TakenItemIdError, match="another set") as caught:
            index.add(both, content_hash_by_item_id=hash_by_item_id(both), set_name=set_name)
        assert caught.value.item_ids == ("b",)
    assert index.count_by_medium()[Medium.IMAGE] == index.item_count() == 2


def test_items_come_page_by_page_whole(index, unit_rows, embeddings_of):
    text = Item("é", Medium.TEXT, text="A note.", split=Split.TRAIN, license="CC0", extra=(("observer", "x"),))
    items = [text, *(Item(name, Medium.AUDIO) for name in ("b", "a", "B", "zz", "𝄞"))]
    embeddings = embeddings_of(*((item, unit_rows(place + 1)) for place, item in enumerate(items)))
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings, "h"), set_name="s")
    pages, last = [], None
    while page := index.items(start_after=last, limit=4):
        pages.append(page)
        last = page[-1].item.item_id
    assert [len(page) for page in pages] == [4, 2]
    assert [stored.item.item_id for page in pages for stored in page] == ["B", "a", "b", "zz", "é", "𝄞"]
    stored = next(stored for page in pages for stored in page if stored.item.item_id == "é")
    assert (stored.item, stored.set_name, stored.content_hash, stored.segment_count) == (text, "s", "h", 1)
    assert [stored.segment_count for stored in pages[0]] == [4, 3, 2, 5]
    assert [stored.item.item_id for stored in index.items(start_after="c", limit=1)] == ["zz"]
    named = Filter(item_ids=frozenset(["𝄞", "b", "B", "absent"]))
    assert [(stored.item.item_id, stored.segment_count) for stored in index.items(where=named, limit=9)] == [
        ("B", 4),
        ("b", 2),
        ("𝄞", 6),
    ]
    assert [stored.item.item_id for stored in index.items(where=named, start_after="B", limit=1)] == ["b"]
    assert index.items(where=Filter(item_ids=frozenset()), limit=9) == ()


def test_counts_are_by_medium_class_set_and_license(index, unit_rows, embeddings_of):
    first = [Item(str(place), Medium.AUDIO, class_name="Wren", license="CC0") for place in range(3)]
    second = [Item("x", Medium.IMAGE), Item("y", Medium.AUDIO, class_name="Wren")]
    for items, set_name in ((first, "one"), (second, None)):
        embeddings = embeddings_of(*((item, unit_rows(2)) for item in items))
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings), set_name=set_name)
    assert index.counts() == (
        ItemCount(Medium.IMAGE, None, None, None, 1),
        ItemCount(Medium.AUDIO, "Wren", None, None, 1),
        ItemCount(Medium.AUDIO, "Wren", "one", "CC0", 3),
    )
    assert index.counts(Filter(set_names=frozenset({"one"}))) == (ItemCount(Medium.AUDIO, "Wren", "one", "CC0", 3),)


def test_many_writes_in_one_go_are_as_if_each_were_alone(index, unit_rows, embeddings_of):
    def add(name, seed, rows=2, set_name="a"):
        embeddings = embeddings_of((Item(name, Medium.AUDIO), unit_rows(rows, seed=seed)))
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings), set_name=set_name)
        return embeddings

    with index.loading():
        for seed in range(4):
            add(f"{seed}", seed)
        with index.loading(), pytest.raises(TakenItemIdError, match="another set"):
            add("1", 7, set_name="b")
        new = add("2", 9, rows=1)
        assert index.remove(["3"]) == 1
        assert index.search(new.embedding[0], k=1)[0].item_id == "2"
    assert (index.item_count(), index.segment_count()) == (3, 5)
    np.testing.assert_array_equal(index.get("2").embedding, new.embedding)

    def fail_within():
        with index.loading():
            add("4", 4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert (index.item_count(), index.segment_count(), index.find_unsound_items()) == (4, 7, {})


def test_add_of_no_rows_changes_nothing(index):
    nothing = Embeddings((), np.empty(0), np.empty(0), np.empty((0, 8), dtype=np.float32))
    index.add(nothing, content_hash_by_item_id={})
    assert index.segment_count() == 0


def test_add_takes_rows_of_half_precision_and_scores_them_exactly(index, unit_rows, embeddings_of):
    rows = unit_rows(50).astype(np.float16).astype(np.float32)
    contents = {f"{number:02}": (Item(f"{number:02}", Medium.IMAGE), row[None]) for number, row in enumerate(rows)}
    embeddings = embeddings_of(*contents.values())
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    expected = slow_search(contents, rows[7], k=20, where=None, by_segment=False)
    hits = index.search(rows[7], k=20)
    assert [hit.item_id for hit in hits] == [item_id for item_id, _, _ in expected]
    assert [hit.score for hit in hits] == pytest.approx([score for _, _, score in expected], abs=1e-12)


def test_remove_drops_whole_items_and_passes_over_unknown_ones(index, unit_rows, embeddings_of):
    embeddings = embeddings_of(*((Item(name, Medium.AUDIO), unit_rows(3)) for name in NASTY_NAMES))
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    assert index.remove(["x' OR '1'='1"]) == 1
    assert index.remove(["x' OR '1'='1", "never there", "Kirtland's Warbler", "Kirtland's Warbler"]) == 1
    assert index.remove([]) == 0
    assert index.content_hashes().keys() == {*NASTY_NAMES} - {"x' OR '1'='1", "Kirtland's Warbler"}
    assert index.segment_count() == 3 * (len(NASTY_NAMES) - 2)


def test_count_by_medium_counts_items_in_the_order_of_the_media(index, unit_rows, embeddings_of):
    embeddings = embeddings_of(
        (Item("song", Medium.AUDIO), unit_rows(9)),
        (Item("call", Medium.AUDIO), unit_rows(2)),
        (Item("photo", Medium.IMAGE), unit_rows(1)),
    )
    index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings))
    assert list(index.count_by_medium().items()) == [
        (Medium.IMAGE, 1),
        (Medium.TEXT, 0),
        (Medium.VIDEO, 0),
        (Medium.AUDIO, 2),
    ]


def test_optimize_changes_no_answer(index, unit_rows, embeddings_of):
    for number in range(12):
        embeddings = embeddings_of((Item(str(number % 7), Medium.AUDIO), unit_rows(3, seed=number)))
        index.add(embeddings, content_hash_by_item_id=hash_by_item_id(embeddings, str(number)))
    index.remove(["3"])
    query = unit_rows(1, seed=99)[0]
    before = index.search(query, k=99, by_segment=True), index.content_hashes()
    index.optimize()
    assert (index.search(query, k=99, by_segment=True), index.content_hashes()) == before


def test_index_knows_what_it_was_made_with(index):
    assert (index.fingerprint, index.dim) == ("sparrow", 8)


# ---------------------------------------------------------------- one comparison, several searches


@pytest.fixture
def birds(index, unit_rows, embeddings_of):
    """Items of three media and seven classes, some without a class, one to three segments each."""
    media = [Medium.IMAGE, Medium.AUDIO, Medium.VIDEO]
    items = [
        Item(f"{number:02}", media[number % 3], class_name=None if number % 8 == 7 else f"class {number % 7}")
        for number in range(42)
    ]
    embeddings = embeddings_of(*((item, unit_rows(1 + number % 3, seed=number)) for number, item in enumerate(items)))
    index.add(embeddings, content_hash_by_item_id={item.item_id: "h" for item in items})
    return items


def test_one_comparison_answers_searches_with_any_filters(index, birds):
    query = np.ones(index.dim)
    comparison = index.compare(query)
    for turn in range(42):
        where = Filter(
            media=frozenset({birds[turn].medium}) if turn % 4 else frozenset({Medium.IMAGE, Medium.VIDEO}),
            class_names=frozenset({f"class {turn % 7}", "class 0"}),
            exclude_item_ids=frozenset({f"{turn:02}"}),
        )
        wanted = {
            item.item_id
            for item in birds
            if item.medium in where.media and item.class_name in where.class_names and item.item_id != f"{turn:02}"
        }
        found = comparison.find_nearest(k=42, where=where)
        assert {hit.item_id for hit in found} == wanted
        assert found == index.search(query, k=42, where=where)
        assert comparison.find_nearest(k=2, where=where) == found[:2]
        scored = [(hit.item_id, hit.class_name, hit.score) for hit in found]
        assert comparison.score_nearest(k=42, where=where) == tuple(scored)
        assert comparison.score_nearest(k=3, where=where) == tuple(scored[:3])


@pytest.mark.parametrize(
    "where",
    [
        None,
        Filter(media=frozenset({Medium.AUDIO, Medium.TEXT})),
        Filter(item_ids=frozenset({"31", "02", "no such", "17"})),
        Filter(class_names=frozenset({"class 1", "class 5"}), exclude_item_ids=frozenset({"01"})),
        Filter(class_names=frozenset({"no such"})),
    ],
)
def test_what_is_read_is_the_same_before_and_after_a_search(where, index, birds):
    def read():
        pages = [
            index.items(where=where, start_after=last, limit=limit) for last in (None, "05", "30") for limit in (4, 99)
        ]
        found = index.embeddings(where)
        times = np.stack([found.start_seconds, found.end_seconds])
        return pages, found.items, times, found.embedding

    before = read()
    index.search(np.ones(index.dim), k=1)  # from now on a store may hold its items in memory
    after = read()
    assert after[:2] == before[:2]
    np.testing.assert_array_equal(after[2], before[2])
    np.testing.assert_array_equal(after[3], before[3])
    pages, items, *_ = after
    assert [stored.item.item_id for stored in pages[1]] == list(dict.fromkeys(item.item_id for item in items))


def test_score_other_class_is_the_nearest_item_with_another_label(index, birds):
    comparison = index.compare(np.ones(index.dim))
    for medium in Medium:
        for where in (Filter(media=frozenset({medium})), Filter(media=frozenset({medium}), item_ids=frozenset({"00"}))):
            ranked = index.search(np.ones(index.dim), k=42, where=where)
            for is_fetched in (False, True):
                if is_fetched:
                    assert comparison.find_nearest(k=3, where=where) == ranked[:3]
                for class_name in ("class 0", "class 3", "nothing"):
                    others = [hit for hit in ranked if hit.class_name not in (None, class_name)]
                    found = comparison.score_other_class(class_name, where=where)
                    first = others[0] if others else None
                    assert found == (first and (first.item_id, first.class_name, first.score))


def test_score_items_gives_every_item_that_meets_a_filter_its_best_segments(index, birds):
    queries = np.stack([np.ones(index.dim), -np.ones(index.dim), np.eye(index.dim)[0]]) / np.sqrt([[8], [8], [1]])
    both = frozenset({Medium.AUDIO, Medium.TEXT})
    for where in (
        [Filter()],
        [Filter(media=both)],
        [Filter(media=frozenset({Medium.AUDIO}), class_names=frozenset({"class 1"})), Filter(media=both)],
        [Filter(media=frozenset({Medium.VIDEO}), item_ids=frozenset({"00", "no such"}))],
        [Filter(class_names=frozenset())],
    ):
        scored = index.score_items(queries, near=queries[0], k=3, where=where)
        expected = {hit.item_id: hit for each in where for hit in index.search(queries[0], k=42, where=each)}
        hits = scored.make_hits(np.arange(len(scored.class_code)), scored.score[0].astype(np.float64))
        assert {hit.item_id for hit in hits} == expected.keys()
        for number, hit in enumerate(hits):
            met = expected[hit.item_id]
            assert hit[2:] == met[2:]
            assert hit.score == pytest.approx(met.score, abs=1e-6)
            code = scored.class_code[number]
            assert (None if code < 0 else scored.class_names[code]) == hit.class_name
            assert scored.find([hit.item_id]).nonzero()[0].tolist() == [number]
        for row, query in zip(scored.score, queries, strict=True):
            best = {hit.item_id: hit.score for each in where for hit in index.search(query, k=42, where=each)}
            np.testing.assert_allclose(row, [best[hit.item_id] for hit in hits], atol=1e-6)
        segments = index.score_items(queries, near=queries[0], k=3, where=where, by_segment=True)
        found = segments.make_hits(np.arange(len(segments.class_code)), segments.score[0].astype(np.float64))
        expected = {
            hit[2:]: hit for each in where for hit in index.search(queries[0], k=200, where=each, by_segment=True)
        }
        assert {hit[2:] for hit in found} == expected.keys()


def test_items_that_score_alike_stand_by_id_across_media(index, unit_rows, embeddings_of):
    row = unit_rows(1)
    media = [Medium.AUDIO, Medium.IMAGE, Medium.VIDEO, Medium.TEXT]
    items = [Item(name, media[number % 4]) for number, name in enumerate("gbhacfde")]
    index.add(embeddings_of(*((item, row) for item in items)), content_hash_by_item_id=dict.fromkeys("abcdefgh", "h"))
    assert [hit.item_id for hit in index.search(row[0], k=8)] == sorted("abcdefgh")
    assert [hit.item_id for hit in index.search(row[0], k=3)] == ["a", "b", "c"]
