"""Manifests joined into one, and splits that keep records, places and observers together."""

from collections import Counter

import pytest

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.datasets.join import join_manifests
from fieldmark.datasets.split import Shared, split_manifest
from fieldmark.errors import ManifestError, NoItemsError
from fieldmark.types import Item, Medium, Split


def note(name: str, class_name: str = "Veery", **facts) -> Item:
    return Item(name, Medium.TEXT, text=f"A note on {name} and {class_name}.", class_name=class_name, **facts)


def test_ids_and_groups_of_several_manifests_are_told_apart(tmp_path):
    write_manifest([note("a", group="g"), note("b")], tmp_path / "one.csv")
    write_manifest([note("a", group="g"), note("c", caption_of="a")], tmp_path / "two.csv")
    join_manifests([tmp_path / "one.csv", tmp_path / "two.csv"], out=tmp_path / "out.csv")
    found = {item.item_id: item for item in read_manifest(tmp_path / "out.csv")}
    assert list(found) == ["one/a", "b", "two/a", "c"]
    assert (found["one/a"].group, found["two/a"].group, found["c"].caption_of) == ("one/g", "two/g", "two/a")


def test_only_wanted_classes_and_no_more_items_than_wanted_are_taken(tmp_path):
    items = [note(f"{n}", occurrence_id=f"o:{n // 4}") for n in range(20)]
    items += [note("x", "blue_jay"), note("y", "Crow"), note("z", "Gull")]
    write_manifest(items, tmp_path / "one.csv")
    (tmp_path / "species.csv").write_text("class_name\nVeery\nBlue Jay\nAuk\n")
    report = join_manifests([tmp_path / "one.csv"], out=tmp_path / "out.csv", classes=tmp_path / "species.csv", most=7)
    chosen = read_manifest(tmp_path / "out.csv")
    assert Counter(item.class_name for item in chosen) == {"Veery": 7, "Blue Jay": 1}
    records = Counter(item.occurrence_id for item in chosen if item.class_name == "Veery")
    assert sorted(records.values()) == [1, 1, 1, 2, 2]  # all five records, before any has a third
    assert (report.left_out, report.absent) == (15, ("Auk",))


def test_a_join_that_takes_nothing_writes_nothing(tmp_path):
    write_manifest([note("a")], tmp_path / "one.csv")
    (tmp_path / "species.csv").write_text("class_name\nAuk\n")
    (tmp_path / "none.csv").write_text("species\nAuk\n")
    with pytest.raises(NoItemsError):
        join_manifests([tmp_path / "one.csv"], out=tmp_path / "out.csv", classes=tmp_path / "species.csv")
    with pytest.raises(ManifestError, match="Add 'class_name'"):
        join_manifests([tmp_path / "one.csv"], out=tmp_path / "out.csv", classes=tmp_path / "none.csv")
    assert not (tmp_path / "out.csv").exists()


SHARED = {
    Shared.RECORD: lambda item: {item.occurrence_id},
    Shared.PLACE: lambda item: {(round(item.latitude, 1), round(item.longitude, 1))},
    Shared.OBSERVER: lambda item: set(item.recorded_by.split(" | ")),
}


@pytest.fixture
def records(tmp_path):
    """Records of twelve places and eight observers, some of two observers."""
    items = [
        note(
            f"{n}",
            f"Species {n % 3}",
            occurrence_id=f"o:{n // 2}",
            latitude=float(n // 10),
            longitude=3.0,
            recorded_by=f"p{n // 2 % 8} | p{(n // 2 + 1) % 8}" if n % 20 == 0 else f"p{n // 2 % 8}",
        )
        for n in range(120)
    ]
    write_manifest(items, tmp_path / "records.csv")
    return tmp_path / "records.csv"


@pytest.mark.parametrize(("shared", "cuts"), [(Shared.RECORD, False), (Shared.PLACE, False), (Shared.OBSERVER, True)])
def test_no_two_splits_share_a_record_a_place_or_an_observer(records, tmp_path, shared, cuts):
    report = split_manifest(records, out=tmp_path / "out.csv", test=0.4, together=[shared], cuts=cuts)
    chosen = read_manifest(tmp_path / "out.csv")
    values: dict[Split, set[object]] = {split: set() for split in Split}
    for item in chosen:
        values[item.split] |= SHARED[shared](item)
    assert all(values[split] for split in (Split.TRAIN, Split.TEST))
    assert not any(values[one] & values[other] for one in Split for other in Split if one is not other)
    assert report.left_out == 120 - len(chosen)
    assert (report.left_out > 0) == cuts


def test_a_chain_of_observers_stays_in_one_split_unless_it_is_cut(records, tmp_path):
    split_manifest(records, out=tmp_path / "out.csv", test=0.4, together=[Shared.OBSERVER])
    chosen = read_manifest(tmp_path / "out.csv")
    assert len(chosen) == 120
    for pair in ({"p0", "p1"}, {"p2", "p3"}, {"p4", "p5"}, {"p6", "p7"}):  # each tied by a record of both
        assert len({item.split for item in chosen if pair & set(item.recorded_by.split(" | "))}) == 1
