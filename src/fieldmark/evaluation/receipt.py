"""Evaluation receipts: hashes of every input, the settings and every number, so that others can verify a result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, JsonValue, StringConstraints, TypeAdapter, ValidationError

from fieldmark.errors import EvaluationError
from fieldmark.evaluation.evaluated_items import find_first_rows
from fieldmark.evaluation.few_words import AskedQuestion
from fieldmark.evaluation.protocol import ProtocolName, Settings
from fieldmark.io import write_text
from fieldmark.leakage import Leak
from fieldmark.types import Embeddings, Split

RECEIPT_VERSION = 1
"""Version of the file format; others are refused."""

_DIGEST_LENGTH = 16
"""Hex digits of the digests of single items: enough to detect a change, not a forgery; the receipt has a full hash."""

DIGEST_NAMES = ("split or group", "content", "embedding")
"""The contents of an item's digests, in their order."""

_NOT_MEASURING = frozenset({"comparison.py", "verification.py"})
"""Code beside the measuring that changes no number of a receipt."""

_MEASURING_TOO = (
    "data/shards.py",
    "data/taxonomy.py",
    "leakage.py",
    "names.py",
    "origin.py",
    "segment_table.py",
    "types.py",
    "workflows/evaluate.py",
)
"""Code elsewhere that chooses, reads or groups what is measured."""

_NO_CLASS = ""
"""The class name that items without a class are listed under."""

_LATER_KEYS = frozenset({"leaks", "questions"})
"""Keys that receipts of earlier versions do not have."""

_DIGEST = rf"[0-9a-f]{{{_DIGEST_LENGTH}}}"

_Digests = Annotated[str, StringConstraints(pattern=rf"^{_DIGEST} {_DIGEST} {_DIGEST}$")]
"""One digest for each of `DIGEST_NAMES`."""

ItemDigests = Mapping[str, Mapping[str, Mapping[str, _Digests]]]
"""By medium, class name and item id."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An evaluation that others can verify.

    Args:
        receipt_sha256: Over all other keys, which distinguishes an edited receipt from a result that differs.
        evaluator_sha256: Over the source of all code that can change a number, and the libraries it computes with.
        versions: Of Python and the libraries that made the embeddings.
        embeddings_path: Of the embeddings folder, from the receipt's own folder.
        model: Fingerprint, checkpoint and manifest of the embeddings, as far as the folder knows them.
        config: The configuration of the model; None where the folder does not know it.
        items_sha256: Over `items`, the leaking groups and items, and the class names.
        results: All numbers, as `fieldmark evaluate --json` prints them.
        items: See `ItemDigests`.
        leaks: By the findings of a check that the evaluation was given.
        questions: Made from the table of traits that the evaluation was given, with their embeddings.
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
    leaks: tuple[Leak, ...] = ()
    questions: tuple[AskedQuestion, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings of the evaluation."""
        return Settings(
            protocol=self.protocol,
            split=self.split,
            seed=self.seed,
            ranks=self.ranks,
            leaks=self.leaks,
            questions=self.questions,
        )

    def compute_hash(self) -> str:
        """Return the hash that `receipt_sha256` has to be."""
        return _hash_json({key: value for key, value in self._list_values().items() if key != "receipt_sha256"})

    def sign(self) -> "Receipt":
        """Return the receipt with its own hash."""
        return replace(self, receipt_sha256=self.compute_hash())

    def write(self, path: Path) -> None:
        """Write the receipt, whole or not at all."""
        write_text(path, json.dumps(self._list_values(), indent=1, ensure_ascii=False) + "\n")

    def _list_values(self) -> dict[str, object]:
        """Return all keys but those that are empty and unknown to earlier versions, whose hashes thus stay."""
        return {key: value for key, value in asdict(self).items() if key not in _LATER_KEYS or value}


_ADAPTER = TypeAdapter(Receipt)


def read_receipt(path: Path) -> Receipt:
    """Read a receipt.

    Raises:
        EvaluationError: The file is missing, or holds something else.
        EvaluationError: It has the format of another version.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise _no_receipt(path, reason=str(error.strerror).lower()) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _no_receipt(path, reason=f"it is not JSON ({error})") from error
    found = content.get("receipt_version") if isinstance(content, dict) else None
    if found is None:
        raise _no_receipt(path, reason="it has no 'receipt_version', so it is not a receipt of an evaluation")
    if found != RECEIPT_VERSION:
        made_by = str(content.get("fieldmark"))
        raise EvaluationError(
            f"The receipt '{path}' has the format of version {found}, made by fieldmark {made_by}; this one reads "
            f"version {RECEIPT_VERSION}. Install the fieldmark that made it, or evaluate again for a new receipt."
        )
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        reason = "; ".join(f"'{'.'.join(map(str, e['loc']))}': {e['msg'].lower()}" for e in error.errors()[:3])
        raise _no_receipt(path, reason=reason) from error


def _no_receipt(path: Path, *, reason: str) -> EvaluationError:
    return EvaluationError(
        f"The receipt '{path}' cannot be used: {reason}. Give a file made by `fieldmark evaluate --receipt`."
    )


def digest_items(embeddings: Embeddings, content_hash_by_item_id: Mapping[str, str]) -> ItemDigests:
    """Return the digests of every item: of its split and group, of its content, of its times and vectors."""
    starts = find_first_rows(embeddings.items).tolist()
    found: dict[str, dict[str, dict[str, str]]] = {}
    for start, end in zip(starts, [*starts[1:], len(embeddings.items)], strict=True):
        item = embeddings.items[start]
        arrays = [embeddings.start_seconds, embeddings.end_seconds, embeddings.embedding, embeddings.logits]
        rows = b"".join(np.ascontiguousarray(array[start:end]).tobytes() for array in arrays if array is not None)
        content = content_hash_by_item_id[item.item_id]
        digests = [_hash_json([item.split, item.group]), content, hashlib.sha256(rows).hexdigest()]
        by_class = found.setdefault(item.medium.value, {})
        of_class = by_class.setdefault(item.class_name or _NO_CLASS, {})
        of_class[item.item_id] = " ".join(digest[:_DIGEST_LENGTH] for digest in digests)
    return found


def hash_items(
    items: ItemDigests, *, leaking_groups: Sequence[str], leaking_ids: Sequence[str], class_names: Sequence[str]
) -> str:
    """Return one hash over all items and over the facts of their folder."""
    further = [list(leaking_ids)] if leaking_ids else []  # folders of earlier versions name the groups alone
    return _hash_json([items, list(leaking_groups), list(class_names), *further])


def hash_evaluator() -> str:
    """Return one hash over the source of the code that measures, and over the versions of what it computes with."""
    package = Path(__file__).parents[1]
    own = (file for file in Path(__file__).parent.glob("*.py") if file.name not in _NOT_MEASURING)
    digest = hashlib.sha256()
    for file in sorted([*own, *(package / name for name in _MEASURING_TOO)]):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    for library in ("numpy", "scipy", "torch"):
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


def _hash_json(value: object) -> str:
    """Return the SHA-256 of a plain value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
