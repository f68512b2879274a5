"""A model as a gallery needs it: it made the embeddings and encodes the queries."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from fieldmark.build import Model
from fieldmark.embedding import EncodedItem, embed_segments, encode_item, encode_items, encode_texts, find_device
from fieldmark.encoders.encoder import knows_letters, knows_words
from fieldmark.errors import (
    EncoderChangedError,
    EncoderFilesError,
    FieldmarkError,
    MediaError,
    MissingExtraError,
    UnknownLettersError,
)
from fieldmark.media.loaders import read_text
from fieldmark.models.completed_space import CompletedSpace
from fieldmark.models.ready import ReadySpace
from fieldmark.models.shared_space import SharedSpace
from fieldmark.names import Resolution, Spellings
from fieldmark.runtime import Runtime
from fieldmark.types import Item, MediaLimits, Medium, Reporter, SilentReporter

_TEXTS_TOGETHER = 32
"""Most texts that go through the encoder together."""


@dataclass(slots=True, eq=False)
class _AskedText:
    """A text that a thread waits for; the result is None until it was encoded."""

    item: Item
    result: Float32[np.ndarray, "segment dim"] | Exception | None = None


@final
class Turns:
    """Lets one thread work at a time, in the order in which they came: a context.

    A plain lock goes to whoever is quickest, which is the thread that has just let go of it.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False


_LOGGER = logging.getLogger(__name__)


@final
class ModelQueryEncoder:
    """A model as a gallery needs it: the `QueryEncoder` of `gallery/search/query.py`.

    Args:
        runtime: Whose cache keeps the features of texts; None keeps none.
    """

    def __init__(self, model: Model, *, runtime: Runtime | None = None) -> None:
        self._model = model
        self._runtime = runtime or Runtime()
        self._spellings = Spellings(model.class_names)
        self._turns = Turns()
        self._guard = threading.Lock()
        self._asked: list[_AskedText] = []

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that the model was trained on."""
        return self._model.class_names

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """The species that these classes stand for, as training found them."""
        return self._model.resolutions

    @property
    def fingerprint(self) -> str:
        """The hash of everything that shapes an embedding."""
        return self._model.fingerprint

    @property
    def limits(self) -> MediaLimits:
        """Limits of reading a file."""
        return self._model.limits

    def embed(self, item: Item, *, reporter: Reporter | None = None) -> Float32[np.ndarray, "segment dim"]:
        """Return the embedding of each segment of an item; texts that several threads ask for go together.

        Encoders are used by one thread at a time, in turn: no long recording holds up what comes after it.

        Args:
            reporter: Told how many seconds of the item are encoded; what it raises ends the work.

        Raises:
            MediaError: The item cannot be used.
            MediumNotSupportedError: The model takes no item of this medium.
            FieldmarkError: The medium's encoder cannot be loaded now.
        """
        try:
            if item.medium is Medium.TEXT:
                text = read_text(item)
                if not knows_letters(self._model.encoder(Medium.TEXT), text):
                    raise UnknownLettersError(text=text)
                return self._embed_text(item)
            inputs = encode_item(item, model=self._model, turns=self._turns, reporter=reporter)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError) as error:
            _LOGGER.warning("%s", error)  # it names folders, which are no matter of a client
            raise FieldmarkError(
                f"No {item.medium} can be a query now: its encoder cannot be loaded, as the log says. Restore the "
                "encoder, or search by a name, by an item of the gallery or by another medium.",
                kind="medium_not_supported",
            ) from error
        with self._turns:
            return embed_segments(inputs, medium=item.medium, network=self._model.network)[0]

    def _embed_text(self, item: Item) -> Float32[np.ndarray, "segment dim"]:
        asked = _AskedText(item)
        with self._guard:
            self._asked.append(asked)
        with self._turns:
            if asked.result is None:
                # Turns come in the order of asking: whoever asked before has its answer, and this text is the first.
                with self._guard:
                    together, self._asked = self._asked[:_TEXTS_TOGETHER], self._asked[_TEXTS_TOGETHER:]
                self._answer_texts(together)
        if isinstance(asked.result, Exception):
            raise asked.result
        assert asked.result is not None  # noqa: S101 - each that was taken is answered
        return asked.result

    def _answer_texts(self, together: Sequence["_AskedText"]) -> None:
        """Encode texts together; an error that is no fault of one of them is that of all."""
        try:
            encoded = encode_texts([each.item for each in together], model=self._model)
            good = [inputs for inputs in encoded if not isinstance(inputs, MediaError)]
            rows = embed_segments(torch.cat(good), medium=Medium.TEXT, network=self._model.network)[0] if good else None
        except Exception as error:  # noqa: BLE001 - each thread raises it
            for each in together:
                each.result = error
            return
        row = 0
        for each, inputs in zip(together, encoded, strict=True):
            if isinstance(inputs, MediaError):
                each.result = inputs
            elif rows is not None:
                each.result = rows[row : row + len(inputs)]
                row += len(inputs)

    def measure_sureness(
        self, embedding: Float[np.ndarray, "segment dim"], *, medium: Medium
    ) -> Float[np.ndarray, " segment"]:
        """Return how plainly each segment shows one class or species; 1 for all where the network cannot tell."""
        network = self._model.network
        if not isinstance(network, SharedSpace | ReadySpace | CompletedSpace):
            return np.ones(len(embedding))
        return network.measure_sureness(self._to_rows(embedding), medium=medium).numpy(force=True)

    def embed_class_name(
        self, class_name: str, *, other_names: Sequence[str] = ()
    ) -> Float32[np.ndarray, " dim"] | None:
        """Return an embedding that stands for a class by its name alone; None where the network has none.

        "Blue Jay" is the class "Blue_Jay" that the model was trained on.
        """
        network, class_names = self._model.network, self._model.class_names
        if isinstance(network, SharedSpace | CompletedSpace):
            trained = self._spellings.find_one(class_name)
            label = None if trained is None else class_names.index(trained)
            embedding = network.embed_name(class_name, label=label, other_names=other_names)
        elif isinstance(network, ReadySpace):
            embedding = network.embed_name(class_name, other_names=other_names)
        else:
            return None
        return None if embedding is None else embedding.numpy(force=True)

    @property
    def name_weight(self) -> float | None:
        """Share of names in the score of two items without labels; None for a model of the learned space alone."""
        return None if self._ready is None else self._ready.name_weight

    @property
    def learned_media(self) -> frozenset[Medium]:
        """Media that were trained on."""
        network = self._model.network
        if isinstance(network, CompletedSpace):
            return network.learned_media
        return frozenset() if isinstance(network, ReadySpace) else frozenset(self._model.media)

    def get_overlap_weight(self, query: Medium | None, hit: Medium) -> float | None:
        """Return the weight of the overlap of names in scores of two media; None where labels decide, or nothing.

        Args:
            query: None for a name.
        """
        network = self._model.network
        # A name asks as a text does, also where the gallery has no text.
        if self._ready is None or not self._ready.can_compare(None if query is Medium.TEXT else query, hit):
            return None
        if not isinstance(network, CompletedSpace):
            return self._ready.name_weight
        if query is not None and {query, hit} <= network.covered_media:
            return None
        return self._ready.name_weight * network.get_ready_length(query) * network.get_ready_length(hit)

    def can_compare(self, query: Medium | None, hit: Medium) -> bool:
        """Tell whether items of two media have anything in common where nothing was learned."""
        return self._ready is None or self._ready.can_compare(query, hit)

    def has_names(self, embedding: Float[np.ndarray, " dim"]) -> bool:
        """Tell whether the encoders call an item anything; True for a model that has the learned space alone."""
        return self._ready is None or self._ready.has_names(self._take_ready_part(embedding[None])[0])

    def is_covered(self, embedding: Float[np.ndarray, " dim"]) -> bool:
        """Tell whether an item is probably of a class with labels; False for a model without training."""
        network = self._model.network
        if isinstance(network, CompletedSpace):
            return network.is_covered(self._to_rows(embedding[None])[0])
        return self._ready is None

    def can_compare_looks(self, first: Medium, second: Medium) -> bool:
        """Tell whether one encoder reads items of both media."""
        return self._ready is not None and self._ready.can_compare_looks(first, second)

    def score_species(
        self, embedding: Float[np.ndarray, "row dim"], *, medium: Medium
    ) -> Float32[np.ndarray, "row species"] | None:
        """Return the probability of each species that a medium's encoder names; None where there is none."""
        if self._ready is None or medium not in self._ready.named_media:
            return None
        return self._ready.score_names(self._take_ready_part(embedding), medium=medium).numpy(force=True)

    @property
    def _ready(self) -> ReadySpace | None:
        """The space without training, where there is one."""
        network = self._model.network
        if isinstance(network, CompletedSpace):
            return network.ready
        return network if isinstance(network, ReadySpace) else None

    def _take_ready_part(self, embedding: Float[np.ndarray, "row dim"]) -> Float32[Tensor, "row ready"]:
        rows, network = self._to_rows(embedding), self._model.network
        return network.take_ready_part(rows) if isinstance(network, CompletedSpace) else rows

    def _to_rows(self, embedding: Float[np.ndarray, "row dim"]) -> Float32[Tensor, "row dim"]:
        return torch.tensor(embedding, dtype=torch.float32, device=find_device(self._model.network))

    def embed_texts(self, items: Sequence[Item]) -> dict[int, Float32[np.ndarray, " dim"]]:
        """Return the embeddings of texts by their index; texts that cannot be encoded are missing."""
        if not items:
            return {}
        try:
            self._model.encoder(Medium.TEXT)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError) as error:
            _LOGGER.warning("Texts are not read: %s", error)
            return {}
        silent = replace(self._runtime, reporter=SilentReporter())  # to a reader these are no items
        encoded = encode_items(items, model=self._model, runtime=silent, task="embed")
        return {
            index: embed_segments(each.inputs, medium=Medium.TEXT, network=self._model.network)[0][0]
            for index, each in enumerate(encoded)
            if isinstance(each, EncodedItem)
        }

    def knows_words(self, words: Sequence[str]) -> list[bool] | None:
        """Tell which of some words the encoder of texts has as its own; None where it cannot tell, or is missing."""
        if Medium.TEXT not in self._model.media:
            return None
        try:
            return knows_words(self._model.encoder(Medium.TEXT), words)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError):
            return None

    def named_species(self, medium: Medium) -> tuple[tuple[str, ...], ...]:
        """Return the species that a medium's encoder tells apart, each with all its names."""
        return self._model.named_species(medium)
