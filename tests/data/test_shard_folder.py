"""Shards: which items they hold, and a folder that is cut into them."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import Item, Medium
from fieldmark.data.shard_folder import PLAN_NAME, Shard, ShardFolder, cut_into_shards, hash_items
from fieldmark.errors import ConfigError, EmbeddingsError

ITEMS = [Item(f"bird {number}", Medium.TEXT, text=f"bird {number}") for number in range(400)]
IDS = st.lists(st.text(max_size=8), unique=True, max_size=30)


@given(IDS, st.integers(1, 20), st.randoms())
def test_every_item_is_in_one_shard_whatever_the_order(ids, count, random):
    items = [Item(each, Medium.TEXT, text="a") for each in ids]
    shards = cut_into_shards(items, count=count)
    assert [shard.number for shard in shards] == list(range(1, count + 1))
    assert sorted(item.item_id for some in shards.values() for item in some) == sorted(ids)
    shuffled = random.sample(items, len(items))
    assert {shard: set(some) for shard, some in cut_into_shards(shuffled, count=count).items()} == {
        shard: set(some) for shard, some in shards.items()
    }
    assert {shard: hash_items(some) for shard, some in cut_into_shards(shuffled, count=count).items()} == {
        shard: hash_items(some) for shard, some in shards.items()
    }


def test_shards_are_of_about_one_size():
    sizes = [len(some) for some in cut_into_shards(ITEMS, count=4).values()]
    assert min(sizes) > 70
    assert max(sizes) < 130


def test_a_new_row_changes_one_shard():
    before, after = (cut_into_shards(items, count=16) for items in (ITEMS, [Item("new", Medium.TEXT, text=""), *ITEMS]))
    changed = [shard for shard in before if hash_items(before[shard]) != hash_items(after[shard])]
    assert len(changed) == 1


def test_a_changed_fact_changes_the_hash_of_its_shard():
    assert hash_items(ITEMS[:3]) != hash_items([replace(ITEMS[0], class_name="gull"), *ITEMS[1:3]])


@pytest.mark.parametrize("text", ["3/16", " 3/16 "])
def test_a_shard_is_read(text):
    assert Shard.parse(text) == Shard(3, 16)
    assert str(Shard.parse(text)) == "3/16"


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "3/0", "a/b", "1/99999999", "1/2/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match=r"Give them as in 3/16"):
        Shard.parse(text)


def test_a_folder_is_cut_once(tmp_path):
    folder = ShardFolder(tmp_path / "out")
    assert folder.read_count() is None
    folder.begin(4)
    folder.begin(4)
    assert folder.read_count() == 4
    with pytest.raises(EmbeddingsError, match=r"cut into 4 shards, not 8.*another --out"):
        ShardFolder(tmp_path / "out").begin(8)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format_version": 9, "count": 2}', b'{"format_version": 1}'])
def test_a_damaged_plan_is_named_with_its_remedy(tmp_path, content):
    (tmp_path / PLAN_NAME).write_bytes(content)
    with pytest.raises(EmbeddingsError, match=rf"'{PLAN_NAME}' is damaged.*another --out"):
        ShardFolder(tmp_path).read_count()


def test_shards_that_are_not_complete_are_not_merged(tmp_path):
    folder = ShardFolder(tmp_path)
    folder.begin(2)
    shards = cut_into_shards(ITEMS, count=2)
    assert folder.find_undone(shards, fingerprint="model") == list(shards)
    with pytest.raises(EmbeddingsError, match=r"1/2, 2/2 are not complete.*without --shard"):
        folder.merge(shards, straddling_groups=(), leaks=(), facts={})


def test_ids_spread_over_many_shards():
    counts = Counter(len(some) for some in cut_into_shards(ITEMS, count=len(ITEMS)).values())
    assert counts[0] < 0.45 * len(ITEMS)
