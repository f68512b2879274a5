"""The contract of encoders, what their implementations share, and several encoders of one medium as one."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Protocol, TypeVar, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from fieldmark.errors import (
    ConfigError,
    EncoderChangedError,
    EncoderFilesError,
    FieldmarkError,
    MediaError,
    MediumMismatchError,
)
from fieldmark.types import (
    AudioContent,
    Content,
    Decoding,
    ImageContent,
    Medium,
    Segment,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

_LOGGER = logging.getLogger(__name__)
_ContentT = TypeVar("_ContentT", ImageContent, TextContent, VideoContent, AudioContent)
_T = TypeVar("_T")

_MEDIUM_BY_CONTENT: dict[type[Content], Medium] = {
    ImageContent: Medium.IMAGE,
    TextContent: Medium.TEXT,
    VideoContent: Medium.VIDEO,
    AudioContent: Medium.AUDIO,
    SpectrogramContent: Medium.AUDIO,
}

_NAME_OF_CONTENT = {**_MEDIUM_BY_CONTENT, SpectrogramContent: "a picture of a spectrogram in place of sound"}

PACKAGE_PREFIX = "package:"
"""Begins the name of a folder inside an installed package: `package:NAME/FOLDER`."""


@runtime_checkable
class Encoder(Protocol):
    """One medium's way into the network: segments in, one tensor for each out; nothing in it is trained.

    The same segment gives the same tensor whatever else is in the call, up to float rounding.
    """

    @property
    def fingerprint(self) -> str:
        """Changes whenever the tensors may change: weights, preprocessing, sizes."""
        ...

    @property
    def decoding(self) -> Decoding:
        """Decoding and segmentation that the encoder needs."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor of one segment."""
        ...

    @property
    def is_costly(self) -> bool:
        """True if the tensors are worth caching on disk, as those of pretrained encoders are."""
        ...

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index in the tensor of the square root of a class's probability, by the class's name.

        An index may have several names, as a common and a scientific one. Labels that are no species, such as
        "background", are left out. Empty for an encoder that names no classes.
        """
        ...

    def encode(self, segments: Sequence[Segment]) -> Tensor:
        """Return the tensors of some segments, stacked on axis 0, on the CPU.

        Raises:
            MediumMismatchError: A segment holds another medium than the encoder takes.
        """
        ...


@runtime_checkable
class DescribedEncoder(Protocol):
    """An encoder that tells what its fingerprint is made of, so that a change can be named."""

    @property
    def facts(self) -> "FeatureFacts":
        """All that the tensors depend on, beside the packages' versions."""
        ...


@runtime_checkable
class RenewedEncoder(Protocol):
    """An encoder whose fingerprint covered less, or whose tensors were others, in earlier versions of fieldmark."""

    @property
    def earlier_forms(self) -> Mapping[str, Encoder]:
        """The encoder as it was, by the fingerprint that checkpoints of earlier versions hold."""
        ...


@dataclass(frozen=True, slots=True)
class JointFeatures:
    """Columns of an encoder's tensors that can be compared with those of an encoder of another medium.

    Args:
        space: The same for encoders whose columns are of one space, as the two towers of CLIP are.
        start: The first of the columns.
        dim: Number of columns.
    """

    space: str
    start: int
    dim: int


@runtime_checkable
class JointEncoder(Protocol):
    """An encoder that may share a space with one of another medium."""

    @property
    def joint(self) -> JointFeatures | None:
        """The columns of that space; None where it shares none."""
        ...


@runtime_checkable
class LetterReader(Protocol):
    """An encoder of texts for which all texts in letters that it does not know are the same."""

    def knows_letters(self, text: str) -> bool:
        """Tell whether any part of a text means something to it."""
        ...


def knows_letters(encoder: Encoder, text: str) -> bool:
    """Tell whether any part of a text means something to an encoder; True for one that cannot tell."""
    return not isinstance(encoder, LetterReader) or encoder.knows_letters(text)


@runtime_checkable
class Lexicon(Protocol):
    """An encoder of texts that has words of its own, and reads all others in pieces."""

    def knows_words(self, words: Sequence[str]) -> list[bool] | None:
        """Tell which of some words are its own; None where it cannot tell."""
        ...


def knows_words(encoder: Encoder, words: Sequence[str]) -> list[bool] | None:
    """Tell which of some words are an encoder's own; None for one that cannot tell."""
    return encoder.knows_words(words) if isinstance(encoder, Lexicon) else None


def find_joint(encoder: Encoder) -> JointFeatures | None:
    """Return the columns that an encoder shares with encoders of other media; None where it shares none."""
    return encoder.joint if isinstance(encoder, JointEncoder) else None


def find_form(encoder: Encoder, fingerprint: str) -> Encoder | None:
    """Return an encoder in the form that a checkpoint was trained with; None where it never had that fingerprint."""
    if encoder.fingerprint == fingerprint:
        return encoder
    return encoder.earlier_forms.get(fingerprint) if isinstance(encoder, RenewedEncoder) else None


def require_form(encoder: Encoder, fingerprint: str, *, medium: Medium) -> Encoder:
    """Return an encoder in the form that a network was trained with, which may be that of an earlier version.

    Raises:
        EncoderChangedError: It never had that fingerprint.
    """
    form = find_form(encoder, fingerprint)
    if form is None:
        raise EncoderChangedError(medium=medium.value, got=encoder.fingerprint, expected=fingerprint)
    if fingerprint != encoder.fingerprint:
        _LOGGER.warning(
            "The network was trained by an earlier version of fieldmark, and its %s encoder is used as it was then. "
            "Train again to have the present one.",
            medium,
        )
    return form


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """All that the tensors of an encoder depend on, by name.

    Args:
        parameters: Values whose `repr` tells all that matters about them: numbers, strings, frozen dataclasses.
        files: The SHA-256 of each file, by what the file is; in the order in which the fingerprint takes them.
        packages: Packages that compute the tensors, by the names under which they are installed.
    """

    parameters: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    @classmethod
    def collect(
        cls, parameters: Mapping[str, object], *, files: Mapping[str, Path] | None = None, packages: Sequence[str] = ()
    ) -> "FeatureFacts":
        """Read the files, and keep what must be compared."""
        return cls(
            {name: repr(value) for name, value in parameters.items()},
            {name: _hash_file(file) for name, file in (files or {}).items()},
            tuple(packages),
        )

    @property
    def fingerprint(self) -> str:
        """One hash over the parameters and the content of the files; names and locations of the files do not count."""
        known = {**self.parameters, **{f"file {index}": sha256 for index, sha256 in enumerate(self.files.values())}}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def leave_out(self, *names: str) -> "FeatureFacts":
        """Return the facts without some files and parameters, as an earlier version collected them."""
        return FeatureFacts(
            {name: value for name, value in self.parameters.items() if name not in names},
            {name: value for name, value in self.files.items() if name not in names},
            self.packages,
        )


def get_contents(segments: Sequence[Segment], expected: type[_ContentT]) -> list[_ContentT]:
    """Return the contents of segments, all of the expected class.

    Raises:
        MediumMismatchError: A segment holds another medium.
    """
    contents: list[_ContentT] = []
    for index, segment in enumerate(segments):
        if not isinstance(segment.content, expected):
            raise build_mismatch_error(segment, index=index, expected=_MEDIUM_BY_CONTENT[expected])
        contents.append(segment.content)
    return contents


def build_mismatch_error(segment: Segment, *, index: int, expected: str) -> MediumMismatchError:
    """Build the error for a segment of a medium that an encoder does not take.

    Args:
        index: Of the segment in the call, from 0.
    """
    got = _NAME_OF_CONTENT[type(segment.content)]
    return MediumMismatchError(path=f"segment {index}", got=got, expected=expected)


def encode_each(encoder: Encoder, segments: Sequence[Segment], *, names: Sequence[str]) -> list[Tensor | MediaError]:
    """Return the tensor of each segment, or why it has none: one segment that cannot be encoded costs no other.

    Args:
        names: Of the item that each segment belongs to, for messages.

    Raises:
        FieldmarkError: The encoder itself cannot be used.
        MemoryError: The memory is full.
    """
    try:
        tensors = list(encoder.encode(segments))
    except Exception as error:
        if _is_no_fault_of_an_item(error):
            raise
        if len(segments) == 1:
            return [_describe_failure(error, name=names[0])]
        alone = [encode_each(encoder, [each], names=[name]) for each, name in zip(segments, names, strict=True)]
        return [result for results in alone for result in results]
    return [
        tensor if not tensor.is_floating_point() or bool(tensor.isfinite().all()) else _describe_infinite(name)
        for tensor, name in zip(tensors, names, strict=True)
    ]


def _is_no_fault_of_an_item(error: Exception) -> bool:
    """Tell whether an error would meet other items too: a missing package, files that have changed, a full memory."""
    is_own = isinstance(error, FieldmarkError) and not isinstance(error, MediaError)
    return is_own or isinstance(error, MemoryError)


def _describe_failure(error: Exception, *, name: str) -> MediaError:
    if isinstance(error, MediumMismatchError):
        return MediaError(
            f"'{name}' cannot be encoded: it holds {error.got}, and the encoder takes {error.expected}. "
            "Give a file that it takes, or drop the item.",
            kind="medium_mismatch",
        )
    _LOGGER.debug("'%s' cannot be encoded", name, exc_info=error)
    reason = str(error).strip().partition("\n")[0].rstrip(".") or "no reason given"
    return MediaError(
        f"'{name}' cannot be encoded: {type(error).__name__}, {reason}. Replace the file or drop the item."
    )


def _describe_infinite(name: str) -> MediaError:
    return MediaError(
        f"'{name}' cannot be encoded: its features are not finite numbers. Replace the file or drop the item."
    )


def list_names_by_index(named_scores: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Return all names of each species that named scores tell apart, in the order of the scores."""
    names: dict[int, list[str]] = {}
    for name, index in named_scores.items():
        names.setdefault(index, []).append(name)
    return tuple(tuple(names[index]) for index in sorted(names))


def iterate_batches(values: Sequence[_T], *, batch_size: int) -> Iterator[Sequence[_T]]:
    """Yield the values in their order, at most `batch_size` at a time."""
    for start in range(0, len(values), batch_size):
        yield values[start : start + batch_size]


def hash_parameters(parameters: Mapping[str, object], *, files: Sequence[Path] = ()) -> str:
    """Return a hash of named parameters and the bytes of files; names and locations of the files do not matter.

    Args:
        parameters: Values whose `repr` tells all that matters about them: numbers, strings, frozen dataclasses.
    """
    return FeatureFacts.collect(parameters, files={str(index): file for index, file in enumerate(files)}).fingerprint


def locate_in_package(name: str, *, key: str) -> Path:
    """Return the folder or file for `package:NAME/PATH`, found without importing the package.

    Args:
        key: Config key that holds the name, for the message.

    Raises:
        EncoderFilesError: The package is not installed or carries nothing at that path.
    """
    package, _, inner = name.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        reason = f"the package '{package}' is not installed; try: pip install 'fieldmark[encoders]'"
        raise EncoderFilesError(name=name, reason=reason, key=key)
    path = Path(spec.submodule_search_locations[0]) / inner
    if not path.exists():
        raise EncoderFilesError(name=name, reason=f"the package '{package}' does not contain '{inner}'", key=key)
    return path


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- several encoders of one medium


@final
class ConcatenatedEncoder:
    """Concatenates the features of several encoders.

    Args:
        encoders: One or more, of one medium; each gives vectors and asks for the same decoding.

    Raises:
        ConfigError: There is none, their decodings differ, or one gives other than vectors.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = tuple(encoders)
        self._check()

    @property
    def fingerprint(self) -> str:
        """Changes with each encoder and their order."""
        return _hash_parts([encoder.fingerprint for encoder in self._encoders])

    @property
    def facts(self) -> FeatureFacts:
        """Those of all encoders that tell theirs, each under the encoder's number."""
        parameters, files, packages = dict[str, str](), dict[str, str](), dict[str, None]()
        for number, encoder in enumerate(self._encoders, start=1):
            own = describe_features(encoder)
            parameters |= {f"{name} of encoder {number}": value for name, value in own.parameters.items()}
            files |= {f"{name} of encoder {number}": value for name, value in own.files.items()}
            packages |= dict.fromkeys(own.packages)
        return FeatureFacts(parameters, files, tuple(packages))

    @property
    def earlier_forms(self) -> Mapping[str, Encoder]:
        """Every combination of the forms that the encoders had."""
        forms = [
            {encoder.fingerprint: encoder} | dict(encoder.earlier_forms if isinstance(encoder, RenewedEncoder) else {})
            for encoder in self._encoders
        ]
        combined = {
            _hash_parts([fingerprint for fingerprint, _ in chosen]): ConcatenatedEncoder([each for _, each in chosen])
            for chosen in product(*(each.items() for each in forms))
        }
        return {fingerprint: form for fingerprint, form in combined.items() if fingerprint != self.fingerprint}

    @property
    def decoding(self) -> Decoding:
        """That of every encoder."""
        return self._encoders[0].decoding

    @property
    def shape(self) -> tuple[int]:
        """Sum of the dimensions."""
        return (sum(encoder.shape[0] for encoder in self._encoders),)

    @property
    def is_costly(self) -> bool:
        """True if any of the encoders is costly."""
        return any(encoder.is_costly for encoder in self._encoders)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Named scores of every encoder, by index in the joined features; the first encoder has a shared name."""
        start, indices = 0, dict[str, int]()
        for encoder in self._encoders:
            indices = {name: start + index for name, index in encoder.named_scores.items()} | indices
            start += encoder.shape[0]
        return indices

    def knows_letters(self, text: str) -> bool:
        """Tell whether any of the encoders that can tell knows any part of a text."""
        readers = [encoder for encoder in self._encoders if isinstance(encoder, LetterReader)]
        return not readers or any(encoder.knows_letters(text) for encoder in readers)

    def knows_words(self, words: Sequence[str]) -> list[bool] | None:
        """Tell which of some words are those of any of the encoders that can tell; None where none can."""
        found = [own for encoder in self._encoders if (own := knows_words(encoder, words)) is not None]
        return [any(each) for each in zip(*found, strict=True)] if found else None

    @property
    def joint(self) -> JointFeatures | None:
        """The columns of the first encoder that shares a space with one of another medium."""
        start = 0
        for encoder in self._encoders:
            if (own := find_joint(encoder)) is not None:
                return JointFeatures(own.space, start=start + own.start, dim=own.dim)
            start += encoder.shape[0]
        return None

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds another medium than an encoder takes.
        """
        return torch.cat([encoder.encode(segments) for encoder in self._encoders], dim=1)

    def _check(self) -> None:
        if not self._encoders:
            raise _not_joinable("no encoder", allowed="one or more")
        decodings = {encoder.decoding for encoder in self._encoders}
        if len(decodings) > 1:
            got = "; ".join(sorted(map(repr, decodings)))
            raise _not_joinable(got, allowed="one way of decoding for all")
        shapes = [encoder.shape for encoder in self._encoders]
        if any(len(shape) != 1 for shape in shapes):
            raise _not_joinable(f"tensors of the shapes {shapes}", allowed="vectors")


def describe_features(encoder: Encoder) -> FeatureFacts:
    """Return all that an encoder's tensors depend on; its fingerprint alone where it does not tell more."""
    return encoder.facts if isinstance(encoder, DescribedEncoder) else FeatureFacts({"encoder": encoder.fingerprint})


def _hash_parts(fingerprints: Sequence[str]) -> str:
    # Earlier versions had a scale for each encoder, always 1; galleries hold fingerprints with it.
    scales = (1.0,) * len(fingerprints)
    return hash_parameters({"kind": "concatenated", "parts": tuple(fingerprints), "scales": scales})


def _not_joinable(got: str, *, allowed: str) -> ConfigError:
    return ConfigError(
        f"The encoders cannot be joined: got {got}, but need {allowed}. "
        "Give encoders of one medium with the same sizes, sample rates and segments."
    )
