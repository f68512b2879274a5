"""Reports as values that JSON knows, and files that several processes write."""

import json
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from fieldmark.io import encode_report, open_replacement, write_shared_bytes, write_text
from fieldmark.types import Failure, Medium


@dataclass(frozen=True, slots=True)
class Inner:
    """A dataclass that is a field of another."""

    depth: int
    path: Path


@dataclass(frozen=True, slots=True)
class Renamed:
    """A report whose keys are paths of attributes."""

    inner: Inner
    failures: tuple[Failure, ...] = ()

    json_keys: ClassVar = ("is_deep", "inner.depth", "file=inner.path.name", "failures")

    @property
    def is_deep(self) -> bool:
        """A property that is asked for."""
        return self.inner.depth > 2


class Arranged:
    """A report that arranges its JSON by itself."""

    def json_values(self) -> dict[str, object]:
        """The values by key, of any type."""
        return {"by_medium": {Medium.IMAGE: Inner(1, Path("a/b"))}, "hit_rate": {1: 0.5, 5: math.nan}}


def test_encode_report_gives_the_fields_of_a_dataclass_in_their_order():
    assert json.dumps(encode_report(Inner(1, Path("a/b")))) == '{"depth": 1, "path": "a/b"}'


def test_encode_report_follows_the_keys_of_a_class():
    found = encode_report(Renamed(Inner(3, Path("a/b.ogg")), (Failure("x", "empty", "no bytes"),)))
    assert list(found) == ["is_deep", "depth", "file", "failures"]
    assert found["failures"] == [{"item_id": "x", "kind": "empty", "message": "no bytes"}]
    assert (found["is_deep"], found["depth"], found["file"]) == (True, 3, "b.ogg")


def test_encode_report_takes_the_values_that_a_class_arranges():
    text = json.dumps(encode_report({"all": [Arranged()], "no": None}))
    assert text == (
        '{"all": [{"by_medium": {"image": {"depth": 1, "path": "a/b"}}, "hit_rate": {"1": 0.5, "5": NaN}}], "no": null}'
    )


def test_encode_report_refuses_what_json_does_not_know():
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        encode_report({"a": object()})


def test_open_replacement_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    def fail_halfway():
        with open_replacement(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise ZeroDivisionError

    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


# ---------------------------------------------------------------- several writers


def test_shared_bytes_of_several_writers_are_one_of_theirs(tmp_path):
    contents = [bytes([number]) * 200_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_shared_bytes(tmp_path / "file", content), contents * 4))
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_shared_bytes_survive_one_who_clears_away_what_is_begun(tmp_path):
    begun = threading.Event()

    def clear():
        for _ in range(2):
            while not (found := list(tmp_path.glob(".*.partial"))) and not begun.is_set():
                pass
            for path in found:
                path.unlink(missing_ok=True)

    clearing = threading.Thread(target=clear)
    clearing.start()
    write_shared_bytes(tmp_path / "file", b"whole")
    begun.set()
    clearing.join()
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_shared_bytes_clear_away_what_killed_processes_left_of_the_file(tmp_path):
    for name, age in (
        (".file.0a1b2c3d.partial", 7_200),
        (".file.4e5f6a7b.partial", 60),
        (".other.0a1b2c3d.partial", 7_200),
    ):
        (tmp_path / name).write_bytes(b"ha")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    write_shared_bytes(tmp_path / "file", b"whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"file", ".file.4e5f6a7b.partial", ".other.0a1b2c3d.partial"}, "a young one may be growing"
