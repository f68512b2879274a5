"""The verb `search`: a gallery opened with the model it was built with, asked with any medium."""

import re
import textwrap
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np

from fieldmark.build import Model, load_model
from fieldmark.errors import DamagedGalleryError, MissingFileError, MissingGalleryError
from fieldmark.gallery.interface import Filter, SegmentIndex
from fieldmark.gallery.lance import LanceIndex
from fieldmark.media.loaders import detect_medium
from fieldmark.types import Hit, Item, Medium
from fieldmark.workflows.encode import Host, encode_item, project

CHECKPOINT_NAME = "checkpoint.safetensors"
SEGMENTS_NAME = "segments"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of one query, best first.

    Args:
        medium: Of the query.
    """

    medium: Medium
    hits: tuple[Hit, ...]

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {"query": {"medium": self.medium.value}, "hits": [_hit_to_json(hit) for hit in self.hits]}

    def to_text(self) -> str:
        """One line for each hit: rank, score, medium, class, moment, and where it is or what it says."""
        if not self.hits:
            return "nothing found"
        width = max(len(hit.class_name or "-") for hit in self.hits)
        return "\n".join(
            f"{hit.rank:>3}  {hit.score:.3f}  {hit.medium:<5}  {hit.class_name or '-':<{width}}  {_place(hit)}"
            for hit in self.hits
        )


@final
class Gallery:
    """A gallery on disk, and the model that its embeddings come from.

    Example:
        >>> Gallery.open("birds.gallery").search("song.ogg", k=10)  # doctest: +SKIP
    """

    def __init__(self, folder: Path, *, index: SegmentIndex, model: Model) -> None:
        self.folder = folder
        self.index = index
        self.model = model

    @classmethod
    def open(cls, folder: Path | str, *, host: Host | None = None) -> "Gallery":
        """The gallery in a folder.

        Raises:
            MissingGalleryError: The folder holds no gallery.
            DamagedGalleryError: A part of it is missing or broken.
            EncoderMismatchError: Its checkpoint is not the one it was built with.
        """
        folder, host = Path(folder), host or Host.from_environment()
        if not (folder / SEGMENTS_NAME).is_dir():
            raise MissingGalleryError(path=folder)
        if not (folder / CHECKPOINT_NAME).is_file():
            raise DamagedGalleryError(path=folder, reason=f"'{CHECKPOINT_NAME}' is missing")
        model = load_model(folder / CHECKPOINT_NAME, device=host.torch_device())
        try:
            index = LanceIndex.open(folder / SEGMENTS_NAME, fingerprint=model.fingerprint)
        except MissingGalleryError as error:
            raise MissingGalleryError(path=folder) from error
        return cls(folder, index=index, model=model)

    def search(self, query: Path | str | Item, *, k: int = 10, media: Collection[Medium] = ()) -> SearchResult:
        """The `k` items nearest to a file of any medium or to a text, each with its best segment.

        Args:
            query: A path, a text (one that names an existing file is that file), or an item.
            media: Only hits of these; none for all.

        Raises:
            MediaError: The query cannot be read.
            MediumNotSupportedError: The gallery's model takes no query of this medium.
        """
        item = _item_of(query)
        embedding, _ = project(encode_item(item, model=self.model), medium=item.medium, network=self.model.network)
        mean = embedding.mean(axis=0)
        where = Filter(media=frozenset(media)) if media else None
        hits = self.index.search(mean / np.linalg.norm(mean), k=k, where=where)
        return SearchResult(item.medium, hits)


def _item_of(query: Path | str | Item) -> Item:
    """The query as an item: a file where there is one, a text otherwise."""
    if isinstance(query, Item):
        return query
    path = Path(query)
    if _is_file(path):
        return Item(item_id=str(query), medium=detect_medium(path), path=path)
    if isinstance(query, Path) or _looks_like_path(query):
        raise MissingFileError(path=query)
    return Item(item_id="query", medium=Medium.TEXT, text=query)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a long text, or one with a zero byte, is no path


def _looks_like_path(query: str) -> bool:
    """Whether a text without spaces ends like a file name or holds a folder, so that a typing error is not searched."""
    return not any(map(str.isspace, query)) and ("/" in query or bool(re.fullmatch(r".*\.[A-Za-z0-9]{2,5}", query)))


def _hit_to_json(hit: Hit) -> dict[str, object]:
    return {**asdict(hit), "medium": hit.medium.value}


def _place(hit: Hit) -> str:
    """Where the hit is: the moment and the file, or the beginning of the text."""
    if hit.text is not None:
        return textwrap.shorten(hit.text, 80, placeholder=" ...")
    moment = "" if hit.start_seconds is None else f"  at {hit.start_seconds:.1f}-{hit.end_seconds:.1f} s"
    return f"{hit.path or hit.item_id}{moment}"
