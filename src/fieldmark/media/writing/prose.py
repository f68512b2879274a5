"""Files of characters that are no notes: markup, settings, tables, logs. One rule for every command."""

import json
import re
from collections.abc import Callable, Sequence

_HEAD_CHARACTERS = 2**14
"""Characters of a file that are looked at."""

_OTHER_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "a table"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "a web page (HTML)"),
    **dict.fromkeys((".gpx", ".kml", ".nmea", ".igc", ".fit", ".tcx"), "a track of positions"),
    **dict.fromkeys((".xmp", ".pp3", ".dop", ".cos"), "settings and labels of a photo (XMP)"),
    **dict.fromkeys((".json", ".jsonl", ".geojson", ".ipynb"), "data (JSON)"),
    **dict.fromkeys((".xml", ".svg", ".xsl", ".plist", ".yaml", ".yml"), "data or markup"),
    **dict.fromkeys((".ini", ".cfg", ".conf", ".toml", ".properties", ".url", ".inf", ".reg"), "settings"),
    **dict.fromkeys((".srt", ".vtt", ".sub", ".ass", ".cue", ".m3u", ".m3u8", ".pls"), "subtitles or a list of tracks"),
    **dict.fromkeys((".log", ".dmp"), "a log"),
    **dict.fromkeys((".py", ".sh", ".bat", ".ps1", ".js", ".css", ".r", ".sql", ".c", ".h", ".cpp"), "a program"),
    **dict.fromkeys((".rtf", ".eml", ".vcf", ".ics", ".bib", ".tex", ".ps", ".eps"), "a document of another program"),
    **dict.fromkeys((".md5", ".sha1", ".sha256", ".sfv"), "checksums"),
}  # fmt: skip


def find_other_kind(text: str, *, suffix: str) -> str | None:
    """Return what a file of characters is other than a note, such as "a table"; None for a note.

    The content decides first, then the suffix: a table of Raven often ends in `.txt`, and the source of a web page, a
    PDF or an RTF document is in characters too.

    Args:
        text: The beginning of the file.
        suffix: Of its name, with the dot.
    """
    head = text[:_HEAD_CHARACTERS].lstrip("\ufeff \t\r\n\f")
    lines = [line for line in head.splitlines() if line.strip()][:200]
    if len(text) > _HEAD_CHARACTERS and len(lines) > 1:
        lines.pop()  # cut off
    if not lines:
        return None
    if _ANY_BEGINNING.match(head):
        return next(name for pattern, name in _BEGINNINGS if pattern.match(head))
    for looks_like, name in _SHAPES:
        if looks_like(lines):
            return name
    return _OTHER_SUFFIXES.get(suffix.lower())


# ---------------------------------------------------------------- by the beginning

_BEGINNINGS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), name)
    for pattern, name in (
        (r"\{\\rtf", "a document in RTF"),
        (r"%PDF-", "the source of a PDF"),
        (r"%!PS", "a program in PostScript"),
        (r"<\?xpacket|<x:xmpmeta|<rdf:RDF", "settings and labels of a photo (XMP)"),
        (r"(<\?xml.{0,300}?\?>\s*)?(<!--.{0,2000}?-->\s*)*<gpx\b", "a track of positions (GPX)"),
        (r"(<!--.{0,2000}?-->\s*)*<(!doctype html|html|head|body|script|style|meta)\b", "a web page (HTML)"),
        (r"<[?!][a-z]", "markup (XML)"),
        (r"<(?P<tag>[a-z][\w:.-]*)(\s[^<>]*)?(/>|>.*</(?P=tag)\s*>)", "markup"),
        (r"#!\s*/", "a program"),
        (r"\$(GP|GN|GL|PM)[A-Z]{2,4},", "a track of positions (NMEA)"),
        (r"#EXTM3U|\[playlist\]", "a list of tracks"),
        (r"WEBVTT\b|1\s*\n\d\d:\d\d:\d\d,\d{3} --> ", "subtitles"),
        (r"BEGIN:V(CARD|CALENDAR|EVENT)", "a calendar or an address"),
        (r"-----BEGIN [A-Z ]+-----", "a key or a certificate"),
        (r"Windows Registry Editor|REGEDIT4", "settings"),
        (r"Selection\t(View|Channel|Begin)", "a table of Raven"),
        (r"GUANO\|", "settings and labels of a recording (GUANO)"),
        (r'File type = "ooTextFile"', "labels of a recording (Praat)"),
        (r"\w+\s*=\s*\{\s*\n", "settings"),
        (r"#include\s*[<\"]|@echo off\b|CREATE (TABLE|DATABASE)\b|INSERT INTO\b", "a program"),
        (r"(#[^\n]*\n|\s)*(import [\w.]+( as \w+)?|from [\w.]+ import [\w*, ()]+|library\(\w+\));?\s*\n", "a program"),
        (r"[\"']use strict[\"']|(const|var|let) \w+ = |function \w+\(", "a program"),
        (r"(%[^\n]*\n|\s)*\\(documentclass|begin\{|usepackage)", "a document of another program (LaTeX)"),
        (
            r"(Return-Path|Received: (from|by)|Delivered-To|MIME-Version|Message-ID|DKIM-Signature|X-Mailer)[: ]",
            "an e-mail",
        ),
        (r"--- [^\n]+\n\+\+\+ |diff --git ", "a list of changes (diff)"),
    )
)

_ANY_BEGINNING = re.compile("|".join(f"(?:{each.pattern})" for each, _ in _BEGINNINGS), re.IGNORECASE | re.DOTALL)
"""Most notes begin like none of these, and one pattern tells so ten times sooner than twenty."""

# ---------------------------------------------------------------- by the shape of all lines

_SHARE = 0.7  # of the lines that must have the shape
_FEWEST_ROWS = 3
_SECTION = re.compile(r"\s*\[[^\[\]]{1,80}\]\s*$")
_ASSIGNMENT = re.compile(r"\s*[\w.\- ]{1,60}=\s*\S*")
_SETTING = re.compile(r"\s*(?P<key>[\w.()/%\-]+( [\w.()/%\-]+){0,5})(?P<pad>\s*)[:=](\s|$)")
_RECORDER_KEYS = re.compile(
    r"sample ?rate|firmware|gain\b|device ?id|serial ?(no|num)|deployment ?id|sleep ?(time|duration)"
    r"|recording ?(duration|period)|battery|(low|high|band).?pass|filter|trigger|threshold|bit ?depth|bits per sample"
    r"|channels?$|duty ?cycle|time ?zone|led\b|microphone|mic\b|(start|stop|first|last) recording|schedule|frequency"
    r"|voltage|sd ?card|model|version|format|latitude|longitude|time setting|energy saver|file size|pre ?-?amp",
    re.IGNORECASE,
)
_NUMBER = r"[-+]?\d+([.,]\d+)?"
_LABEL_TRACK = re.compile(rf"\s*{_NUMBER}\t{_NUMBER}(\t|$)")
_DEVICE = re.compile(
    r"firmware|sd ?card|card \d|(recording|acquisition) (started|stopped)|battery|volts?\b|mounted|shut ?down"
    r"|wake|sleep|gps (fix|lock)|time zone|channels|\d k?Hz\b",
    re.IGNORECASE,
)
_BEGINS_WITH_DATE = re.compile(r"\s*\W?(\d{4}[-/.]?\d{2}[-/.]?\d{2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})[ T]")
_NUMBERS = re.compile(rf"\s*({_NUMBER}\s+)*{_NUMBER}\s*$")
_SUM = re.compile(r"\s*([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\s+\*?\S", re.IGNORECASE)
_CODED = re.compile(r"[A-Za-z0-9+/=]{48,}$")
_FILE_NAME = re.compile(r"\s*\S+\.(wav|flac|mp3|jpe?g|png|mp4|mov|avi|nef|cr[23]|arw|dng|txt|csv)\s*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)]*\s*$")
_STAMPED = re.compile(
    r"\s*\W?\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\W*\s*\[?(DEBUG|INFO|WARN|ERROR)", re.I
)


def _is_json(lines: Sequence[str]) -> bool:
    """Return whether the text is JSON: whole, one value a line, or cut off."""
    first = lines[0].strip()
    if not first.startswith(("{", "[")):
        return False
    for candidate in ("\n".join(lines), first):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return isinstance(value, dict) or (isinstance(value, list) and candidate != first) or len(lines) == 1
    return (
        re.match(
            r'(\{\s*"[^"\n]*"\s*:|\[\s*(\{\s*"|\[\s*[\d"\[]|"[^"\n]*"\s*,|' + _NUMBER + r"\s*,))", "\n".join(lines)
        )
        is not None
    )


def _is_settings(lines: Sequence[str]) -> bool:
    """Return whether the lines are settings: sections, assignments, or what recorders write beside their sound."""
    has_equals = any("=" in line for line in lines)
    if any("[" in line and _SECTION.match(line) for line in lines) and _has_share(lines, _is_of_sections):
        return has_equals
    if has_equals and len(lines) >= _FEWEST_ROWS and _has_share(lines, _ASSIGNMENT.match):
        return True
    if len(lines) < 2 or not _has_share(lines, _match_setting):
        return False
    found = [match for line in lines if (match := _match_setting(line)) is not None]
    technical = sum(_RECORDER_KEYS.search(match["key"].replace("_", " ")) is not None for match in found)
    padded = sum(len(match["pad"]) > 1 for match in found)
    return technical >= max(2, len(found) / 2) or (technical >= 1 and padded >= len(found) / 2)


def _match_setting(line: str) -> re.Match[str] | None:
    return _SETTING.match(line) if ":" in line or "=" in line else None  # prose without either is tried for long


def _is_of_sections(line: str) -> bool:
    return line.lstrip().startswith((";", "#")) or bool(_SECTION.match(line) or _ASSIGNMENT.match(line))


def _is_table(lines: Sequence[str]) -> bool:
    """Return whether the lines are rows: the same number of cells in each, three or more."""
    if _has_share(lines, _LABEL_TRACK.match):
        return True
    return any(_has_cells(lines, separator) for separator in ("\t", ";", "|", ","))


def _has_cells(lines: Sequence[str], separator: str) -> bool:
    if lines[0].count(separator) < 2 or len(lines) < (2 if separator == "\t" else _FEWEST_ROWS):
        return False
    counts = [line.count(separator) for line in lines]
    if counts.count(counts[0]) < _SHARE * len(lines):
        return False
    if separator == "\t":
        return True
    if _has_share(lines, _SENTENCE_END.search):
        return False
    spaced = sum(line.count(separator + " ") for line in lines)
    return spaced <= 0.2 * sum(counts) or (separator == "|" and len(lines) >= _FEWEST_ROWS)


def _is_log(lines: Sequence[str]) -> bool:
    """Return whether the lines are a log; of those without a level, one that tells what a recorder did."""
    if _has_share(lines, _STAMPED.match):
        return True
    is_dated = len(lines) >= _FEWEST_ROWS and any(map(_BEGINS_WITH_DATE.match, lines))
    return is_dated and _has_share(lines, _DEVICE.search)


def _is_list(lines: Sequence[str]) -> bool:
    """Return whether all lines are numbers, checksums, names of files, or bytes in letters."""
    patterns = (_NUMBERS, _SUM, _FILE_NAME, _CODED) if len(lines) >= _FEWEST_ROWS else (_SUM,)
    return any(_has_share(lines, each.match) for each in patterns)


def _has_share(lines: Sequence[str], test: Callable[[str], object]) -> bool:
    """Return whether enough lines pass a test; ends as soon as too many have failed."""
    may_fail = len(lines) - _SHARE * len(lines)
    failed = 0
    for line in lines:
        if not test(line):
            failed += 1
            if failed > may_fail:
                return False
    return True


_SHAPES: tuple[tuple[Callable[[Sequence[str]], bool], str], ...] = (
    (_is_json, "data (JSON)"),
    (_is_settings, "settings, such as a recorder writes"),
    (_is_table, "a table, such as one of Raven"),
    (_is_log, "a log"),
    (_is_list, "a list of numbers, sums or names of files"),
)
