"""What makes an evaluation checkable: hashes of all that went in, the settings, and every number that came out."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, JsonValue, StringConstraints, TypeAdapter, ValidationError

import fieldmark.evaluation
from fieldmark._version import __version__
from fieldmark.data.shards import read_content_hashes
from fieldmark.errors import ReceiptError, ReceiptVersionError
from fieldmark.evaluation.item_table import first_rows
from fieldmark.io import write_text
from fieldmark.types import Split
from fieldmark.workflows.evaluate import MeasuredFolder, ProtocolName, Settings

RECEIPT_VERSION = 1
"""Of the receipt's form; another one is refused."""

DIGEST_LENGTH = 16
"""Hex digits of the digests of single items: enough to tell a change, not a forgery; the whole has a full hash."""

DIGEST_NAMES = ("split or group", "content", "embedding")
"""What the digests of an item are of, in their order."""

NO_CLASS = ""
"""Under which items without a class are listed."""

_DIGEST = rf"[0-9a-f]{{{DIGEST_LENGTH}}}"

Digests = Annotated[str, StringConstraints(pattern=rf"^{_DIGEST} {_DIGEST} {_DIGEST}$")]
"""One digest for each of `DIGEST_NAMES`."""

ItemDigests = Mapping[str, Mapping[str, Mapping[str, Digests]]]
"""By medium, class name and item id."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An evaluation that others can verify.

    Args:
        receipt_sha256: Over all other keys, so that a receipt changed by hand is told from a result that differs.
        evaluator_sha256: Over the source of the evaluation code.
        versions: Of Python and the libraries that made the embeddings.
        embeddings_path: Of the embeddings folder, from the receipt's own folder.
        model: Fingerprint, checkpoint and manifest of the embeddings, as far as the folder tells them.
        config: The configuration of the model; None where the folder does not tell it.
        items_sha256: Over `items`, the straddling groups and the class names.
        results: All numbers, as `fieldmark evaluate --json` prints them.
        items: See `ItemDigests`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    receipt_version: int
    receipt_sha256: str
    fieldmark: str
    evaluator_sha256: str
    versions: Mapping[str, str]
    embeddings_path: str
    model: Mapping[str, JsonValue]
    config: Mapping[str, JsonValue] | None
    protocol: ProtocolName
    split: Split | None
    seed: int
    ranks: Mapping[str, Mapping[str, str]]
    items_sha256: str
    results: Mapping[str, JsonValue]
    items: ItemDigests

    @property
    def settings(self) -> Settings:
        """What the evaluation was asked for."""
        return Settings(protocol=self.protocol, split=self.split, seed=self.seed, ranks=self.ranks)

    def own_hash(self) -> str:
        """What `receipt_sha256` has to be."""
        return hash_json({key: value for key, value in asdict(self).items() if key != "receipt_sha256"})


_RECEIPT = TypeAdapter(Receipt)


def make_receipt(measured: MeasuredFolder, *, path: Path) -> Receipt:
    """The receipt of an evaluation, to be written at `path`."""
    info = measured.info
    items = digest_items(measured)
    config = info.facts.get("config")
    unsigned = Receipt(
        receipt_version=RECEIPT_VERSION,
        receipt_sha256="",
        fieldmark=__version__,
        evaluator_sha256=hash_evaluator(),
        versions=info.versions,
        embeddings_path=_relative(measured.folder, path.parent),
        model={
            "fingerprint": info.fingerprint,
            "dim": info.dim,
            **{key: value for key, value in info.facts.items() if key != "config"},
        },
        config=config if isinstance(config, dict) else None,
        protocol=measured.settings.protocol,
        split=measured.settings.split,
        seed=measured.settings.seed,
        ranks=measured.settings.ranks,
        items_sha256=hash_items(measured, items),
        results=json.loads(json.dumps(measured.evaluation.to_json())),
        items=items,
    )
    values = {**asdict(unsigned), "receipt_sha256": unsigned.own_hash()}
    return Receipt(**values)


def write_receipt(measured: MeasuredFolder, path: Path) -> Receipt:
    """Writes the receipt of an evaluation, whole or not at all."""
    receipt = make_receipt(measured, path=path)
    write_text(path, json.dumps(asdict(receipt), indent=1, ensure_ascii=False) + "\n")
    return receipt


def read_receipt(path: Path) -> Receipt:
    """The receipt in a file.

    Raises:
        ReceiptError: There is no such file, or it is no receipt.
        ReceiptVersionError: Its form is that of another version.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ReceiptError(path=path, reason=str(error.strerror).lower()) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReceiptError(path=path, reason=f"it is no JSON ({error})") from error
    found = content.get("receipt_version") if isinstance(content, dict) else None
    if found is None:
        raise ReceiptError(path=path, reason="it has no 'receipt_version', so it is no receipt of an evaluation")
    if found != RECEIPT_VERSION:
        made_by = str(content.get("fieldmark"))
        raise ReceiptVersionError(path=path, got=str(found), expected=RECEIPT_VERSION, made_by=made_by)
    try:
        return _RECEIPT.validate_python(content)
    except ValidationError as error:
        reason = "; ".join(f"'{'.'.join(map(str, e['loc']))}': {e['msg'].lower()}" for e in error.errors()[:3])
        raise ReceiptError(path=path, reason=reason) from error


def digest_items(measured: MeasuredFolder) -> dict[str, dict[str, dict[str, str]]]:
    """Digests of every item in the folder: of its split and group, of its content, of its times and vectors."""
    embeddings = measured.embeddings
    content = read_content_hashes(measured.folder)
    starts = first_rows(embeddings.items).tolist()
    found: dict[str, dict[str, dict[str, str]]] = {}
    for start, end in zip(starts, [*starts[1:], len(embeddings.items)], strict=True):
        item = embeddings.items[start]
        arrays = [embeddings.start_seconds, embeddings.end_seconds, embeddings.embedding, embeddings.logits]
        rows = b"".join(np.ascontiguousarray(array[start:end]).tobytes() for array in arrays if array is not None)
        digests = [hash_json([item.split, item.group]), content[item.item_id], hashlib.sha256(rows).hexdigest()]
        by_class = found.setdefault(item.medium.value, {})
        of_class = by_class.setdefault(item.class_name or NO_CLASS, {})
        of_class[item.item_id] = " ".join(digest[:DIGEST_LENGTH] for digest in digests)
    return found


def hash_items(measured: MeasuredFolder, items: ItemDigests) -> str:
    """One hash over all items and over what the folder knows of them together."""
    info = measured.info
    return hash_json([items, list(info.straddling_groups), list(info.class_names)])


def hash_evaluator() -> str:
    """One hash over the source of the evaluation code."""
    folder = Path(next(iter(fieldmark.evaluation.__path__)))
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def hash_json(value: object) -> str:
    """The SHA-256 of a plain value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _relative(folder: Path, start: Path) -> str:
    return Path(os.path.relpath(folder.resolve(), start.resolve())).as_posix()
