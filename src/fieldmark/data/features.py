"""Features kept on disk by the content they were computed from, so that each file goes through an encoder once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.data.cache_file import CacheFile

# The number is that of the layout: another layout is another file, and an old one is never misread.
_FILE_NAME = "features-1.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (
    fingerprint TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    shape TEXT NOT NULL,
    feature_bytes BLOB NOT NULL,
    seconds_bytes BLOB NOT NULL,
    PRIMARY KEY (fingerprint, content_hash)
)
"""


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features that an encoder made of one item, a row for each segment.

    Args:
        start_seconds: NaN where the medium has no time.
    """

    values: Float32[np.ndarray, "segment ..."]
    start_seconds: Float[np.ndarray, " segment"]
    end_seconds: Float[np.ndarray, " segment"]


@dataclass(frozen=True, slots=True)
class _FeatureStoreSize:
    """The number of items with features, over all encoders, and their size on disk."""

    item_count: int
    size_bytes: int


@final
class FeatureStore:
    """Features on disk under the encoder's fingerprint and the hash of the content they were computed from.

    One SQLite file on a local disk, shared by any number of processes. What `put_many` has taken in stays, whatever
    happens to the process. The store only saves work: a damaged file is set aside with a warning and begun anew.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = CacheFile(folder / _FILE_NAME, schema=_SCHEMA)

    def get_many(self, fingerprint: str, hashes: Sequence[str]) -> dict[str, StoredFeatures]:
        """Return the stored features by content hash; hashes that are not found are missing.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        return self._file.select(
            "SELECT content_hash, shape, feature_bytes, seconds_bytes FROM features "
            "WHERE fingerprint = ? AND content_hash IN ({marks})",
            version=fingerprint,
            hashes=hashes,
            decode=lambda _, *columns: _decode(*columns),
        )

    def put_many(self, fingerprint: str, entries: Mapping[str, StoredFeatures]) -> None:
        """Store features by content hash, all of them or none; earlier ones are replaced.

        Raises:
            EmbeddingsError: The file cannot be opened or written.
        """
        rows = [(fingerprint, content_hash, *_encode(features)) for content_hash, features in entries.items()]
        self._file.insert("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)

    def size(self) -> _FeatureStoreSize:
        """Return how much the store holds.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        item_count = self._file.run(
            lambda connection: connection.execute("SELECT COUNT(*) FROM features").fetchone()[0]
        )
        return _FeatureStoreSize(
            item_count=item_count, size_bytes=sum(part.stat().st_size for part in self._file.parts())
        )


def _encode(features: StoredFeatures) -> tuple[str, bytes, bytes]:
    values = np.ascontiguousarray(features.values, dtype="<f4")
    seconds = np.stack([features.start_seconds, features.end_seconds]).astype("<f8")
    return ",".join(map(str, values.shape)), values.tobytes(), seconds.tobytes()


def _decode(shape: str, feature_bytes: bytes, seconds_bytes: bytes) -> StoredFeatures:
    # Copies, because arrays over bytes cannot be written to, and tensors made of those warn.
    values = np.frombuffer(feature_bytes, dtype="<f4").astype(np.float32).reshape([int(n) for n in shape.split(",")])
    start, end = np.frombuffer(seconds_bytes, dtype="<f8").astype(np.float64).reshape(2, -1)
    return StoredFeatures(values=values, start_seconds=start, end_seconds=end)
