import os

import pytest

from fieldmark.errors import EmptyMediaError, MediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media.file import check_file, convert_decoder_errors


def test_check_file_accepts_a_file_within_the_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"123")
    check_file(path, max_bytes=3)


def test_check_file_refuses_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait forever
    (tmp_path / "loop").symlink_to("loop")
    for name, met in (
        ("none", ""),
        ("", ", but a folder"),
        ("pipe", ", but a pipe or a device"),
        ("loop", ", but a link that leads nowhere"),
    ):
        with pytest.raises(MissingFileError, match=f"'{met}[.] Give a path to an existing file"):
            check_file(tmp_path / name)


def test_check_file_refuses_zero_bytes(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(EmptyMediaError, match="zero bytes"):
        check_file(tmp_path / "a")


def test_check_file_names_the_limit_to_raise(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    with pytest.raises(TooLargeError, match=r"4 bytes; the limit is 3.*limits\.max_bytes"):
        check_file(tmp_path / "a", max_bytes=3)


def test_unreadable_keeps_the_first_line_of_the_reason(tmp_path):
    with (
        pytest.raises(UnreadableMediaError, match=r"cannot be decoded: marker 7 is missing\. Replace"),
        convert_decoder_errors(tmp_path),
    ):
        raise IndexError("marker 7 is missing.\nand more")


def test_unreadable_passes_a_media_error_on(tmp_path):
    with pytest.raises(EmptyMediaError), convert_decoder_errors(tmp_path):
        raise EmptyMediaError(path=tmp_path)


def test_unreadable_names_an_error_without_words(tmp_path):
    with pytest.raises(MediaError, match="MemoryError"), convert_decoder_errors(tmp_path):
        raise MemoryError
