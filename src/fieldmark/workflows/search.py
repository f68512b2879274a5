"""The verb `search`: a gallery opened with the model it was built with."""

from pathlib import Path
from typing import final

from fieldmark.build import Model, load_model
from fieldmark.errors import DamagedGalleryError, MissingGalleryError
from fieldmark.gallery.files import GalleryPlace, name_place, open_files
from fieldmark.gallery.layout import GalleryFile, GalleryLayout
from fieldmark.gallery.opening import find_store, open_place, open_store
from fieldmark.gallery.search.searcher import Searcher
from fieldmark.gallery.store import SegmentIndex
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime


@final
class Gallery(Searcher):
    """A gallery in a folder or an engine, and the model that its embeddings come from; `search` is what it is for.

    Example:
        >>> Gallery.open("birds.gallery").search("song.ogg", k=10)  # doctest: +SKIP
    """

    def __init__(self, folder: GalleryPlace, *, index: SegmentIndex, model: Model) -> None:
        super().__init__(folder, index=index, encoder=ModelQueryEncoder(model))
        self.model = model

    @classmethod
    def open(cls, folder: Path | str, *, runtime: Runtime | None = None) -> "Gallery":
        """Open the gallery in a folder, or at an address such as `milvus://host:port/name`.

        Raises:
            ConfigError: The address is none.
            MissingGalleryError: There is no gallery.
            DamagedGalleryError: A part of it is missing or broken.
            GalleryError: Its checkpoint is not the one it was built with.
        """
        runtime = runtime or Runtime.from_environment()
        place = open_place(folder, access=runtime.engine)
        if isinstance(place, Path) and not GalleryLayout(place).segments.is_dir():
            raise MissingGalleryError(path=place)
        checkpoint = open_files(place).find(GalleryFile.CHECKPOINT)
        if checkpoint is None:
            fingerprint = open_store(place).fingerprint  # tells what is missing where there is none
            reason = f"'{GalleryFile.CHECKPOINT}' of the model {fingerprint[:12]} is missing"
            raise DamagedGalleryError(path=name_place(place), reason=reason)
        model = load_model(checkpoint, device=runtime.choose_device())
        store = find_store(place, fingerprint=model.fingerprint)
        if store is None:  # it was only begun
            raise MissingGalleryError(path=name_place(place))
        return cls(place, index=store, model=model)
