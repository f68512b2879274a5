"""An embeddings folder that is cut into shards: each is embedded by itself, on any machine, in any order."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

from pydantic import JsonValue

from fieldmark.data.file_store import FileStore, stamp_file
from fieldmark.data.shards import INFO_NAME, EmbeddingsInfo, decode_info, encode_info
from fieldmark.errors import ConfigError, EmbeddingsError, list_first
from fieldmark.leakage import Leak
from fieldmark.types import Item, ItemWarning

PLAN_NAME = "shards.json"
"""Says into how many shards a folder is cut; written first."""

_PLAN_VERSION = 1
_SPELLED = re.compile(r"(\d{1,7})/(\d{1,7})")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One of the shards that the items of a manifest are cut into.

    An item belongs to a shard by its id alone. So the order of the rows does not matter, and a row that is added or
    dropped changes one shard.

    Args:
        number: From 1.
        count: Of all shards.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "3/16", the third of sixteen shards.

        Raises:
            ConfigError: It is none.

        Example:
            >>> Shard.parse("3/16")
            Shard(number=3, count=16)
        """
        found = _SPELLED.fullmatch(text.strip())
        shard = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            raise ConfigError(
                f"'{text}' is no shard: the number of the shard, from 1, and the count of all were expected. "
                "Give them as in 3/16.",
                kind="shard",
            )
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder(self) -> str:
        """Its folder, below that of all embeddings."""
        return f"shards/{self.number:05d}-of-{self.count:05d}"

    def choose(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """Return the items that belong to the shard, in their order."""
        return tuple(item for item in items if _number_of(item.item_id, self.count) == self.number)


def cut_into_shards(items: Iterable[Item], *, count: int) -> dict[Shard, tuple[Item, ...]]:
    """Return the items of every shard, also of those without any."""
    found: dict[int, list[Item]] = {number: [] for number in range(1, count + 1)}
    for item in items:
        found[_number_of(item.item_id, count)].append(item)
    return {Shard(number, count): tuple(some) for number, some in found.items()}


def _number_of(item_id: str, count: int) -> int:
    digest = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


# ---------------------------------------------------------------- a shard that is done


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """The state of the items that a shard was embedded from.

    Args:
        items: A hash of the items as the manifest has them.
        files: A hash of the sizes and times of their files.
        warnings: What is in doubt of the items.
    """

    number: int
    count: int
    items: str
    files: str
    warnings: tuple[ItemWarning, ...] = ()

    @classmethod
    def from_items(cls, shard: Shard, items: Sequence[Item]) -> "ShardRecord":
        """Describe items as they are now; their files are looked at, not read."""
        return cls(shard.number, shard.count, hash_items(items), _hash_lines(map(stamp_file, items)))

    @classmethod
    def from_info(cls, info: EmbeddingsInfo) -> "ShardRecord | None":
        """Read what `embeddings.json` of a shard tells; None where it is no shard's."""
        found = info.facts.get("shard")
        if not isinstance(found, dict):
            return None
        number, count, items, files = (found.get(name) for name in ("number", "count", "items", "files"))
        if not (isinstance(number, int) and isinstance(count, int)):
            return None
        told = found.get("warnings")
        rows = [each for each in told if isinstance(each, list) and len(each) == 3] if isinstance(told, list) else []
        warnings = tuple(ItemWarning(*map(str, each)) for each in rows)
        return cls(number, count, str(items), str(files), warnings)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as `embeddings.json` tells it."""
        warnings: list[JsonValue] = [list(astuple(each)) for each in self.warnings]
        return {
            "number": self.number,
            "count": self.count,
            "items": self.items,
            "files": self.files,
            "warnings": warnings,
        }

    def is_of(self, other: "ShardRecord") -> bool:
        """Tell whether both are of the same items and files."""
        return (self.items, self.files) == (other.items, other.files)


def hash_items(items: Iterable[Item]) -> str:
    """Return a hash of items as a manifest has them, which does not depend on their order."""
    return _hash_lines(sorted(repr(item) for item in items))


def _hash_lines(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


# ---------------------------------------------------------------- the folder


@final
class ShardFolder:
    """An embeddings folder whose rows lie in the folders of its shards; a file system or an object store holds it.

    A shard is a complete embeddings folder of its own, described by its own `embeddings.json`, which is written last.
    `merge` writes the `embeddings.json` of the whole, which lists the files of all shards where they are.

    Args:
        address: A folder, or an address of an object store.

    Raises:
        EmbeddingsError: There is no driver for the address.
    """

    def __init__(self, address: Path | str) -> None:
        self._store = FileStore(address)
        self.address = self._store.address

    def read_count(self) -> int | None:
        """Return into how many shards the folder is cut; None where it is not.

        Raises:
            EmbeddingsError: The plan cannot be read.
        """
        content = self._store.read(PLAN_NAME)
        return None if content is None else self._parse_plan(content)

    def begin(self, count: int) -> None:
        """Cut the folder into so many shards, unless it is cut already.

        Raises:
            EmbeddingsError: It is cut into another number of shards, holds embeddings that are not cut, or cannot be
                written.
        """
        if self._store.read(PLAN_NAME) is None and self._store.read(INFO_NAME) is not None:
            raise EmbeddingsError(
                path=self.address,
                reason="it holds embeddings without shards; give another --out, or leave out --shard and --ray",
            )
        plan = json.dumps({"format_version": _PLAN_VERSION, "count": count}).encode() + b"\n"
        found = self._parse_plan(self._store.create(PLAN_NAME, plan))
        if found != count:
            raise EmbeddingsError(
                path=self.address,
                reason=f"it is cut into {found} shards, not {count}; give shards of {found}, or choose another --out",
            )

    def read_info(self, shard: Shard) -> EmbeddingsInfo | None:
        """Return the description of a shard; None where it is not complete.

        Raises:
            EmbeddingsError: The description cannot be read or is damaged.
        """
        content = self._store.read(f"{shard.folder}/{INFO_NAME}")
        return None if content is None else decode_info(content, folder=f"{self.address}/{shard.folder}")

    @contextmanager
    def open_shard(self, shard: Shard) -> Iterator[Path]:
        """Give a folder on this machine to write a shard into: its own, or a copy, brought to the store at the end.

        Raises:
            EmbeddingsError: The store cannot be read or written.
        """
        if self._store.local is not None:
            yield self._store.local / shard.folder
            return
        with TemporaryDirectory(prefix="fieldmark-") as name:
            copy = Path(name)
            there = [each for each in self._store.list(shard.folder) if each != INFO_NAME]
            for each in there:
                (copy / each).write_bytes(self._store.read(f"{shard.folder}/{each}") or b"")
            yield copy
            here = {path.name for path in copy.glob("*.parquet")}
            for each in sorted(here - set(there)):
                self._store.write(f"{shard.folder}/{each}", (copy / each).read_bytes())
            self._store.write(f"{shard.folder}/{INFO_NAME}", (copy / INFO_NAME).read_bytes())
            for each in set(there) - here:
                self._store.delete(f"{shard.folder}/{each}")

    def find_undone(self, expected: Mapping[Shard, Sequence[Item]], *, fingerprint: str) -> list[Shard]:
        """Return the shards that are not complete, or were embedded from other items or by another model.

        Raises:
            EmbeddingsError: A description cannot be read or is damaged.
        """
        return [
            shard
            for shard, items in expected.items()
            if not _is_done(self.read_info(shard), items=items, fingerprint=fingerprint)
        ]

    def merge(
        self,
        shards: Iterable[Shard],
        *,
        straddling_groups: Iterable[str],
        leaks: Sequence[Leak],
        facts: Mapping[str, JsonValue],
    ) -> "Merged":
        """Write the `embeddings.json` of the whole folder; any number of processes may do so at once.

        Args:
            shards: All of them, complete.
            straddling_groups: Groups of the embedded items that also stand in train.
            leaks: Items to be tested that belong together with items of train.
            facts: Plain values to keep beside.

        Raises:
            EmbeddingsError: A shard is not complete, no item was embedded, or the folder cannot be written.
        """
        infos = {shard: self.read_info(shard) for shard in shards}
        missing = [str(shard) for shard, info in infos.items() if info is None]
        found = {shard: info for shard, info in infos.items() if info is not None}
        if missing or not any(info.item_count for info in found.values()):
            met = f"the shards {list_first(missing)} are not complete" if missing else "no item could be embedded"
            raise EmbeddingsError(path=self.address, reason=f"{met}; run `fieldmark embed` again, without --shard")
        counts: dict[str, Counter[str]] = {}
        for info in found.values():
            for medium, by_split in info.counts.items():
                counts.setdefault(medium, Counter()).update(by_split)
        records = [ShardRecord.from_info(info) for info in found.values()]
        merged = replace(
            next(iter(found.values())),
            counts={medium: dict(by_split) for medium, by_split in counts.items()},
            row_counts={
                f"{shard.folder}/{name}": count
                for shard, info in found.items()
                for name, count in info.row_counts.items()
            },
            failures=tuple(failure for info in found.values() for failure in info.failures),
            straddling_groups=tuple(sorted(straddling_groups)),
            leaking_ids=tuple(sorted(leak.item_id for leak in leaks)),
            leaks=tuple(leaks),
            facts=dict(facts),
        )
        self._store.write(INFO_NAME, encode_info(merged))
        return Merged(merged, tuple(each for record in records if record for each in record.warnings))

    def _parse_plan(self, content: bytes) -> int:
        try:
            plan = json.loads(content)
        except ValueError:
            plan = None
        count = plan.get("count") if isinstance(plan, dict) and plan.get("format_version") == _PLAN_VERSION else None
        if not isinstance(count, int) or count < 1:
            raise EmbeddingsError(
                path=self.address,
                reason=f"'{PLAN_NAME}' is damaged or of another version; choose another --out, or delete the folder",
            )
        return count


@dataclass(frozen=True, slots=True)
class Merged:
    """The description of a whole folder, and what is in doubt of its items."""

    info: EmbeddingsInfo
    warnings: tuple[ItemWarning, ...]


def _is_done(info: EmbeddingsInfo | None, *, items: Sequence[Item], fingerprint: str) -> bool:
    record = None if info is None else ShardRecord.from_info(info)
    return (
        info is not None
        and record is not None
        and info.fingerprint == fingerprint
        and record.items == hash_items(items)
    )
