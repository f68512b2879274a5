"""Fixtures of the data room."""

from pathlib import Path

import pytest

from fieldmark.types import Item, Medium, Split


class ItemMaker:
    """Makes items with ids of their own, so that a test writes only what it is about."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, medium: Medium = Medium.IMAGE, class_name: str | None = "Veery", **fields) -> Item:
        self._count += 1
        item_id = fields.pop("item_id", f"{medium}/{self._count:04d}")
        values = {"path": self._folder / item_id, "split": Split.TRAIN, **fields}
        return Item(item_id=item_id, medium=medium, class_name=class_name, **values)


@pytest.fixture
def make_item(tmp_path: Path) -> ItemMaker:
    return ItemMaker(tmp_path)
