"""The condition of a filter on each column, also as SQL."""

from collections.abc import Collection, Iterable

from fieldmark.gallery.store import Filter

FIRST_SEGMENT = "segment = 0"
"""Each item has one such row."""


def list_allowed_values(where: Filter) -> dict[str, frozenset[str] | None]:
    """Return the values that a filter allows in each column; None for all."""
    return {
        "medium": where.media,
        "class_name": where.class_names,
        "set_name": where.set_names,
        "license": where.licenses,
        "group": where.groups,
        "item_id": where.item_ids,
    }


def write_condition(where: Filter | None, *others: str) -> str | None:
    """Return the SQL condition that a row meets a filter and some others; None where there is nothing to meet."""
    conditions = list(others)
    for column, allowed in list_allowed_values(where or Filter()).items():
        if allowed is not None:
            conditions.append(is_one_of(column, allowed))
    if where is not None and where.exclude_item_ids:
        conditions.append(f"NOT ({is_one_of('item_id', where.exclude_item_ids)})")
    return " AND ".join(conditions) or None


def is_one_of(column: str, values: Iterable[str] | Collection[str]) -> str:
    """Return the SQL condition that a column has one of some values; a value is never read as SQL."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in dict.fromkeys(values))
    return f"`{column}` IN ({quoted})" if quoted else "false"
