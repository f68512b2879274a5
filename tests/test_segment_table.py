"""The facts of an item: one description, from which every form of an item derives."""

import csv
import io
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldmark.api.schemas import HitAnswer, ItemAnswer
from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.shards import EmbeddingsWriter, read_embeddings
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.search.result import ExportFormat, SearchResult, export_marks
from fieldmark.io import encode_report
from fieldmark.records.darwin_core import rearm_formula
from fieldmark.segment_table import convert_to_table, read_items_from_table
from fieldmark.types import Embeddings, Hit, Item, Medium

NAMES = tuple(field.name for field in fields(Item))
HASHES = {"sound": "1", "note": "2"}
WORDS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


def values_of(hint: object) -> st.SearchStrategy:
    """Values of the type of a fact, never None: a new fact of a type known here needs no edit."""
    [kind] = [each for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if each is not NoneType]
    if not isinstance(kind, type):
        names = WORDS.map(lambda name: f"x {name}")
        return st.dictionaries(names, WORDS, min_size=1, max_size=3).map(lambda cells: tuple(cells.items()))
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    plain = {str: WORDS, float: st.floats(0, 1e6), int: st.integers(-(2**40), 2**40), bool: st.booleans()}
    return st.just(Path("/birds/a.ogg")) if issubclass(kind, Path) else plain[kind]


def complete_facts() -> st.SearchStrategy[dict[str, object]]:
    """A value for every fact; the items are made outside, since the check of types there draws random numbers."""
    return st.fixed_dictionaries({name: values_of(hint) for name, hint in get_type_hints(Item).items()})


def make_items(facts: dict) -> tuple[Item, Item]:
    """A sound of a file and a note of the manifest itself, which together state every fact."""
    facts = {**facts, "end_seconds": facts["start_seconds"] + 1.5}
    sound = {**facts, "item_id": "sound", "medium": Medium.AUDIO, "text": None}
    note = {**facts, "item_id": "note", "medium": Medium.TEXT, "path": None, "start_seconds": None, "end_seconds": None}
    return Item(**sound), Item(**note)


def embeddings_of(items: tuple[Item, ...]) -> Embeddings:
    """Two segments of each item."""
    rows = tuple(item for item in items for _ in range(2))
    times = np.array([np.nan if item.medium is Medium.TEXT else 3.0 for item in rows])
    return Embeddings(rows, times, times + 3.0, np.eye(8, dtype=np.float32)[: len(rows)])


examples = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@examples
@given(complete_facts())
def test_every_fact_comes_back_from_shard_gallery_and_manifest(tmp_path_factory, facts):
    items = make_items(facts)
    folder, embeddings = tmp_path_factory.mktemp("facts"), embeddings_of(items)
    writer = EmbeddingsWriter(folder / "shards", fingerprint="f")
    writer.add(embeddings, content_hash_by_item_id=HASHES)
    writer.finish()
    assert read_embeddings(folder / "shards")[0].items == embeddings.items

    store = LanceIndex.create(folder / "store", fingerprint="f", dim=8)
    store.add(embeddings, content_hash_by_item_id=HASHES)
    by_id = {item.item_id: item for item in items}
    assert {each.item.item_id: each.item for each in store.items(limit=9)} == by_id
    assert store.get("sound").items == (items[0], items[0])
    assert {hit.item_id: hit.item for hit in store.search(np.ones(8), k=9)} == by_id

    listed = (replace(items[0], path=folder.resolve() / "a.ogg"), items[1])
    for name in ("m.csv", "m.parquet"):
        write_manifest(listed, folder / name)
        assert read_manifest(folder / name) == listed


@examples
@given(complete_facts())
def test_every_fact_reaches_json_api_and_csv(facts):
    items = make_items(facts)
    hits = tuple(Hit(rank, 0.5, item, "set", 3.0, 6.0) for rank, item in enumerate(items, start=1))
    found = encode_report(SearchResult((Medium.TEXT,), hits))["hits"]
    rows = list(csv.DictReader(io.StringIO(export_marks(hits, format=ExportFormat.CSV), newline="")))
    for item, hit, row in zip(items, found, rows, strict=True):
        for name in NAMES:
            value = getattr(item, name)
            if name == "extra":
                assert hit["facts"] == dict(value)
                assert {column: rearm_formula(row[column]) for column, _ in value} == dict(value)
                continue
            key = f"item_{name}" if name in ("start_seconds", "end_seconds") else name
            plain = str(value) if isinstance(value, Path) else value
            assert hit[key] == plain
            assert rearm_formula(row[key]) == ("" if plain is None else str(plain))


@pytest.mark.parametrize("schema", [HitAnswer, ItemAnswer])
def test_every_fact_stands_in_the_schemas_of_the_api(schema):
    told = {"path": "name", "extra": "facts"}
    assert {told.get(name, name) for name in NAMES} <= set(schema.model_fields)


def test_a_table_written_before_a_fact_was_known_gives_its_default():
    items = (Item("sound", Medium.AUDIO, license="CC0", caption_of="note"), Item("note", Medium.TEXT, text="A bird."))
    table = convert_to_table(embeddings_of(items), content_hash_by_item_id=HASHES)
    older = table.drop_columns(["caption_of", "extra"])
    first, _, last, _ = read_items_from_table(older)
    assert (first.caption_of, first.extra, first.license) == (None, (), "CC0")
    assert last == items[1]
    assert read_items_from_table(pa.table({"item_id": pa.array([], pa.string())})) == []
