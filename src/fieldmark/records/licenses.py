"""Licenses of media: the normal form of what codes, addresses and names say."""

import re
from functools import lru_cache

_VERSIONS = ("1.0", "2.0", "2.1", "2.5", "3.0", "4.0")
_PARTS = ("by", "nc", "sa", "nd")
_WORDS = {
    "by": r"\battribution\b|\bby\b",
    "nc": r"non[\s-]?commercial|\bnc\b",
    "sa": r"share[\s-]?alike|\bsa\b",
    "nd": r"no[\s-]?deriv(s|ative|atives|ative works)?\b|\bnd\b",
}
_ADDRESS = re.compile(r"creativecommons\.org/licenses/([a-z-]+)(?:/(\d\.\d))?", re.IGNORECASE)
_PLAIN = {
    "CC0": r"\bcc[\s_-]?(0|zero)(?![0-9])|publicdomain/zero|creative commons zero|public domain dedication"
    r"|no rights reserved",
    "Public Domain Mark": r"publicdomain/mark|public domain mark|\bpdm\b",
    "Public Domain": r"^(public ?domain|pd)$",
    "All rights reserved": r"all rights reserved|^(©|\(c\)|copyright|arr)$",
}
"""Forms that have no parts, each with what stands for it."""


@lru_cache(maxsize=1024)  # a collection has few, and each search asks for the form of all of them
def normalize_license(text: str) -> str | None:
    """Return the normal form of a license, such as "CC BY 4.0" or "CC0"; None for one without a known form.

    Example:
        >>> normalize_license("https://creativecommons.org/licenses/by-nc/4.0/legalcode"), normalize_license("CC0_1_0")
        ('CC BY-NC 4.0', 'CC0')
        >>> normalize_license("Creative Commons Attribution-ShareAlike 3.0 Unported"), normalize_license("MIT")
        ('CC BY-SA 3.0', None)
    """
    plain = " ".join(text.casefold().split())
    if found := _ADDRESS.search(plain):
        return _write(found[1].split("-"), found[2])
    if form := next((form for form, pattern in _PLAIN.items() if re.search(pattern, plain)), None):
        return form
    words = re.sub(r"[_\s]+", " ", re.sub(r"(\d)[_ ](\d)", r"\1.\2", plain))
    is_creative = re.search(r"\bcc\b|creative commons|\b(international|unported|generic)\b|\bby\b.*\d\.\d", words)
    parts = [part for part in _PARTS if re.search(_WORDS[part], words)]
    if not is_creative or "by" not in parts:
        return None
    version = re.search(r"\b(\d\.\d)\b", words)
    return _write(parts, version[1] if version else None)


def _write(parts: list[str], version: str | None) -> str | None:
    known = [part for part in ("by", "nc", "nd", "sa") if part in parts]
    if "by" not in known or len(known) != len(parts):
        return None
    return f"CC {'-'.join(known).upper()}" + (f" {version}" if version else "")


def write_license_form(text: str) -> str:
    """Return the normal form of a license; one that has none as it is given, but for spaces and case."""
    return normalize_license(text) or " ".join(text.casefold().split())


def list_license_forms(wanted: str) -> frozenset[str]:
    """Return the forms that a license somebody asks for stands for: without a version, all versions."""
    form = write_license_form(wanted)
    if form.startswith("CC BY") and not re.search(r"\d\.\d$", form):
        return frozenset((form, *(f"{form} {version}" for version in _VERSIONS)))
    return frozenset((form,))
