"""The verb `search`: a gallery opened with the model it was built with."""

from pathlib import Path
from typing import final

from fieldmark.build import Model, load_model
from fieldmark.errors import DamagedGalleryError, MissingGalleryError
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search.searcher import Searcher
from fieldmark.gallery.sources import MovedFiles
from fieldmark.gallery.store import SegmentIndex
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime


@final
class Gallery(Searcher):
    """A gallery on disk, and the model that its embeddings come from; `search` is what it is for.

    Example:
        >>> Gallery.open("birds.gallery").search("song.ogg", k=10)  # doctest: +SKIP
    """

    def __init__(self, folder: Path, *, index: SegmentIndex, model: Model) -> None:
        super().__init__(folder, index=index, encoder=ModelQueryEncoder(model))
        self.model = model

    @classmethod
    def open(cls, folder: Path | str, *, runtime: Runtime | None = None) -> "Gallery":
        """Open the gallery in a folder.

        Raises:
            MissingGalleryError: The folder holds no gallery.
            DamagedGalleryError: A part of it is missing or broken.
            GalleryError: Its checkpoint is not the one it was built with.
        """
        layout, runtime = GalleryLayout(Path(folder)), runtime or Runtime.from_environment()
        if not layout.segments.is_dir():
            raise MissingGalleryError(path=layout.folder)
        if not layout.checkpoint.is_file():
            raise DamagedGalleryError(path=layout.folder, reason=f"'{layout.checkpoint.name}' is missing")
        model = load_model(layout.checkpoint, device=runtime.choose_device())
        try:
            adapt = MovedFiles(layout.folder).adapt
            index = LanceIndex.open(layout.segments, fingerprint=model.fingerprint, adapt=adapt)
        except MissingGalleryError as error:
            raise MissingGalleryError(path=layout.folder) from error
        return cls(layout.folder, index=index, model=model)
