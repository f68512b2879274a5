"""The encoding of a text without a mark: UTF-8, or another one where it is certain; otherwise a reason."""

import codecs
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from charset_normalizer import from_bytes

# ---------------------------------------------------------------- decoding

_BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UTF8_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_LARGEST_STRAY_SHARE = 0.1  # of the characters that are not ASCII; one stray byte beside one such character is allowed
_SAMPLE_BYTES = 2**16
_FEWEST_LETTERS, _SMALLEST_LETTER_SHARE, _MOST_SCRIPTS, _LARGEST_ASCII_SHARE = 8, 0.7, 4, 0.6
_LETTER_BYTES = b" ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_CONTROL_BYTES = bytes([*range(9), *range(0x0E, 0x20), 0x7F])
_END_OF_DOS_FILE = b"\x1a"


class UncertainEncodingError(UnicodeError):
    """A text whose encoding cannot be told."""


@dataclass(frozen=True, slots=True)
class DecodedText:
    """A text, and what a reader should know of how it was read.

    Args:
        encoding: The name of the encoding, as Python spells it.
        warning: One sentence; None where nothing is in doubt.
    """

    text: str
    encoding: str
    warning: str | None = None


def decode_text(data: bytes, *, is_whole: bool = True) -> DecodedText:
    """Decode bytes by their byte-order mark, as UTF-8, or in another encoding where it is certain.

    Args:
        is_whole: Whether these are all bytes of the text; otherwise a character cut off at their end is left out.

    Raises:
        UncertainEncodingError: It is text, and its encoding cannot be told; names the likely ones.
        ValueError: The bytes are binary.
    """
    data = data.removesuffix(_END_OF_DOS_FILE)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    if encoding in (None, "utf-8-sig"):
        _check_bytes(data)
    try:
        decoded = DecodedText(_decode(data, encoding or "utf-8", is_whole=is_whole), encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding not in (None, "utf-8-sig"):
            reason = f"its byte-order mark says {encoding}, and it is not; save it as UTF-8"
            raise UncertainEncodingError(reason) from error
        found = _decode_damaged_utf8(data, encoding or "utf-8", is_whole=is_whole)
        if found is None and encoding is not None:
            raise UncertainEncodingError("its byte-order mark says UTF-8, and it is not; save it as UTF-8") from error
        decoded = found or _decode_guessed(data, is_whole=is_whole)
    if encoding not in (None, "utf-8-sig") and _CONTROL.search(decoded.text):
        raise UncertainEncodingError(
            f"its byte-order mark says {encoding}, and it holds control characters; save it as UTF-8"
        )
    return decoded


def _check_bytes(data: bytes) -> None:
    """Check that bytes may be text in an encoding that keeps ASCII.

    Raises:
        UncertainEncodingError: They are text of two bytes a character, without a mark; or in ISO-2022.
        ValueError: They are binary.
    """
    if b"\x00" in data and _looks_like_utf16(data):
        raise UncertainEncodingError("it is UTF-16 without a byte-order mark; save it as UTF-8")
    if (b"\x1b$" in data or b"\x1b(" in data) and not _has_control_byte(data.replace(b"\x1b", b"")):
        raise UncertainEncodingError("it is likely ISO-2022-JP; save it as UTF-8")
    if _has_control_byte(data):
        if any(_is_text_of(data[:_SAMPLE_BYTES], encoding) for encoding in ("utf-16-le", "utf-16-be")):
            raise UncertainEncodingError("it is UTF-16 without a byte-order mark; save it as UTF-8")
        raise ValueError("it holds control characters, so it is binary; if it is text, save it as UTF-8")


def _has_control_byte(data: bytes) -> bool:
    return len(data.translate(None, _CONTROL_BYTES)) < len(data)  # a tenth of the time of a regular expression


def _looks_like_utf16(data: bytes) -> bool:
    """Return whether about every other byte is zero, and the rest is text."""
    even, odd = data[::2], data[1::2]
    zeros, others = (even, odd) if even.count(0) > odd.count(0) else (odd, even)
    is_wide = zeros.count(0) > 0.5 * len(zeros) and not others.count(0)
    return is_wide and not _has_control_byte(others)


def _is_text_of(data: bytes, encoding: str) -> bool:
    """Return whether bytes are letters and spaces in an encoding; bytes that are no text give signs of no use."""
    if len(data.translate(None, _LETTER_BYTES)) < (1 - _LARGEST_ASCII_SHARE) * len(data):
        return False  # two letters of ASCII are a Chinese character to it
    try:
        text = _decode(data, encoding, is_whole=False)
    except UnicodeDecodeError:
        return False
    if _CONTROL.search(text) or any(unicodedata.category(each) in {"Cn", "Co", "Cs"} for each in set(text)):
        return False
    letters = [each for each in text if each.isalpha()]
    scripts = {_find_script(each) for each in letters}
    spaced = sum(each.isalpha() or each.isspace() for each in text)
    return (
        len(letters) >= _FEWEST_LETTERS
        and spaced > _SMALLEST_LETTER_SHARE * len(text)
        and len(scripts) <= _MOST_SCRIPTS
    )


def _decode(data: bytes, encoding: str, *, is_whole: bool) -> str:
    if is_whole:
        return data.decode(encoding)
    return codecs.getincrementaldecoder(encoding)().decode(data, final=False)


def _decode_damaged_utf8(data: bytes, encoding: str, *, is_whole: bool) -> DecodedText | None:
    """Decode UTF-8 with a few stray bytes, each as one replacement mark; None if it is not that."""
    whole = len(_UTF8_CHARACTER.findall(data))
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(data, final=is_whole)
    stray = text.count("\ufffd") - data.count("\ufffd".encode())
    if not whole or stray > max(1, _LARGEST_STRAY_SHARE * whole) or _CONTROL.search(text):
        return None
    marks = "1 byte that is" if stray == 1 else f"{stray} bytes that are"
    warning = f"It is UTF-8 with {marks} not; each was read as the replacement mark \ufffd. Correct it in the file."
    return DecodedText(text, encoding, warning)


# ---------------------------------------------------------------- guessing

_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})
_WESTERN = (
    "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "àáâãçéêíóôõúü", "àèéìòù", "àçèéíïòóúü", "éëïóöüáèê", "åæøéòô", "åäöé",
    "åäöšž", "áðéíóúýþæö", "áðíóúýæø", "çë", "áéíóú",
)  # fmt: skip
_CENTRAL = (
    "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "čćđšž", "ăâîşţșț", "äöüß", "çë",
)  # fmt: skip
_LETTERS: Mapping[str, tuple[str, ...]] = {
    "cp1252": _WESTERN,
    "iso8859_15": _WESTERN,
    "mac_roman": _WESTERN,
    "cp437": _WESTERN,
    "cp850": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp852": _CENTRAL,
    "cp1254": ("çğıöşü",),
    "cp1257": ("āčēģīķļņōŗšūž", "ąčęėįšųūž", "äõöüšž"),
}
"""Of the encodings of Latin letters: the letters beyond a to z of each language that used them.

A text is of one language: where its letters are of none, the encoding is a wrong guess. (Unicode CLDR, main exemplars.)
"""
_SCRIPTS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("cp1251", "iso8859_5", "koi8_r", "koi8_u", "mac_cyrillic", "cp866"), frozenset({"CYRILLIC"})),
    **dict.fromkeys(("cp1253", "iso8859_7"), frozenset({"GREEK"})),
    "cp1255": frozenset({"HEBREW"}),
    "cp1256": frozenset({"ARABIC"}),
    **dict.fromkeys(("gb18030", "big5", "cp932", "euc_jp", "cp949"), _EAST_ASIAN | {"HALFWIDTH"}),
}
"""Of the other encodings that notes are found in: the scripts that they are for."""
_OLD = frozenset({"mac_roman", "mac_cyrillic", "cp437", "cp850", "cp852", "cp866"})
"""Encodings of before about 2001: where a later one explains a text as well, it is taken."""
_DASH_IN_WORD = re.compile(r"[^\W\d_][\u2013\u2014][^\W\d_]")
_NAMES = {
    "gb18030": "GBK (gb18030)",
    "big5": "Big5",
    "cp932": "Shift-JIS (cp932)",
    "euc_jp": "EUC-JP",
    "cp949": "EUC-KR (cp949)",
    "mac_roman": "Mac Roman",
    "koi8_r": "KOI8-R",
}
_SIGNS = frozenset(b"\x80\x82\x84\x85\x91\x92\x93\x94\x95\x96\x97\x99\xa0\xab\xb0\xb1\xb2\xb3\xb5\xb7\xbb\xbc\xbd\xd7")
"""Quotes, dashes, degrees and the like, which lie at these bytes in all encodings of Windows."""
_SIGN_IN_WORD = re.compile(rb"[A-Za-z][\x80-\x91\x93-\x9f\xab-\xb6\xb8-\xff][A-Za-z]")

_WORD = re.compile(r"[^\W\d_]+")
_SYMBOL_IN_WORD = re.compile(
    r"[^\W\d_][\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u060c\u2018\u201a-\u2044\u20a0-\u20cf\u2100-\u25ff\uff61-\uff65][^\W\d_]"
)
_LONE_MARK = re.compile(r"[^\W\d_][\u2020\u2021\u2039\u201a]|[\u2020\u2021\u2039\u201a][^\W\d_]")
_CLOSING_MARK = re.compile(r"[\u2018\u2019\u203a]")
_LONG_RUN = re.compile(r"([^\W\d_])\1{4}")

_LARGEST_CHAOS = 0.3
_MARGIN = 0.1
"""The best guess must be this much better than one that reads otherwise, in disorder or likeness to a language.

On 53 sentences of 27 languages, whole and in halves (2026-11): with 0, 4 of 158 were misread; with 0.05, 2; with 0.1
and more, 1, whose bytes are valid UTF-8. With 0.1, 46 were refused; with 0.2, 53.
"""
_SHOWN_GUESSES = 5


@dataclass(frozen=True, slots=True)
class _Guess:
    encoding: str
    text: str
    chaos: float
    coherence: float


def _decode_guessed(data: bytes, *, is_whole: bool) -> DecodedText:
    """Decode bytes that are no UTF-8 in the one encoding that they can be in.

    Raises:
        UncertainEncodingError: Several remain, or none.
    """
    sample = _take_sample(data)
    encoding = "cp1252" if _has_signs_alone(sample) else _choose(sample)
    try:
        text = _decode(data, encoding, is_whole=is_whole)
    except UnicodeDecodeError as error:
        reason = f"it is likely {_name(encoding)}, and holds bytes that are not; save it as UTF-8"
        raise UncertainEncodingError(reason) from error
    return DecodedText(text, encoding, f"It was read as {_name(encoding)}, which nothing in it contradicts.")


def _take_sample(data: bytes) -> bytes:
    """Return the first lines that hold bytes beyond ASCII; in every encoding of `_LETTERS` a line break is one byte."""
    lines: list[bytes] = []
    size = 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line)
            size += len(line)
        if size >= _SAMPLE_BYTES:
            break
    return b"".join(lines)[: 2 * _SAMPLE_BYTES]


def _has_signs_alone(data: bytes) -> bool:
    return _SIGNS.issuperset(byte for byte in data if byte >= 0x80) and not _SIGN_IN_WORD.search(data)


def _choose(sample: bytes) -> str:
    """Return the encoding of a sample.

    Raises:
        UncertainEncodingError: None is certain.
    """
    guesses = [guess for guess in _list_guesses(sample) if _is_possible(guess)]
    if not guesses:
        raise UncertainEncodingError("it is neither UTF-8 nor plainly in another encoding; save it as UTF-8")
    modern = [guess for guess in guesses if guess.encoding not in _OLD and not _DASH_IN_WORD.search(guess.text)]
    if modern and modern[0].chaos <= guesses[0].chaos and modern[0].coherence >= guesses[0].coherence:
        guesses = [guess for guess in guesses if guess.encoding not in _OLD]
    best = guesses[0]
    rivals = [each for each in guesses if each.text != best.text and _is_near(each, best)]
    if rivals:
        names = dict.fromkeys(_name(each.encoding) for each in (best, *rivals))
        likely = ", ".join(list(names)[:_SHOWN_GUESSES])
        reason = f"it is not UTF-8, and which of these it is cannot be told: {likely}; save it as UTF-8"
        raise UncertainEncodingError(reason)
    return best.encoding


def _list_guesses(sample: bytes) -> list[_Guess]:
    """Return the encodings in which a sample can be read, the likeliest first; equal readings are named by each."""
    known = [*_LETTERS, *_SCRIPTS]
    found = from_bytes(sample, cp_isolation=known, threshold=_LARGEST_CHAOS, enable_fallback=False)
    pairs = [(match, name) for match in found for name in dict.fromkeys([match.encoding, *match.could_be_from_charset])]
    return [
        _Guess(name, _decode(sample, name, is_whole=False), match.chaos, match.coherence)
        for match, name in pairs
        if name in known
    ]


def _is_near(guess: _Guess, best: _Guess) -> bool:
    return guess.chaos <= best.chaos + _MARGIN and guess.coherence >= best.coherence - _MARGIN


def _is_possible(guess: _Guess) -> bool:
    """Return whether people write like this: words of one script and language, no symbols or capitals inside."""
    text = guess.text
    if any(pattern.search(text) for pattern in (_CONTROL, _SYMBOL_IN_WORD, _LONG_RUN)):
        return False
    if _LONE_MARK.search(text) and not _CLOSING_MARK.search(text):
        return False
    symbols = {each for each in text if ord(each) > 127}
    if any(unicodedata.category(each) in {"Cn", "Co", "Sk"} for each in symbols):
        return False
    if any(_mixes_scripts(word) or _has_capital_inside(word) for word in set(_WORD.findall(text))):
        return False
    letters = {each.lower() for each in symbols if each.isalpha()} - {"ª", "º", "µ"}
    if guess.encoding in _LETTERS:
        return bool(letters) and any(letters <= set(alphabet) for alphabet in _LETTERS[guess.encoding])
    own = sum(_find_script(each) in _SCRIPTS[guess.encoding] for each in letters)
    return own > len(letters) / 2


def _has_capital_inside(word: str) -> bool:
    return any(each.isupper() and not each.isascii() for each in word[1:]) and not word.isupper()


def _mixes_scripts(word: str) -> bool:
    scripts = {_find_script(each) for each in word}
    if len(scripts) == 1 or scripts <= _EAST_ASIAN:
        return False
    is_foreign_name = scripts <= _EAST_ASIAN | {"LATIN"} and not (word[0].islower() or word[-1].islower())
    return not is_foreign_name


def _find_script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0]


def _name(encoding: str) -> str:
    return _NAMES.get(encoding, encoding)
