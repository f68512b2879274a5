"""The collection of segments: whole items are read and written, in as few requests as can be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import final

import pyarrow as pa

from fieldmark.gallery.milvus.connection import STRONG, Connection, Row, split
from fieldmark.gallery.milvus.filters import ANY, FIRST, is_item, is_whole, write_expression
from fieldmark.gallery.milvus.rows import FACT_COLUMNS, TOMBSTONE, decode_rows, measure_bytes
from fieldmark.gallery.milvus.search import match_facts
from fieldmark.gallery.store import Filter

REQUEST_BYTES = 24 * 2**20
"""Of one write; Milvus takes 64 MiB."""
ROWS_AT_ONCE, IDS_AT_ONCE, _VECTORS_AT_ONCE = 10_000, 4_000, 2_000


@final
class SegmentRows:
    """The rows of one collection of segments."""

    def __init__(self, connection: Connection, collection: str) -> None:
        self._connection = connection
        self._collection = collection

    # ------------------------------------------------------------ items

    def read_first(self, item_ids: Iterable[str]) -> list[Row]:
        """Return the first row of each of some items that is there, as it was last acknowledged."""
        columns = [*FACT_COLUMNS, "item"]
        return [
            row
            for some in split(item_ids, IDS_AT_ONCE)
            for row in self._connection.read(self._collection, f"{FIRST} and {is_item(some)}", columns, level=STRONG)
        ]

    def read_listed(
        self, where: Filter, item_ids: Iterable[str], columns: Sequence[str], *, level: str | int
    ) -> list[Row]:
        """Return the first rows of those of some items that meet a filter, in the order of items."""
        found: list[Row] = []
        for some in split(item_ids, IDS_AT_ONCE):
            condition = write_expression(replace(where, item_ids=frozenset(some)), FIRST)
            found += self._connection.read(self._collection, condition, columns, level=level)
        return sorted(found, key=lambda row: row["pk"])

    def read_first_pages(
        self, where: Filter | None, columns: Sequence[str], *, after: str = "", limit: int = ROWS_AT_ONCE
    ) -> Iterator[list[Row]]:
        """Yield the first rows of the items that meet a filter, in the order of items, page by page."""
        condition = write_expression(where, FIRST)
        for page in self._connection.read_pages(self._collection, condition, columns, limit=limit, after=after):
            if where is None or is_whole(where):
                yield page
            else:
                mask = match_facts(decode_rows(page), where)
                yield [row for row, is_met in zip(page, mask, strict=True) if is_met]

    # ------------------------------------------------------------ segments

    def read_tables(self, condition: str) -> Iterator[pa.Table]:
        """Yield all rows that meet a condition, with their vectors, in the order of items and segments."""
        columns = [*FACT_COLUMNS, "vector"]
        condition = f"{ANY} and {condition}"
        pages = self._connection.read_pages(self._collection, condition, columns, limit=_VECTORS_AT_ONCE)
        return (decode_rows(page) for page in pages)

    def read_tables_of(self, item_ids: Iterable[str]) -> list[pa.Table]:
        """Return all rows of some items, with their vectors."""
        return [table for some in split(item_ids, IDS_AT_ONCE) for table in self.read_tables(is_item(some))]

    def read_whole_items(self, condition: str) -> Iterator[pa.Table]:
        """Yield rows with their vectors; no item is cut in two."""
        rest: pa.Table | None = None
        for table in self.read_tables(condition):
            rows = table if rest is None else pa.concat_tables([rest, table])
            ids = rows["item_id"].to_pylist()
            last = ids.index(ids[-1])
            if last:
                yield rows.slice(0, last)
            rest = rows.slice(last)
        if rest is not None:
            yield rest

    # ------------------------------------------------------------ writes

    def write(self, items: Iterable[Sequence[Row]], *, is_new: bool = False) -> None:
        """Write whole items, as few requests as can be; mostly one."""
        request: list[Row] = []
        size = 0
        for rows in items:
            added = sum(map(measure_bytes, rows))
            if request and size + added > REQUEST_BYTES:
                self._connection.write(self._collection, request, is_new=is_new)
                request, size = [], 0
            request += rows
            size += added
        if request:
            self._connection.write(self._collection, request, is_new=is_new)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete rows by their keys."""
        for some in split(keys, IDS_AT_ONCE):
            self._connection.delete(self._collection, some)

    def delete_replaced(self) -> None:
        """Delete what stands for segments that their items have no more."""
        gone = self._connection.read(self._collection, f"segment == {TOMBSTONE}", ["pk"])
        self.delete(row["pk"] for row in gone)


def group_items(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each item together."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["item"], []).append(row)
    return list(found.values())
