import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media import text
from fieldmark.types import Decoding, MediaLimits

GERMAN = (
    "Die Kohlmeise hat gelbe Unterseiten, weiße Wangen und eine schwarze Kopfplatte; sie ist größer als die Blaumeise."
)


def text_of(path, *, limits=None):
    [segment] = text.load(path, decoding=Decoding(), limits=limits or MediaLimits())
    return segment.content.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_load_reads_the_encoding(encoding, tmp_path):
    (tmp_path / "a.txt").write_bytes(GERMAN.encode(encoding))
    assert text_of(tmp_path / "a.txt") == GERMAN


def test_load_reads_utf16_of_either_order(tmp_path):
    for order in ("utf-16-le", "utf-16-be"):
        (tmp_path / "a.txt").write_bytes(("\ufeff" + GERMAN).encode(order))
        assert text_of(tmp_path / "a.txt") == GERMAN


def test_load_reads_the_dashes_and_quotes_of_windows(tmp_path):
    (tmp_path / "a.txt").write_bytes("a “bold” bird — with a crest".encode("cp1252"))
    assert text_of(tmp_path / "a.txt") == "a “bold” bird — with a crest"


def test_load_normalizes_line_breaks(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert text_of(tmp_path / "a.txt") == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    "data",
    [
        "Большая синица: птица семейства синицевых".encode("koi8-r"),
        "大山雀是山雀科的一种鸟类".encode("gbk"),
        "シジュウカラは鳥です".encode("shift-jis"),
        b"\xef\xbb\xbfbird \xff",
        b"\xff\xfeb\x00i\x00\x00\xd8r\x00",
        b"b\x00i\x00r\x00d\x00",
        b"caf\xe9 \x01\x02\x03",
        bytes(range(256)),
    ],
    ids=[
        "koi8-r",
        "gbk",
        "shift-jis",
        "bad utf-8 after mark",
        "bad utf-16",
        "utf-16 without mark",
        "control",
        "binary",
    ],
)
def test_load_refuses_an_encoding_that_cannot_be_told(data, tmp_path):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(UnreadableMediaError, match="save it as UTF-8"):
        text_of(tmp_path / "a.txt")
    assert not text.is_text(data)


@pytest.mark.parametrize("content", ["", "   \n\t ", "\ufeff"])
def test_load_tells_an_empty_text(content, tmp_path):
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(EmptyMediaError):
        text_of(tmp_path / "a.txt")


def test_load_tells_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError):
        text_of(tmp_path / "a.txt")


@pytest.mark.parametrize("count", [11, 30, 5_000])
def test_load_refuses_too_many_characters(count, tmp_path):
    (tmp_path / "a.txt").write_text("b" * count)
    with pytest.raises(TooLargeError, match=rf"{count:,} characters; the limit is 10\..*limits\.max_characters"):
        text_of(tmp_path / "a.txt", limits=MediaLimits(max_characters=10))


def test_load_counts_characters_and_not_bytes(tmp_path):
    (tmp_path / "a.txt").write_text("🐦" * 10, encoding="utf-8")
    assert text_of(tmp_path / "a.txt", limits=MediaLimits(max_characters=10)) == "🐦" * 10


def test_from_string_gives_the_text(limits):
    segment = text.from_string("a red\r\nbird", limits=limits)
    assert segment.content.text == "a red\nbird"
    assert segment.start_seconds is None


def test_from_string_refuses_bad_strings(limits):
    with pytest.raises(EmptyMediaError, match="'row 7' is empty"):
        text.from_string(" \n", limits=limits, name="row 7")
    for bad in ("bird\x00", "bird\ud800"):
        with pytest.raises(UnreadableMediaError):
            text.from_string(bad, limits=limits)
    with pytest.raises(TooLargeError):
        text.from_string("x" * 11, limits=MediaLimits(max_characters=10))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), st.integers(0, 3))
def test_is_text_holds_for_a_text_cut_anywhere(written, cut):
    data = written.encode()
    assert text.is_text(data[: max(1, len(data) - cut)]) or len(data) - cut < 4
