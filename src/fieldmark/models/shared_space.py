"""The default network: a small head for each medium, one embedding space, one classifier for all media."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from fieldmark.models.fitted import (
    MOST_SPECIES,
    LinearClassifier,
    NamedScores,
    NamedWeights,
    NameEmbedding,
    Standardization,
    compute_species_direction,
    fit_named_weights,
    match_names,
)
from fieldmark.models.network import Network, forward_each, get_part, read_lengths
from fieldmark.models.row_choice import choose_rows
from fieldmark.types import Medium, MediumBatch

MOST_FITTED_ROWS = 4096
"""About how many rows a head is fitted on at most: with fewer rows than features, the time grows with their cube."""

_PRIVATE_LENGTH = 0.5
"""Of an item's private part beside the shared part of length 1. From 0 to 1, retrieval between two media stays as it
is, within .001; at 1 texts rank other texts too high (text to all media .603 instead of .644; fgbirds, 2026-11-29)."""

LEAST_CLASS_ROWS = 8
"""Rows that each class keeps where there are more, however many classes there are."""


@dataclass(kw_only=True, frozen=True, slots=True)
class SharedSpaceSize:
    """Sizes and weights of the shared space.

    Args:
        dim: Of the embedding.
        hidden_dim: Of the layer between features and embedding.
        uniform_trunk: Whether one trunk takes the features of all media into the space, instead of one for each.
        component_count: Principal directions of a medium's features that are kept.
        input_dropout: Share of the features left out in a training step.
        dropout: Share of the hidden units left out in a training step.
        posterior_weight: Of the mean prototype by class probability, against the item's own vector; 0 leaves it out.
        linear_weight: Factor on the linear classifier's logits.
        named_weight: Factor on the fitted share of the encoder's named scores in the class logits.
        private_dim: Of each medium's private part of the embedding; 0 leaves it out.
        name_dim: Of the name embedding, which represents an item by the encoder's named scores.
        name_weight: Of the name embedding, beside the shared part of length 1; 0 leaves it out.
        scale: Factor from cosines to logits at the start of training.
    """

    dim: int
    hidden_dim: int
    uniform_trunk: bool
    component_count: int
    input_dropout: float
    dropout: float
    posterior_weight: float
    linear_weight: float
    named_weight: float
    private_dim: int
    name_dim: int
    name_weight: float
    scale: float


@final
class SharedSpace(Network):
    """Pretrained features of each medium, through a head of its own, into one space; one classifier for all media.

        v            = normalize(head_m(features))                 the item's own vector
        class_logits = (1 - s) * a * linear_m(features) + s * scores_m(features)
        shared       = normalize(v + w * softmax(class_logits) @ prototypes)       prototypes of length 1, one a class
        private_m    = 0.5 * normalize(first components of the features)    zeros where other media have theirs
        named_m      = q * name embedding by the encoder's named scores, or else by the class probabilities
        embedding    = normalize([shared, private of each medium, named])

    One photo, with two classes whose prototypes are (1, 0) and (0, 1), a = 1.3, s = 0.5, w = 3, q = 0.8, and two media:
    v = (0.6, 0.8) looks like class 2. linear_m = (2, 0) and scores_m = log (.8, .2) = (-0.22, -1.61) both say class 1:
    class_logits = 0.65 * (2, 0) + 0.5 * (-0.22, -1.61) = (1.19, -0.80), with softmax (0.88, 0.12). So shared is
    (0.6, 0.8) + 3 * (0.88, 0.12) = (3.24, 1.16) at length 1, (0.94, 0.34): the photo moves to class 1. At a softmax of
    (0.5, 0.5) it would stay between, at (0.67, 0.74). With private components (0.8, -0.6) and a name embedding (0, 1),
    the embedding is (0.94, 0.34, 0.4, -0.3, 0, 0, 0, 0.8) divided by its length 1.37.

    With `uniform_trunk` head_m is one for all media (He et al., ACM MM 2019), behind the principal components of each.
    Heads of different media err in different ways, while prototypes are common to all. Adding the mean of the
    prototypes, weighted by the class probabilities, therefore brings media together, and an item of no known class
    keeps its own vector. Only the item itself is used. Class probabilities come from a linear classifier of the
    features and, where the encoder knows classes by name as BirdNET does, from its own scores, with a share s that is
    fitted on the training rows. a, w, q are `linear_weight`, `posterior_weight`, `name_weight`; docs/results/space.md
    has the worth of each.

    The private part compares items of one medium by the encoder's features; items of two media have nothing in common
    there and rank as without it. It separates species that the classes, and so the shared part, do not cover: of 14
    species left out of training, MAP image to image .65 instead of .55, audio to audio .81 instead of .75 (all species
    of fgbirds in the gallery, `benchmarks/unseen.py`, 2026-11-25). Where encoders name thousands of species, the names
    bring such species together across media too: on validation rows, image to audio .75 instead of .28, audio to image
    .54 instead of .08, image to image .88 instead of .65 (2026-11-25).

    In training the embedding is v, of `training_dim`, and the logits are scale * v @ prototypes. Losses on the mixture
    would make the class probabilities overconfident: mean MAP on validation rows .59 instead of .63 (fgbirds, six
    directions, 2026-11-23).

    Args:
        input_dims: Dimension of the features of each medium.
        named_counts: How many scores among them have names, for each medium whose encoder names any.
    """

    _class_place: Tensor  # this name, and `_places`, stand in checkpoints

    def __init__(
        self,
        *,
        input_dims: Mapping[Medium, int],
        class_count: int,
        named_counts: Mapping[Medium, int] | None = None,
        size: SharedSpaceSize,
    ) -> None:
        super().__init__()
        self._size = size
        dim = self._size.name_dim
        counts = {medium: count for medium, count in (named_counts or {}).items() if count and self._size.name_weight}
        self._places = nn.ModuleDict({medium: NameEmbedding(count, dim=dim) for medium, count in counts.items()})
        self.register_buffer("_class_place", torch.zeros(class_count, dim if counts else 0))
        self._heads = nn.ModuleDict(
            {medium: _Head(dim, class_count=class_count, size=self._size) for medium, dim in input_dims.items()}
        )
        count = self._size.component_count
        self._trunk = _make_trunk(count, size=self._size) if self._size.uniform_trunk else nn.Identity()
        self._prototypes = nn.Parameter(torch.randn(class_count, self._size.dim))
        self._log_scale = nn.Parameter(torch.tensor(self._size.scale).log())

    @staticmethod
    def read_input_dims(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """Read the `input_dims` of the network that a state dict was taken from."""
        return read_lengths(state, "_heads.{}.standardization.mean")

    @staticmethod
    def read_named_counts(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """Read the `named_counts` of the network that a state dict was taken from."""
        return read_lengths(state, "_places.{}.column")

    @staticmethod
    def upgrade_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict of this version; one of an earlier version had one named score for each class."""
        upgraded = dict(state)
        for name, tensor in state.items():
            if name.endswith(".named.column") and tensor.ndim == 1:
                upgraded[name] = pad(tensor[:, None], (0, MOST_SPECIES - 1), value=-1)
                upgraded.setdefault(name.removesuffix("column") + "unnamed", torch.zeros(()))
        return upgraded

    @property
    def input_dims(self) -> dict[Medium, int]:
        """Dimension of the features of each medium."""
        return {medium: len(self._head(medium).standardization.mean) for medium in Medium if medium in self._heads}

    @property
    def dim(self) -> int:
        """Dimension of the embedding: shared part, private part of each medium, and name embedding."""
        return self._size.dim + len(self._heads) * self._private_dim + self._name_dim

    @property
    def named_media(self) -> frozenset[Medium]:
        """Media whose encoders name species; none without a name embedding."""
        return frozenset(map(Medium, self._places))

    @property
    def training_dim(self) -> int:
        """Dimension of the embedding in training, which has the shared part alone."""
        return self._size.dim

    @property
    def class_count(self) -> int:
        """Number of classes the logits score."""
        return len(self._prototypes)

    def fit(
        self,
        medium: Medium,
        features: Float[Tensor, "row feature"],
        label: Int[Tensor, " row"],
        *,
        group: Int[Tensor, " row"] | None = None,
        class_species: Sequence[Sequence[str]] | None = None,
        named_scores: Mapping[str, int] | None = None,
    ) -> NamedWeights | None:
        """Fit a medium's head to its training features, once, before training.

        Fitted are the standardization, the linear classifier, and the assignment of named scores to classes; with very
        many rows, on some of them (`choose_rows`). Features, labels and groups may be on another device than the
        weights. Return the weights of the named scores; None where the encoder names no class.

        Args:
            group: What rows share their origin with; None where each stands for itself.
            class_species: All names of the species that each class stands for; None where nothing is known of that.
            named_scores: Of `Encoder.named_scores`; None for an encoder that names no species.

        Raises:
            MediumNotSupportedError: There is no head for this medium.
        """
        head = self._head(medium)
        group = torch.arange(len(label)) if group is None else group
        chosen = choose_rows(label, group=group, most=MOST_FITTED_ROWS, class_minimum=LEAST_CLASS_ROWS)
        # The rows may be anywhere; what is fitted to them lies beside the weights.
        device = self._class_place.device
        rows, label, group = (each[chosen.to(each.device)].to(device) for each in (features, label, group))
        rows = rows.to(self._class_place)
        is_asked = self._size.named_weight > 0
        column = match_names(class_species or [()] * self.class_count, (named_scores or {}) if is_asked else {})
        column = column.to(device)
        judged = head.fit(rows, label, group=group, column=column, linear_weight=self._size.linear_weight)
        if medium in self._places and named_scores:
            name_embedding = self._name_embedding(medium)
            name_embedding.fit(named_scores)
            for each in torch.nonzero(torch.bincount(label, minlength=self.class_count) == 0).flatten().tolist():
                if (column[each] >= 0).any():  # it is met here by its name alone
                    self._class_place[each] += name_embedding.embed_columns(column[each])
            for each in sorted(set(label.tolist())):
                self._class_place[each] += normalize(name_embedding(rows[label == each]).mean(dim=0), dim=0)
        return judged

    def forward(
        self, inputs: Float[Tensor, "batch feature"], medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings of length 1 and logits of the rows of one medium.

        Raises:
            MediumNotSupportedError: There is no head for this medium.
        """
        head = self._head(medium)
        components = head.standardization(inputs)
        own = normalize(self._trunk(head(components)), dim=1)
        prototypes = normalize(self._prototypes, dim=1)
        if self.training:
            return own, self._log_scale.exp() * own @ prototypes.T
        learned = self._size.linear_weight * head.linear(components)
        class_logits = head.named.mix_with(learned, inputs, weight=self._size.named_weight)
        class_mean = class_logits.softmax(dim=1) @ prototypes
        shared = normalize(own + self._size.posterior_weight * class_mean, dim=1)
        parts = [shared, *self._private_parts(components, medium), *self._name_parts(inputs, class_logits, medium)]
        return normalize(torch.cat(parts, dim=1), dim=1), class_logits

    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings and logits of all rows, part after part; each part is computed by itself."""
        return forward_each(self, parts)

    @torch.no_grad()
    def embed_name(
        self, name: str, *, label: int | None = None, other_names: Sequence[str] = ()
    ) -> Float[Tensor, " dim"] | None:
        """Return the embedding of a text that only names a species; None for a name that the network cannot embed.

        Args:
            label: Of the class with this name, where the network has one.
            other_names: Of the same species.
        """
        shared, named = self._prototypes.new_zeros(self._size.dim), self._prototypes.new_zeros(self._name_dim)
        if label is not None:
            shared = normalize(self._prototypes[label], dim=0)
            named = self._size.name_weight * normalize(self._class_place[label], dim=0)
        elif self._name_dim:
            direction = compute_species_direction((name, *other_names), dim=self._name_dim)
            named = self._size.name_weight * direction.to(named)
        else:
            return None
        nothing = normalize(shared.new_ones(1, max(1, self._private_dim)), dim=1)
        own = Medium.TEXT if Medium.TEXT in self._heads else next(each for each in Medium if each in self._heads)
        private = [part[0] for part in self._private_parts(nothing, own)]
        return normalize(torch.cat([shared, *private, named]), dim=0)

    @torch.no_grad()
    def measure_sureness(self, embedding: Float[Tensor, "row dim"], *, medium: Medium) -> Float[Tensor, " row"]:
        """Return how plainly each row of a medium shows one class, or one species that its encoder names: 0 to 1.

        The cosine of the shared part with the nearest prototype, or of the part for names with the nearest name, the
        larger of both. A frame without a bird, or a window of noise, is far from all of them.
        """
        shared = normalize(embedding[:, : self._size.dim], dim=1)
        sureness = (shared @ normalize(self._prototypes, dim=1).T).amax(dim=1)
        if medium in self._places:
            named = normalize(embedding[:, embedding.shape[1] - self._name_dim :], dim=1)
            directions = self._name_embedding(medium).directions
            sureness = torch.maximum(sureness, (named @ directions.T).amax(dim=1))
        return sureness.clamp(min=0, max=1)

    @property
    def _private_dim(self) -> int:
        return self._size.private_dim

    @property
    def _name_dim(self) -> int:
        return self._size.name_dim if len(self._places) else 0

    def _private_parts(
        self, components: Float[Tensor, "batch component"], medium: Medium
    ) -> list[Float[Tensor, "batch private"]]:
        width = self._private_dim
        if not width:
            return []
        row_count = components.shape[0]  # a tensor's len would be a constant in ONNX
        private = components.new_zeros(row_count, len(self._heads), width)
        first = normalize(components[:, :width], dim=1)
        index = [each for each in Medium if each in self._heads].index(medium)
        private[:, index, : first.shape[1]] = _PRIVATE_LENGTH * first
        return [private.flatten(start_dim=1)]

    def _name_parts(
        self, features: Float[Tensor, "batch feature"], class_logits: Float[Tensor, "batch class"], medium: Medium
    ) -> list[Float[Tensor, "batch name"]]:
        if not self._name_dim:
            return []
        if medium in self._places:
            named = self._name_embedding(medium)(features)
        else:
            named = class_logits.softmax(dim=1) @ normalize(self._class_place, dim=1)  # the more certain, the longer
        return [self._size.name_weight * named]

    def _name_embedding(self, medium: Medium) -> NameEmbedding:
        return get_part(self._places, medium, NameEmbedding)

    def _head(self, medium: Medium) -> "_Head":
        return get_part(self._heads, medium, _Head)


@final
class _Head(nn.Module):
    """One medium's layers: standardization, a hidden layer into the shared space, and classifiers fitted at once."""

    def __init__(self, input_dim: int, *, class_count: int, size: SharedSpaceSize) -> None:
        super().__init__()
        component_count = min(input_dim, size.component_count)
        self.standardization = Standardization(input_dim, component_count=component_count)
        if size.uniform_trunk:
            self.layers: nn.Module = nn.ConstantPad1d((0, size.component_count - component_count), 0.0)
        else:
            self.layers = _make_trunk(component_count, size=size)
        self.linear = LinearClassifier(component_count, class_count=class_count)
        self.named = NamedScores(class_count)

    def forward(self, components: Float[Tensor, "batch component"]) -> Float[Tensor, "batch dim"]:
        """Return vectors of any length in the shared space, or the inputs of the uniform trunk."""
        vectors: Tensor = self.layers(components)
        return vectors

    def fit(
        self,
        features: Float[Tensor, "row feature"],
        label: Int[Tensor, " row"],
        *,
        group: Int[Tensor, " row"],
        column: Int[Tensor, "class species"],
        linear_weight: float,
    ) -> NamedWeights | None:
        """Fit everything that is not trained by gradient; return the weights of named scores, if any are known."""
        self.standardization.fit(features)
        components = self.standardization(features)
        self.linear.fit(components, label)
        self.named.fit(label, column=column)
        if not (column >= 0).any():
            return None
        weights = fit_named_weights(
            features, components, label, group=group, column=column, linear_weight=linear_weight
        )
        self.named.share.fill_(weights.share)
        self.named.unnamed.fill_(weights.unnamed)
        return weights


def _make_trunk(component_count: int, *, size: SharedSpaceSize) -> nn.Sequential:
    """Make the layers from standardized features to a vector in the space."""
    return nn.Sequential(
        nn.Dropout(size.input_dropout),
        nn.Linear(component_count, size.hidden_dim),
        nn.GELU(),
        nn.Dropout(size.dropout),
        nn.Linear(size.hidden_dim, size.dim),
    )
