"""The network of the preset `ready`: what pretrained encoders say of an item, and nothing that was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fieldmark.models.fitted import NameEmbedding, compute_species_direction
from fieldmark.models.network import Network, forward_each, get_part, read_lengths
from fieldmark.types import Medium, MediumBatch

_NAMED = 0.5
"""Length of the names of an item from which on it is called something; noise has less."""
_SURENESS_ROOT = 1 / 8
"""Chosen on fgbirds' train split: sounds as they are, and among up to 39 windows of noise."""


@dataclass(kw_only=True, frozen=True, slots=True)
class ReadySize:
    """Sizes and weights of a space without training.

    Args:
        name_dim: Of the part for the names that encoders give to items.
        look_dim: Of the part of each encoder for how items look or sound to it.
        name_weight: Share of the names in the score of two items that both encoders name surely, 0 to 1.
        score_floor: Probability below which a name counts for nothing.
        sure_mass: Sum of the probabilities of all names from which on an item counts as named at full length.
    """

    name_dim: int
    look_dim: int
    name_weight: float
    score_floor: float
    sure_mass: float


@final
class ReadySpace(Network):
    """Pretrained encoders side by side, in one space, without labels and without training.

        names_m   = name embedding of the encoder's scores, of length 1; shorter for an item that hardly resembles any
        look_e    = normalize(random directions of encoder e @ features)      zeros where other encoders have theirs
        joint     = normalize(random directions @ the features that towers of one model share)        zeros without them
        embedding = [sqrt(q) * names_m, sqrt(1 - q |names_m|^2) * normalize([look_e, joint]), rest]

    q is `name_weight`. Two items of different encoders have the names alone in common: their score is q times the
    overlap of their names, the Bhattacharyya coefficient of what the two encoders call them. If one encoder is certain,
    the square of the overlap is the probability that the other gives to the same species. Items of one encoder, and so
    photos and frames where one encoder reads both, are compared by how they look as well, which finds species that no
    encoder names. An item without names is compared by its look alone. A model with a tower for each of two media, as
    CLIP has for pictures and texts, lets a text without names find pictures.

    A photo that is a Blue Jay at .8 and a Veery at .2, and a sound that is a Blue Jay at .5 and another bird at .5,
    have the overlap sqrt(.8 * .5) = .63; with q = .6 their score is .38.

    `rest` has one dimension: an embedding of a name alone holds sqrt(1 - q) there, so that all scores have one scale.

    Args:
        input_dims: Dimension of the features of each medium.
        named_counts: How many of them are scores of names.
        encoder_index: The same number for media that one encoder reads.
        joint: The columns of the features that towers of one model share, by medium; empty for none.
    """

    def __init__(
        self,
        *,
        input_dims: Mapping[Medium, int],
        named_counts: Mapping[Medium, int],
        encoder_index: Mapping[Medium, int],
        joint: Mapping[Medium, range],
        size: ReadySize,
    ) -> None:
        super().__init__()
        self._size = size
        self._names = nn.ModuleDict(
            {medium: NameEmbedding(count, dim=size.name_dim) for medium, count in named_counts.items() if count}
        )
        self._looks = nn.ModuleDict(
            {
                medium: _Look(dim, look_dim=size.look_dim, index=encoder_index[medium])
                for medium, dim in input_dims.items()
            }
        )
        self._joints = nn.ModuleDict(
            {medium: _Joint(columns, look_dim=size.look_dim) for medium, columns in joint.items()}
        )

    @staticmethod
    def read_input_dims(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """Read the `input_dims` of the network that a state dict was taken from."""
        return read_lengths(state, "_looks.{}.directions")

    @staticmethod
    def read_named_counts(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """Read the `named_counts` of the network that a state dict was taken from."""
        return read_lengths(state, "_names.{}.column")

    @staticmethod
    def read_encoder_index(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """Read the `encoder_index` of the network that a state dict was taken from."""
        names = {medium: f"_looks.{medium}.index" for medium in Medium}
        return {medium: int(state[name]) for medium, name in names.items() if name in state}

    @staticmethod
    def read_joint(state: Mapping[str, Tensor]) -> dict[Medium, range]:
        """Read the `joint` of the network that a state dict was taken from."""
        names = {medium: f"_joints.{medium}.span" for medium in Medium}
        return {medium: range(*state[name].tolist()) for medium, name in names.items() if name in state}

    @property
    def input_dims(self) -> dict[Medium, int]:
        """Dimension of the features of each medium."""
        return {medium: len(self._look(medium).directions) for medium in Medium if medium in self._looks}

    @property
    def look_dim(self) -> int:
        """Dimension of the part of each encoder for how items look or sound to it."""
        return self._size.look_dim

    @property
    def dim(self) -> int:
        """Dimension of the embedding: names, the look of each encoder, what towers share, and the rest."""
        look_count = self._look_count + bool(self._joints)
        return self._size.name_dim + look_count * self._size.look_dim + 1

    @property
    def class_count(self) -> int:
        """None: no class was learned."""
        return 0

    @property
    def named_media(self) -> frozenset[Medium]:
        """Media whose encoders name species."""
        return frozenset(map(Medium, self._names))

    def can_compare(self, query: Medium | None, hit: Medium) -> bool:
        """Tell whether items of two media have anything in common here: names, or the encoder.

        Args:
            query: None for a name.
        """
        is_named = query is None or query in self._names
        return (is_named and hit in self._names) or (query is not None and self.can_compare_looks(query, hit))

    def has_names(self, embedding: Float[Tensor, " dim"]) -> bool:
        """Tell whether the encoders call an item anything, by its embedding."""
        length: float = embedding[: self._size.name_dim].norm().item()
        return bool(length >= _NAMED * self._size.name_weight**0.5)

    def can_compare_looks(self, first: Medium, second: Medium) -> bool:
        """Tell whether one encoder reads items of both media, or two towers of one model."""
        if first not in self._looks or second not in self._looks:
            return False
        if first in self._joints and second in self._joints:
            return True
        return int(self._look(first).index) == int(self._look(second).index)

    @property
    def name_weight(self) -> float:
        """Share of the names in the score of two items that both encoders name surely."""
        return self._size.name_weight

    def fit(self, medium: Medium, named_scores: Mapping[str, int]) -> None:
        """Take the names of a medium's encoder; two encoders agree on a species if they have the same names for it.

        Args:
            named_scores: As `Encoder.named_scores`, with every name that any encoder has for the species.

        Raises:
            MediumNotSupportedError: There are no features of this medium.
        """
        look = self._look(medium)
        if medium in self._names and named_scores:
            self._name_embedding(medium).fit(named_scores)
            look.leave_out(torch.tensor(sorted(set(named_scores.values()))))

    def embed_look(self, inputs: Float[Tensor, "batch feature"], medium: Medium) -> Float[Tensor, "batch look"]:
        """Return how rows of one medium look or sound to its encoder, at length 1.

        Raises:
            MediumNotSupportedError: There are no features of this medium.
        """
        look: Tensor = self._look(medium)(inputs)
        return look

    def forward(
        self, inputs: Float[Tensor, "batch feature"], medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings of length 1, and no logits, of the rows of one medium.

        Raises:
            MediumNotSupportedError: There are no features of this medium.
        """
        look = self._look(medium)
        names = self._embed_names(inputs, medium)
        weight = self._size.name_weight * names.square().sum(dim=1, keepdim=True)
        own = (1 - weight).clamp(min=0).sqrt() * look(inputs)
        parts = names.new_zeros(len(names), self._look_count + bool(self._joints), self._size.look_dim)
        if medium in self._joints:
            own = own / 2**0.5  # the other half is the joint part's
            parts[:, -1] = own.norm(dim=1, keepdim=True) * get_part(self._joints, medium, _Joint)(inputs)
        parts[:, int(look.index)] = own
        joined = [self._size.name_weight**0.5 * names, parts.flatten(start_dim=1), names.new_zeros(len(names), 1)]
        return normalize(torch.cat(joined, dim=1), dim=1), inputs.new_zeros(len(inputs), 0)

    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings and no logits of all rows, part after part."""
        return forward_each(self, parts)

    @torch.no_grad()
    def embed_name(self, name: str, *, other_names: Sequence[str] = ()) -> Float[Tensor, " dim"] | None:
        """Return the embedding of a species by a name and all its others; None where no encoder names species."""
        if not self._names:
            return None
        direction = compute_species_direction((name, *other_names), dim=self._size.name_dim)
        embedding = torch.zeros(self.dim)
        embedding[: self._size.name_dim] = self._size.name_weight**0.5 * direction
        embedding[-1] = (1 - self._size.name_weight) ** 0.5
        return embedding

    @torch.no_grad()
    def score_names(self, embedding: Float[Tensor, "row dim"], *, medium: Medium) -> Float[Tensor, "row species"]:
        """Return about the probability that a medium's encoder gives to each of its species; rows need no length 1.

        The species stand in the order of their columns. Chance makes values of about 1 / `name_dim` of nothing.
        """
        directions = self._name_embedding(medium).directions
        named = embedding[:, : self._size.name_dim] / self._size.name_weight**0.5
        score: Tensor = (named @ directions.T).clamp(min=0, max=1).square()
        return score

    @torch.no_grad()
    def measure_sureness(self, embedding: Float[Tensor, "row dim"], *, medium: Medium) -> Float[Tensor, " row"]:
        """Return how plainly each row of a medium shows one species that its encoder names: 0 to 1, or 1 for all.

        A root of the probability, as probabilities fall from row to row far more than the cosines of a trained space.
        """
        if medium not in self._names:
            return embedding.new_ones(len(embedding))
        sureness: Tensor = self.score_names(embedding, medium=medium).amax(dim=1) ** _SURENESS_ROOT
        return sureness

    @property
    def _look_count(self) -> int:
        return len({int(self._look(Medium(medium)).index) for medium in self._looks})

    def _embed_names(self, features: Float[Tensor, "batch feature"], medium: Medium) -> Float[Tensor, "batch name"]:
        """Return the names of some rows: of length 1, or shorter where all names together are hardly likely."""
        if medium not in self._names:
            return features.new_zeros(len(features), self._size.name_dim)
        embedding = self._name_embedding(medium)
        own = features[:, embedding.column].square()
        length = (own.sum(dim=1, keepdim=True) / self._size.sure_mass).clamp(max=1)
        floor = self._size.score_floor**0.5
        names: Tensor = length * embedding(features.masked_fill(features < floor, 0.0))
        return names

    def _name_embedding(self, medium: Medium) -> NameEmbedding:
        return get_part(self._names, medium, NameEmbedding)

    def _look(self, medium: Medium) -> "_Look":
        return get_part(self._looks, medium, _Look)


@final
class _Look(nn.Module):
    """Features along random directions, which keep cosines up to about `look_dim` ** -0.5.

    Args:
        index: Of the encoder; the directions follow from it.
    """

    directions: Tensor
    index: Int[Tensor, ""]

    def __init__(self, input_dim: int, *, look_dim: int, index: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(index)
        directions = torch.randn(input_dim, look_dim, generator=generator) / look_dim**0.5
        self.register_buffer("directions", directions)
        self.register_buffer("index", torch.tensor(index))

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch look"]:
        """Return vectors of length 1."""
        return normalize(features @ self.directions, dim=1)

    def leave_out(self, column: Int[Tensor, " species"]) -> None:
        """Leave out features that are scores of names, which have a part of their own."""
        self.directions[column] = 0.0


@final
class _Joint(nn.Module):
    """The features that towers of one model share, along the same random directions for all media.

    Args:
        columns: Of those features, among all of the encoder's.
    """

    directions: Tensor
    span: Int[Tensor, " 2"]

    def __init__(self, columns: range, *, look_dim: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(len(columns))
        self.register_buffer("directions", torch.randn(len(columns), look_dim, generator=generator) / look_dim**0.5)
        self.register_buffer("span", torch.tensor([columns.start, columns.stop]))

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch look"]:
        """Return vectors of length 1."""
        start, stop = self.span.tolist()
        return normalize(features[:, start:stop] @ self.directions, dim=1)
