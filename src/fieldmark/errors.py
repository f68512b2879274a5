"""Every error that a caller may catch.

A class stands here where somebody catches it by name, reads data from it, or raises it in many places with one message.
All other messages are written where they are raised, in the class of their branch; `kind` tells them apart in HTTP
answers, findings and failures.

FieldmarkError
├── MediaError
│   ├── MissingFileError
│   ├── UnreadableMediaError
│   ├── EmptyMediaError
│   ├── MediumMismatchError
│   ├── UnknownLettersError
│   ├── NotProseError
│   └── TooLargeError
├── TooManyFailuresError
├── DownloadError
├── ManifestError
│   └── NoItemsError
├── OutOfRangeError
├── ConfigError
├── MissingExtraError
├── EncoderFilesError
├── EncoderChangedError
├── MediumNotSupportedError
├── TrainingError
│   └── NonFiniteLossError
├── CheckpointError
├── WeightsFileError
├── EvaluationError
├── EmbeddingsError
├── NonFiniteEmbeddingError
├── GalleryError
│   ├── MissingGalleryError
│   ├── DamagedGalleryError
│   ├── TakenItemIdError
│   └── UnknownItemError
└── RequestError
    ├── BadRequestError
    ├── RangeError
    └── OverloadedError
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


def list_first(names: Sequence[object], *, limit: int = 5) -> str:
    """Join the first few names as text, with the count of those left out."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def write_count(count: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun: `1 item`, `2,000 items`.

    Args:
        plural: None for the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def suggest_nearest(name: str, allowed: Iterable[str]) -> str:
    """Hint at the nearest valid name, or say nothing."""
    close = get_close_matches(name, list(allowed), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def read_first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class where it has none."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0]


def list_faults(faults: Sequence[str], *, limit: int = 20) -> str:
    """Write one line for each of the first faults, with the count of those left out."""
    rest = [f"and {len(faults) - limit} more"] if len(faults) > limit else []
    return "\n".join(f"  {fault}" for fault in [*faults[:limit], *rest])


class FieldmarkError(Exception):
    """The root of the tree.

    Args:
        message: What was met with its value, what is allowed, and what to do next.
        kind: The short name that HTTP answers, findings and failures give; None for that of the class.
    """

    kind = "error"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind or type(self).kind

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError and OSError would quote it

    def __reduce__(self) -> tuple[object, ...]:
        # So that it reaches another process as it is: most classes build their message from other values.
        return _rebuild, (type(self), str(self), dict(self.__dict__))


def _rebuild(error: type[FieldmarkError], message: str, values: dict[str, object]) -> FieldmarkError:
    # The first base's `__new__` does not make the object of an OSError.
    built = (OSError if issubclass(error, OSError) else error).__new__(error)
    built.args = (message,)
    built.__dict__.update(values)
    return built


# ---------------------------------------------------------------- one bad file: counted, listed, skipped


class MediaError(FieldmarkError, ValueError):
    """One file or text that cannot be used; a run counts it and goes on."""

    kind = "unreadable"


class MissingFileError(MediaError, FileNotFoundError):
    """A path that names no file; `met` is what stands there instead, if anything."""

    kind = "missing_file"

    def __init__(self, *, path: Path | str, met: str | None = None) -> None:
        but = f", but {met}" if met else ""
        super().__init__(f"There is no file at '{path}'{but}. Give a path to an existing file, or correct the row.")


class UnreadableMediaError(MediaError):
    """A file that starts as its medium and cannot be decoded."""

    kind = "unreadable"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(f"'{path}' cannot be decoded: {reason}. Replace the file or drop it.")


class EmptyMediaError(MediaError):
    """A file of zero bytes, or one with nothing in it."""

    kind = "empty"

    def __init__(self, *, path: Path | str, reason: str = "it holds nothing") -> None:
        super().__init__(f"'{path}' is empty: {reason}. Replace the file or drop it.")


class MediumMismatchError(MediaError):
    """A file whose content is of another medium than its row says."""

    kind = "medium_mismatch"

    def __init__(self, *, path: Path | str, got: str, expected: str) -> None:
        self.got, self.expected = got, expected
        super().__init__(f"'{path}' holds {got}, but its row says {expected}. Correct the row's medium or the path.")


class TooLargeError(MediaError):
    """A file beyond a limit on bytes, pixels, seconds, frames or characters."""

    kind = "too_long"

    def __init__(self, *, path: Path | str, quantity: str, got: float | int, allowed: float | int) -> None:
        self.limit_name = f"limits.max_{quantity.replace(' ', '_')}"
        super().__init__(
            f"'{path}' has {got:,.10g} {quantity}; the limit is {allowed:,.10g}. "
            f"Cut or shrink the file, or raise '{self.limit_name}'."
        )

    def name_limit(self, name: str) -> None:
        """Give the limit the name under which its user can change it, where that is another one."""
        self.args = (str(self).replace(f"'{self.limit_name}'", f"'{name}'"),)
        self.limit_name = name


class UnknownLettersError(MediaError):
    """A text of which its encoder knows nothing: to it, all such texts are the same."""

    kind = "unreadable"

    def __init__(self, *, text: str) -> None:
        super().__init__(
            f"The text '{text[:40]}' is in letters that the text encoder does not know. "
            "Give it in letters that it knows, such as Latin ones, or give the name of a species."
        )


class NotProseError(MediaError):
    """A file of characters that is no note."""

    kind = "not_prose"

    def __init__(self, *, path: object, met: str, instead: str = "its text as a .txt file in UTF-8") -> None:
        super().__init__(f"'{path}' is {met}, not a note in plain text. Give {instead}, or leave it out.")


class TooManyFailuresError(FieldmarkError):
    """More items failed than a run may skip."""

    kind = "too_many_failures"

    def __init__(self, *, failed: int, total: int, allowed_share: float, examples: Sequence[str]) -> None:
        super().__init__(
            f"{failed} of {total} items could not be used; at most {100 * allowed_share:.3g}% may fail. "
            f"First: {list_first(examples, limit=3)}. "
            "Run `fieldmark data check`, correct the manifest, or give a larger share with --failure-share "
            "(in a configuration: limits.failure_share)."
        )


def check_failure_share(reasons: Sequence[str], *, total: int, allowed_share: float | None) -> None:
    """Check whether as many items could be used as a run needs; one may always fail.

    Args:
        reasons: Of each item that could not be used.
        total: Items that the run went through.
        allowed_share: None for no limit.

    Raises:
        TooManyFailuresError: More than the share could not be used.
    """
    if allowed_share is not None and len(reasons) > max(1, int(allowed_share * total)):
        raise TooManyFailuresError(failed=len(reasons), total=total, allowed_share=allowed_share, examples=reasons)


# ---------------------------------------------------------------- downloads


class DownloadError(FieldmarkError, ValueError):
    """One file that cannot be downloaded; the run counts it and goes on. The kind says why."""

    kind = "download"

    def __init__(
        self,
        *,
        address: str,
        reason: str,
        kind: str | None = None,
        remedy: str = "Correct the address, or run the command again later.",
    ) -> None:
        super().__init__(f"'{address}' cannot be downloaded: {reason}. {remedy}", kind=kind)


# ---------------------------------------------------------------- manifests


class ManifestError(FieldmarkError, ValueError):
    """A manifest that cannot be used."""

    kind = "manifest"


class NoItemsError(ManifestError):
    """A selection that leaves nothing to work on."""

    kind = "no_items"

    def __init__(self, *, path: Path | str, wanted: str, present: str) -> None:
        super().__init__(f"'{path}' holds no {wanted}; it holds {present}. Choose what it holds, or add items.")


# ---------------------------------------------------------------- configuration and parts


class OutOfRangeError(FieldmarkError, ValueError):
    """A number outside its range."""

    kind = "out_of_range"

    def __init__(
        self,
        *,
        name: str,
        got: int | float,
        smallest: int | float,
        largest: int | float,
        excluded: int | float | None = None,
        kind: str | None = None,
    ) -> None:
        but = "" if excluded is None else f", but not {excluded}"
        super().__init__(
            f"'{name}' is {got}; the allowed range is {smallest} to {largest}{but}. Choose a value in it.", kind=kind
        )


class ConfigError(FieldmarkError, ValueError):
    """A choice of the user that cannot be used: a configuration, a device, an address, a token."""

    kind = "config"


class MissingExtraError(FieldmarkError, ImportError):
    """A command that needs an optional part of the installation."""

    kind = "missing_extra"

    def __init__(self, *, package: str, extra: str, need: str) -> None:
        super().__init__(
            f"{need} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'fieldmark[{extra}]'"
        )


class EncoderFilesError(FieldmarkError, FileNotFoundError):
    """A pretrained encoder whose files are not where the configuration says."""

    kind = "encoder_files"

    def __init__(self, *, name: str, reason: str, key: str, remedy: str | None = None) -> None:
        usual = f"Give a local folder or file, or, when online, a model hub name, in '{key}'."
        super().__init__(f"The encoder '{name}' cannot be loaded: {reason}. {remedy or usual}")


class EncoderChangedError(FieldmarkError, ValueError):
    """A pretrained encoder that is not the one a network was trained with."""

    kind = "encoder_changed"

    def __init__(self, *, medium: str, got: str, expected: str) -> None:
        super().__init__(
            f"The {medium} encoder has the fingerprint {got[:12]}, but the network was trained with {expected[:12]}: "
            "its weights or settings have changed. Restore the encoder's files, or train again."
        )


class MediumNotSupportedError(FieldmarkError, ValueError):
    """A medium that the model has no way in for."""

    kind = "medium_not_supported"

    def __init__(self, *, medium: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"The model does not support {medium}; it supports {', '.join(supported)}. "
            f"Train with an encoder for {medium}, or leave {medium} items out."
        )


# ---------------------------------------------------------------- training and checkpoints


class TrainingError(FieldmarkError, RuntimeError):
    """A training run, or a network of one, that cannot be used further."""

    kind = "training"


class NonFiniteLossError(TrainingError):
    """A loss that is not a number."""

    kind = "non_finite_loss"

    def __init__(self, *, step: int, parts: str, item_ids: Sequence[str], checkpoint: Path | None) -> None:
        last = f"The last good checkpoint is '{checkpoint}'" if checkpoint else "No checkpoint was saved yet"
        super().__init__(
            f"The loss is not finite at step {step} ({parts}); items: {list_first(item_ids, limit=8)}. {last}. "
            "Lower 'train.lr', or check these items with `fieldmark data check`."
        )


class CheckpointError(FieldmarkError, ValueError):
    """A checkpoint that cannot be used."""

    kind = "checkpoint"

    def __init__(
        self,
        *,
        path: Path | str,
        reason: str,
        remedy: str = "Give a run or checkpoint made by `fieldmark train`.",
    ) -> None:
        super().__init__(f"The checkpoint '{path}' cannot be used: {reason}. {remedy}")


class WeightsFileError(FieldmarkError, ValueError):
    """A file of weights of another program that cannot be used."""

    kind = "weights_file"

    def __init__(
        self,
        *,
        path: Path | str,
        reason: str,
        remedy: str = "Give a state dict saved by torch.save, or a safetensors file.",
    ) -> None:
        super().__init__(f"The weights '{path}' cannot be used: {reason}. {remedy}")


# ---------------------------------------------------------------- embeddings, evaluation, galleries


class EvaluationError(FieldmarkError, ValueError):
    """An evaluation that cannot be done, or a file that is no result of `fieldmark evaluate`."""

    kind = "evaluation"


class EmbeddingsError(FieldmarkError, ValueError):
    """An embeddings folder that cannot be used."""

    kind = "embeddings"

    def __init__(self, *, path: Path | str, reason: str, subject: str = "The embeddings in") -> None:
        super().__init__(f"{subject} '{path}' cannot be used: {reason}.")


class NonFiniteEmbeddingError(FieldmarkError, ValueError):
    """Embeddings with NaN or infinity, or not of length 1."""

    kind = "non_finite_embedding"

    def __init__(self, *, item_ids: Sequence[str]) -> None:
        super().__init__(
            f"{write_count(len(item_ids), 'item')} cannot be compared, with an embedding that is not finite or not of "
            f"length 1: {list_first(item_ids)}. Check these with `fieldmark data check`, and embed again."
        )


class GalleryError(FieldmarkError, RuntimeError):
    """A gallery that cannot be used."""

    kind = "gallery"


class MissingGalleryError(GalleryError):
    """A path that holds no gallery."""

    kind = "missing_gallery"

    def __init__(self, *, path: Path | str) -> None:
        super().__init__(
            f"There is no gallery at '{path}'. Build one with `fieldmark index SOURCE --gallery '{path}'`."
        )


class DamagedGalleryError(GalleryError):
    """A gallery with a part missing or broken."""

    kind = "damaged_gallery"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(f"The gallery '{path}' is damaged: {reason}. Build it again with `fieldmark index`.")


class TakenItemIdError(GalleryError):
    """Items whose ids another set of the gallery holds."""

    kind = "taken_item_id"

    def __init__(self, *, item_ids: Sequence[str], set_name: str | None, gallery: Path | str) -> None:
        self.item_ids = tuple(item_ids)
        own = f"the set '{set_name}'" if set_name is not None else "no set"
        super().__init__(
            f"{write_count(len(item_ids), 'id')} in {own} cannot be added, since another set of the gallery "
            f"'{gallery}' holds the same: {list_first(item_ids)}. Give each item a unique id."
        )


class UnknownItemError(GalleryError, KeyError):
    """An item that a gallery does not hold."""

    kind = "unknown_item"

    def __init__(self, *, item_id: str, gallery: Path | str) -> None:
        self.item_id = item_id
        super().__init__(f"The gallery '{gallery}' has no item '{item_id}'. Give the id of an item it holds.")


# ---------------------------------------------------------------- requests over HTTP


class RequestError(FieldmarkError, ValueError):
    """A request that cannot be answered as it was sent."""

    kind = "bad_request"


class BadRequestError(RequestError):
    """A request whose body or parameters are not what the API takes."""

    def __init__(self, *, problems: Sequence[str]) -> None:
        super().__init__(
            f"The request cannot be used: {list_first(problems)}. Look at /v1/openapi.json for what is allowed."
        )


class RangeError(RequestError):
    """A range of bytes that lies outside a file."""

    kind = "range"

    def __init__(self, *, got: str, size: int) -> None:
        self.size = size
        super().__init__(
            f"The range '{got}' lies outside the file, which has {size:,} bytes. Choose a range inside it."
        )


class OverloadedError(RequestError):
    """More work at once than a server takes."""

    kind = "overloaded"

    def __init__(self, *, work: str, allowed: int, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(
            f"{allowed} requests of the kind '{work}' are running or waiting, which is the limit. "
            f"Wait {retry_seconds} seconds and send it again."
        )
