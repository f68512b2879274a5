"""The key under which the features of an encoder are cached, and what has changed where it is a new one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fieldmark.encoders.encoder import Encoder, describe_features, hash_parameters
from fieldmark.media.versions import list_decoder_versions, read_major_version
from fieldmark.types import Form, Medium

_FIRST_VERSIONS = {
    "pillow": "13",
    "pillow-heif": "1",
    "rawpy": "0.28",
    "libjxl": "0.11",
    "charset-normalizer": "3",
    "pypdf": "7",
    "python-docx": "1",
    "av": "18",
    "libavcodec": "62",
    "soxr": "1",
    "decoding": "1",
    "torch": "2",
    "onnxruntime": "1",
    "transformers": "5",
    "ai-edge-litert": "2",
}
"""Those that were current when each became a part of the key (November 2026); only others are in it.

So a cache is not lost when a package joins the table, nor when one of the extras is installed.
"""
_KIND = "kind"
_LONGEST_SHOWN = 16


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """A key, and the facts that it stands for.

    A fingerprint decides which checkpoints and galleries an encoder serves; a new Pillow must not make them useless.
    It may change the features of a file a little, though, and a cache should not mix both: the key holds the versions
    too.
    """

    key: str
    facts: Mapping[str, str]


def describe_key(encoder: Encoder, medium: Medium, *, form: Form | None = None) -> FeatureKey:
    """Return the key of an encoder's features of a medium."""
    facts = describe_features(encoder)
    versions = list_decoder_versions(medium, form=form)
    versions |= {package: read_major_version(package) for package in facts.packages}
    changed = {name: value for name, value in versions.items() if value != _FIRST_VERSIONS.get(name)}
    fingerprint = encoder.fingerprint
    return FeatureKey(
        key=hash_parameters({"fingerprint": fingerprint, **changed}) if changed else fingerprint,
        facts={
            "medium": medium.value,
            "form": form.value if form else "",
            **facts.parameters,
            **facts.files,
            **{f"the version of {name}": value for name, value in versions.items()},
        },
    )


def explain_new_key(facts: Mapping[str, str], known: Iterable[Mapping[str, str]]) -> str:
    """Return what tells a key from the nearest known one of the same kind; empty where there is none."""
    same_kind = [each for each in known if _read_kind(each) == _read_kind(facts)]
    if not same_kind:
        return ""
    nearest = min(same_kind, key=lambda each: len(_find_changes(each, facts)))
    changes = _find_changes(nearest, facts)
    return ", ".join(_describe(name, nearest.get(name, ""), facts.get(name, "")) for name in changes)


def _read_kind(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if name in ("medium", "form") or name.startswith(_KIND)}


def _find_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys([*now, *before]) if before.get(name) != now.get(name)]


def _describe(name: str, before: str, now: str) -> str:
    is_short = before and now and max(len(before), len(now)) <= _LONGEST_SHOWN
    return f"{name} ({before}, now {now})" if is_short else name
