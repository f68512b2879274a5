"""The verb `checkpoint export --sentence-transformers`: a model that the library sentence-transformers loads."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final
from weakref import WeakValueDictionary

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor

from fieldmark.build import Model, load_model
from fieldmark.embedding import embed_segments, encode_item
from fieldmark.errors import MissingExtraError, OutOfRangeError, UnreadableMediaError
from fieldmark.training.layout import PretrainedLayout
from fieldmark.types import Item, Medium
from fieldmark.workflows.pretrained import save_pretrained

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule, Router
    from sentence_transformers.util import load_dir_path
except ImportError as error:
    raise MissingExtraError(
        package="sentence-transformers", extra="sentence-transformers", need="A model for sentence-transformers"
    ) from error

WEIGHTS_NAME = "fieldmark"
"""The folder of the weights, beside those of the routes."""
_SOUND_SUFFIX, _PICTURE_SUFFIX = ".wav", ".png"

_OPEN: WeakValueDictionary[Path, Model] = WeakValueDictionary()
"""Models by their folder, so that the four routes of a router share one."""


@dataclass(frozen=True, slots=True)
class SentenceTransformersReport:
    """The folder that was written."""

    folder: Path
    media: tuple[Medium, ...]
    dim: int

    def to_text(self) -> str:
        """Return the folder and the call that loads it."""
        return (
            f"{self.folder}: a router over {', '.join(self.media)}, dimension {self.dim}; load it with "
            f'SentenceTransformer("{self.folder}", trust_remote_code=True)'
        )


def export_sentence_transformers(checkpoint: Path | str, folder: Path | str) -> SentenceTransformersReport:
    """Write a model as a folder that `SentenceTransformer` loads, a route for each medium.

    The folder holds no code: its routes name the class `MediumModule` of the installed fieldmark. Since version 6
    sentence-transformers loads classes of other packages only with `trust_remote_code=True`.

    Raises:
        CheckpointError: There is no usable checkpoint.
        TrainingError: The folder is a run's.
    """
    folder = Path(folder)
    weights = folder / WEIGHTS_NAME
    save_pretrained(checkpoint, weights)
    model = _open_model(weights)
    routes = {medium.value: [MediumModule(medium, folder=weights)] for medium in model.media}
    router = SentenceTransformer(modules=[Router(routes, allow_empty_key=False)], device="cpu")
    router.save(str(folder), create_model_card=False)
    shutil.copyfile(PretrainedLayout(weights).card, PretrainedLayout(folder).card)
    return SentenceTransformersReport(folder, model.media, model.network.dim)


@final
class MediumModule(InputModule):  # type: ignore[misc]  # the library's types are not read
    """One route: files, texts, pictures or sounds of a medium to embeddings of items.

    Args:
        medium: A medium of the model, or its name.
        folder: A run or a folder that `save_pretrained` wrote.
    """

    config_file_name = "medium.json"
    config_keys = ("medium",)

    def __init__(self, medium: Medium | str, *, folder: Path | str) -> None:
        super().__init__()
        self.medium = Medium(medium)
        self._folder = Path(folder)
        self._model = _open_model(self._folder)
        self.network = self._model.network

    @property
    def modalities(self) -> list[str]:
        """The medium, in the library's word for it."""
        return [self.medium.value]

    def get_embedding_dimension(self) -> int:
        """Return the dimension of an embedding."""
        return self._model.network.dim

    def preprocess(self, inputs: Sequence[object], prompt: str | None = None, **_: object) -> dict[str, Tensor]:
        """Return the encoded segments of all inputs, and how many segments each has.

        Args:
            inputs: Texts, or paths; also pictures of Pillow, and sounds as
                `{"audio": {"array": samples, "sampling_rate": hertz}}`.
            prompt: Put before a text.

        Raises:
            MediaError: An input cannot be used.
        """
        with tempfile.TemporaryDirectory() as scratch:
            items = [
                self._make_item(each, path=Path(scratch) / str(number), prompt=prompt or "")
                for number, each in enumerate(inputs)
            ]
            encoded = [encode_item(item, model=self._model) for item in items]
        return {"segments": torch.cat(encoded), "segment_counts": torch.tensor([len(each) for each in encoded])}

    def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
        """Add the embedding of each input: the mean of its segments' at length 1."""
        rows, _logits = embed_segments(features["segments"], medium=self.medium, network=self.network)
        parts = np.split(rows, np.cumsum(features["segment_counts"].cpu().numpy())[:-1])
        means = np.stack([part.mean(axis=0) for part in parts])
        embedding = torch.from_numpy(means / np.linalg.norm(means, axis=1, keepdims=True))
        return {**features, "sentence_embedding": embedding.to(features["segments"].device)}

    def save(self, output_path: str, *_: object, **__: object) -> None:
        """Write the medium, and the weights beside the routes unless another route did."""
        self.save_config(output_path)
        weights = Path(output_path).parent / WEIGHTS_NAME
        if not weights.exists():
            shutil.copytree(self._folder, weights)

    @classmethod
    def load(cls, model_name_or_path: str, *, subfolder: str = "", **options: Any) -> "MediumModule":  # noqa: ANN401
        """Load a route from a folder or from the hub; the routes of one folder share the weights."""
        known = {key: options.get(key) for key in ("token", "cache_folder", "revision")}
        known["local_files_only"] = options.get("local_files_only", False)
        config = cls.load_config(model_name_or_path, subfolder=subfolder, **known)
        folder = load_dir_path(model_name_or_path, subfolder=WEIGHTS_NAME, **known)
        return cls(config["medium"], folder=folder)

    def _make_item(self, given: object, *, path: Path, prompt: str) -> Item:
        if isinstance(given, Mapping) and set(given) == {self.medium.value}:
            given = given[self.medium.value]
        match self.medium, given:
            case Medium.TEXT, str(text):
                return Item(item_id=path.name, medium=Medium.TEXT, text=prompt + text)
            case _, str() | Path():
                return Item(item_id=path.name, medium=self.medium, path=Path(str(given)))
            case Medium.IMAGE, Image.Image():
                path = path.with_suffix(_PICTURE_SUFFIX)
                given.convert("RGB").save(path, compress_level=1)
            case Medium.AUDIO, {"array": array, "sampling_rate": int(rate)}:
                path = path.with_suffix(_SOUND_SUFFIX)
                soundfile.write(path, _to_sound(array), rate, subtype="FLOAT")
            case _:
                raise UnreadableMediaError(
                    path=f"{self.medium} no. {path.name}",
                    reason=f"a {type(given).__name__} is no path of a file and nothing else that this route reads",
                )
        return Item(item_id=path.name, medium=self.medium, path=path)


def _to_sound(array: object) -> np.ndarray:
    """Return a sound as float32, one row for each sample; in the library channels are the first axis."""
    values = np.asarray(array, dtype=np.float32)
    if values.ndim > 2:
        raise OutOfRangeError(name="axes of a sound", got=values.ndim, smallest=1, largest=2)
    return values.T


def _open_model(folder: Path) -> Model:
    """Return the model of a folder; one that is open already is not loaded again."""
    key = folder.resolve()
    model = _OPEN.get(key)
    if model is None:
        model = load_model(folder, device=torch.device("cpu"))
        _OPEN[key] = model
    return model
