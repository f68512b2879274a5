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
│   └── TooLargeError
├── TooManyFailuresError
├── ManifestError
│   └── NoItemsError
├── OutOfRangeError
├── ConfigError
├── CropSizeError
├── MissingExtraError
├── EncoderFilesError
├── FeatureStoreError
├── EncoderChangedError
├── DeviceError
├── EncodersNotJoinableError
├── MediumNotSupportedError
├── DemoFolderError
├── TrainingError
│   ├── NonFiniteLossError
│   ├── RunExistsError
│   ├── RunChangedError
│   ├── TrainingMemoryError
│   └── RunWriteError
├── CheckpointError
├── WeightsFileError
│   └── StateNamesError
├── ClassNamesError
├── ExportMismatchError
├── EvaluationFileError
├── HubError
├── EmbeddingsError
│   └── CannotEvaluateError
├── NonFiniteEmbeddingError
├── CannotCompareError
├── ReceiptError
│   └── ReceiptVersionError
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


def first(names: Sequence[object], *, limit: int = 5) -> str:
    """The first few names as text, with the count of those left out."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint at the nearest valid name, or nothing."""
    close = get_close_matches(name, list(allowed), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def list_faults(faults: Sequence[str], *, limit: int = 20) -> str:
    """One line for each of the first faults, with the count of those left out."""
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


# ---------------------------------------------------------------- one bad file: counted, listed, passed over


class MediaError(FieldmarkError, ValueError):
    """One file or text that cannot be used; a run counts it and goes on."""

    kind = "unreadable"


class MissingFileError(MediaError, FileNotFoundError):
    """A path that names no file; `met` is what stands there instead, if anything."""

    kind = "missing_file"

    def __init__(self, *, path: Path | str, met: str | None = None) -> None:
        but = f", but {met}" if met else ""
        super().__init__(f"There is no file at '{path}'{but}. Give a path to an existing file, or mend the row.")


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
        super().__init__(f"'{path}' holds {got}, but its row says {expected}. Correct the row's medium or the path.")


class TooLargeError(MediaError):
    """A file beyond a limit on bytes, pixels, seconds, frames or characters."""

    kind = "too_long"

    def __init__(self, *, path: Path | str, quantity: str, got: float | int, allowed: float | int) -> None:
        super().__init__(
            f"'{path}' has {got:,.10g} {quantity}; the limit is {allowed:,.10g}. "
            f"Cut or shrink the file, or raise 'limits.max_{quantity.replace(' ', '_')}'."
        )


class TooManyFailuresError(FieldmarkError):
    """More items failed than a run may pass over."""

    kind = "too_many_failures"

    def __init__(self, *, failed: int, total: int, allowed_share: float, examples: Sequence[str]) -> None:
        super().__init__(
            f"{failed} of {total} items could not be used; at most {allowed_share:.0%} may fail. "
            f"First: {first(examples, limit=3)}. "
            "Run `fieldmark data check`, mend the manifest, or raise 'limits.failure_share'."
        )


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
        self, *, name: str, got: int | float, smallest: int | float, largest: int | float, kind: str | None = None
    ) -> None:
        super().__init__(
            f"'{name}' is {got}; allowed is {smallest} to {largest}. Choose a value in that range.", kind=kind
        )


class ConfigError(FieldmarkError, ValueError):
    """A choice of the user that cannot be used: a configuration, a device, an address, a token."""

    kind = "config"


class CropSizeError(FieldmarkError, ValueError):
    """A crop larger than the picture it is cut from."""

    kind = "config"

    def __init__(self, *, crop_pixels: int, resize_pixels: int) -> None:
        super().__init__(
            f"'crop_pixels' is {crop_pixels}; allowed is at most 'resize_pixels', {resize_pixels}. "
            "Lower the one or raise the other."
        )


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

    def __init__(self, *, name: str, reason: str, key: str) -> None:
        super().__init__(
            f"The encoder '{name}' cannot be loaded: {reason}. "
            f"Give a local folder or file, or, when online, a model hub name, in '{key}'."
        )


class FeatureStoreError(FieldmarkError, OSError):
    """A feature store that cannot be opened, read or written."""

    kind = "feature_store"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The store '{path}' cannot be used: {reason}. "
            "Give a folder on a local disk that has space and may be written to, or let the other run finish."
        )


class EncoderChangedError(FieldmarkError, ValueError):
    """A pretrained encoder that is not the one a network was trained with."""

    kind = "encoder_changed"

    def __init__(self, *, medium: str, got: str, expected: str) -> None:
        super().__init__(
            f"The {medium} encoder has the fingerprint {got[:12]}, but the network was trained with {expected[:12]}: "
            "its weights or settings have changed. Put back the encoder's files, or train again."
        )


class DeviceError(FieldmarkError, ValueError):
    """A torch device that is not here."""

    kind = "device"

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(
            f"The device '{name}' cannot be used: {reason}. Set FIELDMARK_DEVICE to 'cpu' or 'cuda', or leave it unset."
        )


class EncodersNotJoinableError(FieldmarkError, ValueError):
    """Encoders whose features cannot stand side by side."""

    kind = "config"

    def __init__(self, *, got: str, allowed: str) -> None:
        super().__init__(
            f"The encoders cannot be joined: met {got}; allowed is {allowed}. "
            "Give encoders of one medium that ask for the same sizes, rates and segments."
        )


class MediumNotSupportedError(FieldmarkError, ValueError):
    """A medium that the model has no way in for."""

    kind = "medium_not_supported"

    def __init__(self, *, medium: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"The model takes no {medium}; it takes {', '.join(supported)}. "
            f"Train with an encoder for {medium}, or leave {medium} items out."
        )


class DemoFolderError(FieldmarkError, FileExistsError):
    """A folder where the demo would delete what it did not make."""

    kind = "demo_folder"

    def __init__(self, *, path: Path | str) -> None:
        super().__init__(f"'{path}' holds files that no demo made. Choose a new or empty folder with --out.")


# ---------------------------------------------------------------- training and checkpoints


class TrainingError(FieldmarkError, RuntimeError):
    """A training run that cannot go on."""

    kind = "training"


class NonFiniteLossError(TrainingError):
    """A loss that is not a number."""

    kind = "non_finite_loss"

    def __init__(self, *, step: int, parts: str, item_ids: Sequence[str], checkpoint: Path | None) -> None:
        last = f"The last good checkpoint is '{checkpoint}'" if checkpoint else "No checkpoint was saved yet"
        super().__init__(
            f"The loss is not finite at step {step} ({parts}); items: {first(item_ids, limit=8)}. {last}. "
            "Lower 'train.lr', or look at these items with `fieldmark data check`."
        )


class RunExistsError(TrainingError):
    """A run folder that already holds a run."""

    kind = "run_exists"

    def __init__(self, *, path: Path | str) -> None:
        super().__init__(f"'{path}' already holds a run. Go on with it by --resume, or choose another --out.")


class RunChangedError(TrainingError):
    """A run resumed with other data or another configuration than it was started with."""

    kind = "run_changed"

    def __init__(self, *, path: Path | str, what: str) -> None:
        super().__init__(
            f"The run in '{path}' was started with another {what}. "
            "Resume with what it was started with, or start a new run in another --out."
        )


class TrainingMemoryError(TrainingError):
    """A training step that does not fit into memory."""

    kind = "out_of_memory"

    def __init__(self, *, step: int, row_count: int, reason: str) -> None:
        super().__init__(
            f"Memory ran out at step {step}, with {row_count} rows in the batch ({reason}). "
            "Let the batch go through the network in parts by 'train.accumulation', "
            "or lower 'data.classes_per_batch', 'data.items_per_class' or a size of the model "
            "('model.crop_pixels', 'model.depth'), or let the step run on the CPU by FIELDMARK_DEVICE=cpu."
        )


class RunWriteError(TrainingError, OSError):
    """A file of a run that cannot be written."""

    kind = "run_write"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"'{path}' cannot be written: {reason}. What was saved before is as it was. "
            "Look at the free disk space and the rights of the folder, and go on with --resume."
        )


class CheckpointError(FieldmarkError, ValueError):
    """A checkpoint that cannot be used."""

    kind = "checkpoint"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The checkpoint '{path}' cannot be used: {reason}. Give a run or checkpoint made by `fieldmark train`."
        )


class WeightsFileError(FieldmarkError, ValueError):
    """A file of weights of another program that cannot be used."""

    kind = "weights_file"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The weights '{path}' cannot be used: {reason}. "
            "Give a state dict saved by torch.save, or a safetensors file."
        )


class StateNamesError(WeightsFileError):
    """A state dict whose names are not those of the network it is for."""

    kind = "state_names"

    def __init__(self, *, path: Path | str, network: str, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        unmatched = [
            f"{name}{nearest(name, missing).rstrip('?').replace('Did you mean', 'nearest:')}" for name in unexpected
        ]
        FieldmarkError.__init__(
            self,
            f"The weights '{path}' are not those of {network}: "
            f"{len(missing)} names are missing ({first(missing) or 'none'}), "
            f"{len(unexpected)} are unexpected ({first(unmatched) or 'none'}). "
            "Give the state dict of such a network, or rename its tensors.",
        )


class ClassNamesError(FieldmarkError, ValueError):
    """A list of class names that is not one for each class."""

    kind = "class_names"

    def __init__(self, *, path: Path | str, reason: str, count: int) -> None:
        super().__init__(
            f"The class names '{path}' cannot be used: {reason}; the network has {count} classes. "
            "Give one name a line, in the order of the labels."
        )


class ExportMismatchError(FieldmarkError, RuntimeError):
    """An exported network that does not give what the network gives."""

    kind = "export_mismatch"

    def __init__(self, *, medium: str, difference: float, tolerance: float) -> None:
        super().__init__(
            f"The exported network for {medium} differs from the original by {difference:.3g}; allowed is "
            f"{tolerance:.3g}. Nothing was written for it. Install other versions of onnxscript and onnxruntime."
        )


class EvaluationFileError(FieldmarkError, ValueError):
    """A file that does not hold what `fieldmark evaluate --json` prints."""

    kind = "evaluation_file"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The evaluation '{path}' cannot be used: {reason}. "
            "Give a file that holds what `fieldmark evaluate --json` printed."
        )


class HubError(FieldmarkError, OSError):
    """A model hub that does not give or take a model."""

    kind = "hub"

    def __init__(self, *, name: str, action: str, reason: str) -> None:
        super().__init__(
            f"The model hub did not {action} '{name}': {reason}. "
            "Give a local folder, or look at the name, the network and the account you are logged in to."
        )


# ---------------------------------------------------------------- embeddings, evaluation, galleries


class EmbeddingsError(FieldmarkError, ValueError):
    """An embeddings folder that cannot be used."""

    kind = "embeddings"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(f"The embeddings in '{path}' cannot be used: {reason}.")


class CannotEvaluateError(EmbeddingsError):
    """Embeddings from which the wanted numbers cannot be computed."""

    def __init__(self, *, reason: str, remedy: str) -> None:
        FieldmarkError.__init__(self, f"The embeddings cannot be evaluated: {reason}. {remedy}.")


class NonFiniteEmbeddingError(FieldmarkError, ValueError):
    """Embeddings with NaN or infinity, or not of length 1."""

    kind = "non_finite_embedding"

    def __init__(self, *, item_ids: Sequence[str]) -> None:
        super().__init__(
            f"{len(item_ids)} items have an embedding that is not finite or not of length 1: {first(item_ids)}. "
            "Look at these items with `fieldmark data check`, and embed again."
        )


class CannotCompareError(FieldmarkError, ValueError):
    """Two runs that were not measured on the same items."""

    kind = "cannot_compare"

    def __init__(self, *, first_path: Path | str, second_path: Path | str, reason: str) -> None:
        super().__init__(
            f"'{first_path}' and '{second_path}' cannot be compared: {reason}. "
            "Embed the same split of the same manifest with both checkpoints."
        )


class ReceiptError(FieldmarkError, ValueError):
    """A receipt that cannot be read."""

    kind = "receipt"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The receipt '{path}' cannot be used: {reason}. Give a file made by `fieldmark evaluate --receipt`."
        )


class ReceiptVersionError(ReceiptError):
    """A receipt in the form of another version."""

    kind = "receipt_version"

    def __init__(self, *, path: Path | str, got: str, expected: int, made_by: str) -> None:
        FieldmarkError.__init__(
            self,
            f"The receipt '{path}' has the form of version {got}, made by fieldmark {made_by}; this fieldmark reads "
            f"version {expected}. Install the fieldmark that made it, or evaluate again for a new receipt.",
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
            f"{len(item_ids)} items of {own} have an id that another set of the gallery '{gallery}' holds: "
            f"{first(item_ids)}. Give each item an id of its own."
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
            f"The request cannot be used: {first(problems)}. Look at /v1/openapi.json for what is allowed."
        )


class RangeError(RequestError):
    """A range of bytes that lies outside a file."""

    kind = "range"

    def __init__(self, *, got: str, size: int) -> None:
        self.size = size
        super().__init__(f"The range '{got}' lies outside the file, which has {size:,} bytes. Choose one inside.")


class OverloadedError(RequestError):
    """More work at once than a server takes."""

    kind = "overloaded"

    def __init__(self, *, work: str, allowed: int, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(
            f"{allowed} requests of the kind '{work}' are being answered or wait, which is all that may. "
            f"Let {retry_seconds} seconds pass, and send it again."
        )
