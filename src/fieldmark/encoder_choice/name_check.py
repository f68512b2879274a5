"""Names that a list of a user gives more than once."""

from collections import defaultdict
from pathlib import Path

from fieldmark.encoders.labels import read_labels
from fieldmark.errors import list_first
from fieldmark.names import name_key


def describe_repeats(path: Path) -> str | None:
    """Return a line on the names that stand more than once in a list of names; None where there are none.

    Raises:
        EncoderFilesError: The list cannot be read.
    """
    entries: defaultdict[str, list[int]] = defaultdict(list)
    spelling: dict[str, str] = {}
    for number, names in enumerate(read_labels(path), start=1):
        for key, name in {name_key(name): name for name in names}.items():
            entries[key].append(number)
            spelling.setdefault(key, name)
    repeated = [
        f"'{spelling[key]}' (entries {list_first(numbers, limit=3)})"
        for key, numbers in entries.items()
        if len(numbers) > 1
    ]
    if not repeated:
        return None
    count = "1 name stands" if len(repeated) == 1 else f"{len(repeated):,} names stand"
    return f"{count} in '{path}' more than once: {list_first(repeated)}. The first entry counts; delete the others"
