"""Every error that a caller may catch.

A class stands here where somebody catches it by name, reads data from it, or raises it in many places with one message.
All other messages are written where they are raised, in the class of their branch; `kind` tells them apart in HTTP
answers, findings and failures.

FieldmarkError
├── MediaError
│   ├── MissingFileError
│   ├── UnreadableMediaError
│   ├── EmptyMediaError
│   ├── UnknownMediumError
│   ├── MediumMismatchError
│   └── TooLargeError
├── TooManyFailuresError
├── ManifestError
│   ├── BadRowsError
│   ├── ManifestColumnsError
│   ├── ManifestFormatError
│   ├── NoItemsError
│   ├── ManifestExistsError
│   ├── TaxonomyError
│   ├── ImportSourceError
│   └── ColumnMappingError
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
│   ├── GalleryFormatError
│   ├── TakenItemIdError
│   ├── SetNameError
│   ├── SetSourceError
│   ├── TooManyDroppedError
│   ├── GalleryExistsError
│   ├── GalleryBusyError
│   ├── GalleryWriteError
│   ├── UnknownItemError
│   ├── EncoderMismatchError
│   └── DimensionMismatchError
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


class UnknownMediumError(MediaError):
    """A file whose content is none of the four media."""

    kind = "unreadable"

    def __init__(self, *, path: Path | str) -> None:
        super().__init__(
            f"The content of '{path}' is neither an image, a text, a video nor a sound that can be read. "
            "Give a picture, UTF-8 text, or a file that FFmpeg decodes."
        )


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


class BadRowsError(ManifestError):
    """Rows that are not valid; all of them, reported at once."""

    kind = "bad_row"

    def __init__(self, *, path: Path | str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"  {problem}" for problem in problems[:20])
        rest = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        super().__init__(f"'{path}' has {len(problems)} bad rows. Mend them:\n{listed}{rest}")


class ManifestColumnsError(ManifestError):
    """A manifest without the columns it needs."""

    def __init__(self, *, path: Path | str, got: Sequence[str], missing: Sequence[str]) -> None:
        super().__init__(
            f"'{path}' has the columns {first(got, limit=12)}; missing: {', '.join(missing)}. "
            "A manifest needs 'medium', and 'path' or 'text'. Add the columns to the header."
        )


class ManifestFormatError(ManifestError):
    """A file that is no manifest."""

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"'{path}' cannot be read as a manifest: {reason}. Give a UTF-8 CSV with a header, or Parquet."
        )


class NoItemsError(ManifestError):
    """A selection that leaves nothing to work on."""

    kind = "no_items"

    def __init__(self, *, path: Path | str, wanted: str, present: str) -> None:
        super().__init__(f"'{path}' holds no {wanted}; it holds {present}. Choose what it holds, or add items.")


class ManifestExistsError(ManifestError, FileExistsError):
    """A folder where new data would overwrite a manifest."""

    kind = "manifest_exists"

    def __init__(self, *, path: Path | str) -> None:
        super().__init__(f"There is a manifest at '{path}' already. Choose another folder, or delete it first.")


class TaxonomyError(ManifestError):
    """A taxonomy that cannot be used."""

    kind = "taxonomy"

    def __init__(self, *, path: Path | str, problems: Sequence[str]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems[:20])
        super().__init__(f"The taxonomy '{path}' has {len(problems)} faults. Mend them:\n{listed}")


class ImportSourceError(ManifestError):
    """A folder or table that an importer finds nothing of its layout in."""

    kind = "import_source"

    def __init__(self, *, path: Path | str, met: str, wanted: str) -> None:
        super().__init__(f"'{path}' cannot be imported: {met}. Give {wanted}.")


class ColumnMappingError(ManifestError):
    """A mapping of columns that names what is not there."""

    kind = "column_mapping"

    def __init__(self, *, got: str, allowed: Sequence[str], hint: str = "") -> None:
        super().__init__(
            f"The mapping '{got}' names no column there is; there are {first(allowed, limit=30)}.{hint} "
            "Give COLUMN=NAME, or COLUMN='{NAME} {OTHER}' to join several."
        )


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


class GalleryFormatError(GalleryError):
    """A gallery whose store another version of fieldmark made."""

    kind = "gallery_format"

    def __init__(self, *, path: Path | str, got: str, expected: str) -> None:
        super().__init__(
            f"The gallery '{path}' has a store of format {got}; this fieldmark reads format {expected}. "
            "Give another folder to `fieldmark index` to build it again, or install the fieldmark that made it."
        )


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


class SetNameError(GalleryError, ValueError):
    """A set without a name."""

    kind = "set_name"

    def __init__(self, *, got: str, source: Path | str) -> None:
        super().__init__(f"The set of '{source}' has the name '{got}'; allowed is any text. Give one with --set.")


class SetSourceError(GalleryError, ValueError):
    """A source that would take the place of another one's set."""

    kind = "set_source"

    def __init__(self, *, name: str, got: Path | str, expected: Path | str, gallery: Path | str) -> None:
        super().__init__(
            f"The set '{name}' of the gallery '{gallery}' came from '{expected}', not from '{got}'. "
            f"Give this source a set of its own with --set NAME or, where it is that source moved, --set '{name}'."
        )


class TooManyDroppedError(GalleryError):
    """A source from which more items are gone than is likely."""

    kind = "too_many_dropped"

    def __init__(self, *, item_ids: Sequence[str], total: int, set_name: str, allowed_share: float) -> None:
        super().__init__(
            f"{len(item_ids)} of the {total} items of the set '{set_name}' are gone from its source: "
            f"{first(item_ids)}; allowed is a share of {allowed_share:g}. Nothing was changed. "
            "Look whether the source is whole and, where these items are to go, add --allow-drop."
        )


class GalleryExistsError(GalleryError):
    """A path where a new gallery would overwrite another."""

    kind = "gallery_exists"

    def __init__(self, *, path: Path | str) -> None:
        super().__init__(f"There is a gallery at '{path}' already. Add to it, or choose another path.")


class GalleryBusyError(GalleryError):
    """A gallery that another process is writing."""

    kind = "gallery_busy"

    def __init__(self, *, path: Path | str, waited_seconds: float) -> None:
        super().__init__(
            f"Another process is writing the gallery '{path}'; it was waited for {waited_seconds:g} seconds. "
            "Let it end, and run the same command again."
        )


class GalleryWriteError(GalleryError):
    """A gallery that cannot be written."""

    kind = "gallery_write"

    def __init__(self, *, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The gallery '{path}' cannot be written: {reason}. It is as it was before. "
            "Look at the free disk space and the rights of the folder, and run the same command again."
        )


class UnknownItemError(GalleryError, KeyError):
    """An item that a gallery does not hold."""

    kind = "unknown_item"

    def __init__(self, *, item_id: str, gallery: Path | str) -> None:
        self.item_id = item_id
        super().__init__(f"The gallery '{gallery}' has no item '{item_id}'. Give the id of an item it holds.")


class EncoderMismatchError(GalleryError, ValueError):
    """Embeddings of one encoder for a gallery built with another."""

    kind = "encoder_mismatch"

    def __init__(self, *, got: str, expected: str, gallery: Path | str) -> None:
        super().__init__(
            f"The encoder's fingerprint is {got[:12]}, but gallery '{gallery}' was built with {expected[:12]}. "
            "Use the checkpoint the gallery was built with, or build a new gallery."
        )


class DimensionMismatchError(GalleryError, ValueError):
    """Embeddings of another dimension than the gallery's."""

    kind = "dimension_mismatch"

    def __init__(self, *, got: int, expected: int, gallery: Path | str) -> None:
        super().__init__(
            f"Embeddings have dimension {got}, but gallery '{gallery}' holds dimension {expected}. "
            "Embed with the checkpoint the gallery was built with, or build a new gallery."
        )


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
