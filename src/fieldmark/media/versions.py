"""The versions of what decodes a medium, as far as decoded content depends on them."""

from importlib.metadata import PackageNotFoundError, version

import av

from fieldmark.types import Form, Medium

DECODING_VERSION = 3
"""Raised whenever the loaders of this folder give other segments for the same file and the same `Decoding`."""

_PACKAGES: dict[Medium, tuple[str, ...]] = {
    Medium.IMAGE: ("pillow", "pillow-heif"),
    Medium.TEXT: ("charset-normalizer",),
    Medium.VIDEO: ("av",),
    Medium.AUDIO: ("av", "soxr"),
}
_OPTIONAL_PACKAGES: dict[Medium, tuple[str, ...]] = {
    Medium.IMAGE: ("rawpy", "imagecodecs"),
    Medium.TEXT: ("pypdf", "python-docx"),
}
"""Of the extras: they read files that nothing reads without them, so their absence changes no features."""


def list_decoder_versions(medium: Medium, *, form: Form | None = None) -> dict[str, str]:
    """Return the major version of each package that decodes a medium, and of the loaders, by name."""
    of = Medium.IMAGE if form is not None else medium  # both forms are pictures
    versions = {package: read_major_version(package) for package in _PACKAGES[of]}
    optional = {package: read_major_version(package) for package in _OPTIONAL_PACKAGES.get(of, ())}
    versions |= {package: found for package, found in optional.items() if found}
    if "imagecodecs" in versions:  # named by year and month; what it reads here is read by one library in it
        del versions["imagecodecs"]
        versions["libjxl"] = _read_libjxl_version()
    if "av" in versions:
        versions["libavcodec"] = str(av.library_versions["libavcodec"][0])
    return {**versions, "decoding": str(DECODING_VERSION)}


def _read_libjxl_version() -> str:
    import imagecodecs

    return ".".join(str(imagecodecs.jpegxl_version()).removeprefix("libjxl ").split(".")[:2])


def read_major_version(package: str) -> str:
    """Return the part of a package's version that changes when its results may: "2" of 2.7.1, "0.6" of 0.6.3.

    A patch release corrects faults in rare files; the features of all others would be computed again for nothing. Empty
    for a package that is not installed.
    """
    try:
        first, _, rest = version(package).partition(".")
    except PackageNotFoundError:
        return ""
    return first if first != "0" else f"{first}.{rest.partition('.')[0]}"
