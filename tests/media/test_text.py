# ruff: noqa: RUF001 - sentences of many languages
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import EmptyMediaError, MissingFileError, NotProseError, TooLargeError, UnreadableMediaError
from fieldmark.media import text
from fieldmark.media.loaders import detect_medium
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


SENTENCES = {
    "Strakapoud velký: černobílý s červeným podocasím, buší do kmenů, hlas krátké kix.": "cp1250 iso8859_2 cp852",
    "Dzięcioł duży, żołna i gęś; śpiew krótki, ćwierkanie w zaroślach nad łąką.": "cp1250 iso8859_2 cp852",
    "Széncinege: sárga has, fekete sapka, éneke csengő; az erdő szélén, őszi ködben.": "cp1250 iso8859_2 cp852",
    GERMAN: "cp1252 iso8859_15 mac_roman cp850",
    "Mésange à tête noire, vue près du lac; chant répété, très clair.": "cp1252 iso8859_15 mac_roman cp850",
    "Carbonero común, macho adulto, cantó en la montaña; mejillas blancas, año 2021.": "cp1252 mac_roman cp850",
    "Chapim-real, macho, canção repetida; coração da floresta, manhã fria.": "cp1252 mac_roman",
    "Talgoxe vid sjön, sången hördes tydligt på morgonen, två ungar i holken.": "cp1252 mac_roman cp850",
    "Musvit på foderbræt, gul bug, sort hætte; sang i haven ved søen.": "cp1252",
    "Talitiainen laulaa pihalla, keltainen vatsa ja musta päälaki, näkyi myös järvellä.": "cp1252",
    "Bird heard near the Montréal café, singing from a wire, olive back.": "cp1252 mac_roman",
    "Temperature 22°C, wind 3–4 m/s, a “cold” morning; don’t know the species.": "cp1252",
    "Büyük baştankara, şarkısı kısa ve güçlü; ağaçlarda ve bahçelerde görülür.": "cp1254",
    "Большая синица: птица семейства синицевых, живёт в лесах, песня звонкая.": "cp1251 koi8_r cp866 iso8859_5",
    "Синиця велика: птах родини синицевих, живе в лісах і парках, пісня дзвінка.": "cp1251 koi8_u",
    "Καλόγερος: μικρό πουλί με κίτρινο στήθος και μαύρο κεφάλι, στο δάσος.": "cp1253 iso8859_7",
    "ירגזי מצוי: ציפור קטנה עם בטן צהובה וכיפה שחורה, שר ביער.": "cp1255",
    "القرقف الكبير طائر صغير ذو بطن أصفر ورأس أسود يغني في الغابة": "cp1256",
    "Didžioji zylė: geltonas pilvas, juoda galva, gieda miške prie ežero.": "cp1257",
    "Lielā zīlīte: dzeltens vēders, melna galva, dzied mežā pie ezera.": "cp1257",
    "大山雀是山雀科的一种鸟类,分布在亚洲和欧洲的森林里。它的头部是黑色的,脸颊是白色的。": "gb18030",
    "大山雀是山雀科的一種鳥類,分布在亞洲和歐洲的森林裡。": "big5",
    "Pycnonotus sinensis 白头鹎, adult, singing from wire; white patch behind the eye.": "gb18030",
    "シジュウカラは日本の森や公園でよく見られる小さな鳥です。頭は黒く、頬は白い。": "cp932 euc_jp",
    "박새는 참새목 박새과에 속하는 새로 숲과 공원에서 흔히 볼 수 있다.": "cp949",
    "大山雀": "gb18030 big5",
    "Синица большая": "cp1251 koi8_r cp866",
}


def test_load_reads_an_encoding_right_or_says_what_it_may_be(tmp_path):
    outcomes = {}
    for sentence, encodings in SENTENCES.items():
        for encoding in encodings.split():
            (tmp_path / "note.txt").write_bytes(sentence.encode(encoding))
            try:
                outcomes[encoding, sentence] = text_of(tmp_path / "note.txt")
            except UnreadableMediaError as error:
                outcomes[encoding, sentence] = error
    refused = {key: str(got) for key, got in outcomes.items() if isinstance(got, UnreadableMediaError)}
    assert all(got == key[1] for key, got in outcomes.items() if key not in refused)
    assert all("save it as UTF-8" in reason for reason in refused.values())
    assert all("GBK" in reason for (encoding, _), reason in refused.items() if encoding == "gb18030")
    assert len(refused) <= 8  # of 53


def test_load_keeps_utf8_with_a_stray_byte_and_warns(tmp_path):
    sentence = "Mönchsgrasmücke singt im Gebüsch, kräftiger Überschlag ? am Ende."
    for mark in (b"", b"\xef\xbb\xbf"):
        (tmp_path / "a.txt").write_bytes(mark + sentence.encode().replace(b"?", b"\xff"))
        [segment] = text.load(tmp_path / "a.txt", decoding=Decoding(), limits=MediaLimits())
        assert segment.content.text == sentence.replace("?", "\ufffd")
        [warning] = segment.warnings
        assert (warning.kind, "1 byte" in warning.message) == ("encoding", True)


def test_load_names_the_encoding_that_it_found(tmp_path):
    (tmp_path / "a.txt").write_bytes("Dzięcioł duży, śpiew krótki, w zaroślach nad łąką".encode("cp1250"))
    [segment] = text.load(tmp_path / "a.txt", decoding=Decoding(), limits=MediaLimits())
    assert "cp1250" in segment.warnings[0].message


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
        "Синица большая".encode("koi8-r"),
        "Pycnonotus sinensis 白头鹎, adult, singing near the pond".encode("gbk"),
        "シジュウカラは鳥です".encode("shift-jis"),
        "シジュウカラは鳥です".encode("iso2022-jp"),
        b"\xef\xbb\xbfbird \xff \xfe \xfd",
        b"\xff" * 99,
        b"\xff\xfeb\x00i\x00\x00\xd8r\x00",
        b"b\x00i\x00r\x00d\x00",
        b"caf\xe9 \x01\x02\x03",
        bytes(range(256)),
    ],
    ids=[
        "koi8-r",
        "gbk",
        "shift-jis",
        "iso-2022-jp",
        "bad utf-8 after mark",
        "one byte alone",
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
    with pytest.raises(UnreadableMediaError, match="save it as UTF-8"):
        text.check_head(data, path=tmp_path / "a.txt")


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
def test_check_head_passes_a_text_cut_anywhere(written, cut):
    data = f"A wren: {written}".encode()
    text.check_head(data[: len(data) - cut], path=Path("a.txt"))


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("Zięba śpiewała głośno w gęstym lesie.", "utf-16-le"),
        ("Зяблик пел на верхушке ели у ручья.", "utf-16-le"),
        ("今朝、川の近くでウグイスが鳴いていた。", "utf-16-be"),
        ("A wren was singing near the brook.", "utf-16-be"),
    ],
)
def test_utf16_without_a_mark_is_named_in_every_language(words, encoding, tmp_path):
    (tmp_path / "a.txt").write_bytes(words.encode(encoding))
    for ask in (detect_medium, text_of):
        with pytest.raises(UnreadableMediaError, match="UTF-16 without a byte-order mark"):
            ask(tmp_path / "a.txt")


def test_binary_data_is_no_text_of_any_encoding(tmp_path):
    generator = np.random.default_rng(0)
    for size in (40, 400, 4_000):
        for _ in range(20):
            (tmp_path / "a.txt").write_bytes(generator.bytes(size) + b"\x00\x01\x1b(")
            with pytest.raises(
                UnreadableMediaError, match=r"it is binary|holds nothing but|cannot be told|neither UTF-8"
            ):
                text_of(tmp_path / "a.txt")


@pytest.mark.parametrize("ask", [detect_medium, text_of])
def test_a_note_with_nul_is_told_why_it_is_none(ask, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"A wren sang\x00 by the brook.")
    with pytest.raises(UnreadableMediaError, match="it holds control characters"):
        ask(tmp_path / "a.txt")


@pytest.mark.parametrize("head", [b"\0\0\0\1\x67\x64", b"\0\0\0\1\x09\xf0", b"\0\0\0\1\x40\x01", b"\0\0\1\xb3\x0a"])
def test_a_bare_stream_of_video_is_named(head, tmp_path):
    (tmp_path / "a").write_bytes(head + bytes(range(256)) * 4)
    with pytest.raises(NotProseError, match=r"a bare stream of video.*in an MP4 or Matroska file"):
        detect_medium(tmp_path / "a")
