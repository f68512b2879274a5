"""Contents, fingerprints, and files in packages, as all encoders read them."""

import pytest

from fieldmark.encoders.encoder import get_contents, hash_parameters, iterate_batches, locate_in_package
from fieldmark.encoders.preprocessing import ImagePreprocessing
from fieldmark.errors import EncoderFilesError, MediumMismatchError
from fieldmark.types import Medium, TextContent


def test_get_contents_names_the_segment_and_both_media(segments):
    mixed = [segments[Medium.TEXT][0], segments[Medium.AUDIO][0]]
    assert get_contents(mixed[:1], TextContent) == [mixed[0].content]
    with pytest.raises(MediumMismatchError, match=r"segment 1.*holds audio.*text"):
        get_contents(mixed, TextContent)


def test_iterate_batches_leaves_nothing_out():
    assert list(iterate_batches(range(5), batch_size=2)) == [range(2), range(2, 4), range(4, 5)]
    assert list(iterate_batches([], batch_size=2)) == []


def test_hash_parameters_depends_on_values_and_bytes_but_not_on_locations(tmp_path):
    first, copy, other = (tmp_path / name for name in ("first", "copy", "other"))
    first.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    base = hash_parameters({"dim": 1, "kind": "x"}, files=[first])
    assert hash_parameters({"kind": "x", "dim": 1}, files=[copy]) == base
    assert len({base, hash_parameters({"dim": 2, "kind": "x"}, files=[first])}) == 2
    assert len({base, hash_parameters({"dim": 1, "kind": "x"}, files=[other])}) == 2
    assert len({base, hash_parameters({"dim": 1, "kind": "x"}, files=[first, copy])}) == 2


def test_hash_parameters_sees_inside_dataclasses():
    pair = [hash_parameters({"preprocessing": ImagePreprocessing(resize_pixels=side)}) for side in (224, 256)]
    assert pair[0] != pair[1]


def test_locate_in_package_finds_a_file_without_importing(tmp_path, monkeypatch):
    folder = tmp_path / "carrier_of_files"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('it is not to be imported')")
    (folder / "weights.bin").write_bytes(b"1")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate_in_package("package:carrier_of_files/weights.bin", key="name") == folder / "weights.bin"
    with pytest.raises(EncoderFilesError, match=r"does not contain 'absent\.bin'.*'name'"):
        locate_in_package("package:carrier_of_files/absent.bin", key="name")
