"""The default network: a small head for each medium's features, into one space with one set of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fieldmark.errors import MediumNotSupportedError
from fieldmark.models.evidence import (
    LinearClassifier,
    NamedPlace,
    NamedScores,
    find_share,
    name_direction,
    plain_name,
)
from fieldmark.models.network import Network
from fieldmark.models.standardization import Standardization
from fieldmark.types import Medium, MediumBatch

MAX_FITTED_ROWS = 4096
"""Rows that a head is fitted on: the time grows with their cube."""


@dataclass(frozen=True, slots=True)
class SharedSpaceSize:
    """Sizes of the shared space and of the way into it.

    Args:
        dim: Of the embedding.
        hidden_dim: Of the layer between features and embedding.
        uniform_trunk: Whether one trunk takes the features of all media into the space, instead of one for each.
        component_count: Principal directions of a medium's features that are kept.
        input_dropout: Share of the features left out in a training step.
        dropout: Share of the hidden units left out in a training step.
        posterior_weight: What the classes' share in the embedding weighs against the item's own; 0 leaves it out.
        head_weight: Of the head's logits in what the classes' share is computed from.
        linear_weight: Of the linear classifier's, likewise.
        named_weight: Of the encoder's own scores of classes it knows by name, against both.
        private_dim: Of each medium's private part of the embedding.
        private_weight: Of an item's private part, beside the shared part of length 1; 0 leaves it out.
        name_dim: Of the part of the embedding where items lie by the names that encoders give them.
        name_weight: Of that part, likewise.
        scale: Of cosines on the way to logits, at the start of training.
    """

    dim: int = 256
    hidden_dim: int = 512
    uniform_trunk: bool = False
    component_count: int = 512
    input_dropout: float = 0.3
    dropout: float = 0.3
    posterior_weight: float = 3.0
    head_weight: float = 0.2
    linear_weight: float = 1.3
    named_weight: float = 1.0
    private_dim: int = 64
    private_weight: float = 0.5
    name_dim: int = 128
    name_weight: float = 0.8
    scale: float = 16.0


@final
class SharedSpace(Network):
    """Pretrained features of each medium, through a head of its own, into one space; one classifier for all media.

        v         = normalize(head_m(features))                 where the item lies
        logits    = scale * v @ prototypes                      prototypes of length 1, one for each class
        evidence  = (1 - s) * (a * logits + b * linear_m(features)) + s * scores_m(features)
        shared    = normalize(v + w * softmax(evidence) @ prototypes)
        private_m = p * normalize(first components of the features)    zeros in the places of other media
        named_m   = q * place of the names that the encoder may give it, or else of the classes it may be of
        embedding = normalize([shared, private of each medium, named])

    With `uniform_trunk` head_m is one for all media (He et al., ACM MM 2019), behind the principal components of each.
    Heads of different media err in different ways, while prototypes are common to all: to move an item towards what it
    may be, by how likely that is, brings media together, and an item of no known class keeps a place of its own.
    Nothing but the item itself is used. How likely a class is says, beside the head, a linear classifier of the
    features; and where the encoder knows classes by name, as BirdNET does, its own scores, by a share s that is found
    on the training rows. a, b, w, p, q are `head_weight`, `linear_weight`, `posterior_weight`, `private_weight`,
    `name_weight`.

    The private part compares items of one medium by what the encoder saw in them; items of two media have none of it in
    common, and rank as without it. It keeps species apart that the classes, and so the shared part, know nothing of:
    of 14 species left out of training, MAP image to image .65 instead of .55, audio to audio .81 instead of .75 (all
    species of fgbirds in the gallery, `benchmarks/unseen.py`, 2026-11-25). Where encoders name thousands of species,
    the names bring such species together across media too: on validation rows, image to audio .75 instead of .28,
    audio to image .54 instead of .08, image to image .88 instead of .65 (2026-11-25).

    In training the embedding is v, of `training_dim`, and the logits are the head's. Constraints put upon the mixture
    would make the posterior surer than it may be: mean MAP on validation rows .59 instead of .63 (fgbirds, six
    directions, 2026-11-23).

    Args:
        input_dims: Dimension of the features of each medium.
        named_counts: How many scores among them have names, for each medium whose encoder names any.

    Example:
        >>> network = SharedSpace(input_dims={Medium.TEXT: 8}, class_count=3).eval()
        >>> embedding, logits = network(torch.randn(2, 8), Medium.TEXT)
        >>> embedding.shape, logits.shape
        (torch.Size([2, 256]), torch.Size([2, 3]))
    """

    _class_place: Tensor

    def __init__(
        self,
        *,
        input_dims: Mapping[Medium, int],
        class_count: int,
        named_counts: Mapping[Medium, int] | None = None,
        size: SharedSpaceSize | None = None,
    ) -> None:
        super().__init__()
        self._size = size or SharedSpaceSize()
        dim = self._size.name_dim
        counts = {medium: count for medium, count in (named_counts or {}).items() if count and self._size.name_weight}
        self._places = nn.ModuleDict({medium: NamedPlace(count, dim=dim) for medium, count in counts.items()})
        self.register_buffer("_class_place", torch.zeros(class_count, dim if counts else 0))
        self._heads = nn.ModuleDict(
            {medium: Head(dim, class_count=class_count, size=self._size) for medium, dim in input_dims.items()}
        )
        count = self._size.component_count
        self._trunk = _make_trunk(count, size=self._size) if self._size.uniform_trunk else nn.Identity()
        self._prototypes = nn.Parameter(torch.randn(class_count, self._size.dim))
        self._log_scale = nn.Parameter(torch.tensor(self._size.scale).log())

    @staticmethod
    def read_input_dims(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """The `input_dims` of the network that a state dict was taken from."""
        names = {medium: f"_heads.{medium}.standardization.mean" for medium in Medium}
        return {medium: len(state[name]) for medium, name in names.items() if name in state}

    @staticmethod
    def read_named_counts(state: Mapping[str, Tensor]) -> dict[Medium, int]:
        """The `named_counts` of the network that a state dict was taken from."""
        names = {medium: f"_places.{medium}.column" for medium in Medium}
        return {medium: len(state[name]) for medium, name in names.items() if name in state}

    @property
    def input_dims(self) -> dict[Medium, int]:
        """Dimension of the features of each medium."""
        return {medium: len(self._head(medium).standardization.mean) for medium in Medium if medium in self._heads}

    @property
    def dim(self) -> int:
        """Dimension of the embedding: its shared part, a private part for each medium, and the part of the names."""
        return self._size.dim + len(self._heads) * self._private_dim + self._name_dim

    @property
    def named_media(self) -> frozenset[Medium]:
        """The media whose names have a place in the embedding; none without a part for names."""
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
        named_column: Int[Tensor, " class"] | None = None,
        named_scores: Mapping[str, int] | None = None,
    ) -> None:
        """Takes over what the features of a medium tell at once, from those to be trained on; done once, before.

        That is how they are distributed, the linear classifier, and which scores of the encoder are of which class.

        Args:
            group: What rows share their origin with; None where each stands for itself.
            named_column: Of each class, as `match_names` finds it; None for an encoder that names no classes.
            named_scores: As `Encoder.named_scores` tells; as many columns as `named_counts` says.

        Raises:
            MediumNotSupportedError: There is no head for this medium.
        """
        if group is None:
            group = torch.arange(len(label))
        self._head(medium).fit(
            features, label, group=group, named_column=named_column, linear_weight=self._size.linear_weight
        )
        if medium in self._places and named_scores:
            place = self._place(medium)
            place.fit(named_scores)
            for each in sorted(set(label.tolist())):
                rows = features[label == each][:MAX_FITTED_ROWS].to(self._class_place)
                self._class_place[each] += normalize(place(rows).mean(dim=0), dim=0)

    def forward(
        self, inputs: Float[Tensor, "batch feature"], medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Embeddings of length 1 and logits of the rows of one medium.

        Raises:
            MediumNotSupportedError: There is no head for this medium.
        """
        head = self._head(medium)
        components = head.standardization(inputs)
        own = normalize(self._trunk(head(components)), dim=1)
        prototypes = normalize(self._prototypes, dim=1)
        logits = self._log_scale.exp() * own @ prototypes.T
        if self.training:
            return own, logits
        evidence = self._size.head_weight * logits + self._size.linear_weight * head.linear(components)
        if self._size.named_weight:
            evidence = head.named.beside(evidence, inputs, weight=self._size.named_weight)
        likely = evidence.softmax(dim=1) @ prototypes
        shared = normalize(own + self._size.posterior_weight * likely, dim=1)
        parts = [shared, *self._private_parts(components, medium), *self._name_parts(inputs, evidence, medium)]
        return normalize(torch.cat(parts, dim=1), dim=1), evidence

    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Embeddings and logits of all rows, part after part; each goes its own way."""
        results = [self(part.inputs, part.medium) for part in parts]
        return torch.cat([embedding for embedding, _ in results]), torch.cat([logits for _, logits in results])

    @torch.no_grad()
    def embed_name(self, name: str, *, label: int | None = None) -> Float[Tensor, " dim"] | None:
        """Where a text lies that is sure of its species and says nothing else; None for a name without a place here.

        Args:
            label: Of the class with this name, where the network has one.
        """
        shared, place = self._prototypes.new_zeros(self._size.dim), self._prototypes.new_zeros(self._name_dim)
        if label is not None:
            shared = normalize(self._prototypes[label], dim=0)
            place = self._size.name_weight * normalize(self._class_place[label], dim=0)
        elif self._name_dim:
            place = self._size.name_weight * name_direction(plain_name(name), dim=self._name_dim).to(place)
        else:
            return None
        nothing = normalize(shared.new_ones(1, max(1, self._private_dim)), dim=1)
        own = Medium.TEXT if Medium.TEXT in self._heads else next(each for each in Medium if each in self._heads)
        private = [part[0] for part in self._private_parts(nothing, own)]
        return normalize(torch.cat([shared, *private, place]), dim=0)

    @property
    def _private_dim(self) -> int:
        return self._size.private_dim if self._size.private_weight else 0

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
        place = [each for each in Medium if each in self._heads].index(medium)
        private[:, place, : first.shape[1]] = self._size.private_weight * first
        return [private.flatten(start_dim=1)]

    def _name_parts(
        self, features: Float[Tensor, "batch feature"], evidence: Float[Tensor, "batch class"], medium: Medium
    ) -> list[Float[Tensor, "batch place"]]:
        if not self._name_dim:
            return []
        if medium in self._places:
            place = self._place(medium)(features)
        else:
            place = evidence.softmax(dim=1) @ normalize(self._class_place, dim=1)  # the surer, the longer
        return [self._size.name_weight * place]

    def _place(self, medium: Medium) -> NamedPlace:
        place = self._places[medium]
        assert isinstance(place, NamedPlace)  # noqa: S101 - a ModuleDict forgets the class
        return place

    def _head(self, medium: Medium) -> "Head":
        if medium not in self._heads:
            raise MediumNotSupportedError(medium=medium, supported=list(self._heads))
        head = self._heads[medium]
        assert isinstance(head, Head)  # noqa: S101 - a ModuleDict forgets the class
        return head


@final
class Head(nn.Module):
    """One medium's way into the shared space: standardized features through one hidden layer; and class evidence."""

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
        """Places in the shared space, of any length, from standardized features; or what the uniform trunk reads."""
        place: Tensor = self.layers(components)
        return place

    def fit(
        self,
        features: Float[Tensor, "row feature"],
        label: Int[Tensor, " row"],
        *,
        group: Int[Tensor, " row"],
        named_column: Int[Tensor, " class"] | None,
        linear_weight: float,
    ) -> None:
        """Fits all that is not trained by steps; of very many rows, on equally spaced ones."""
        step = -(-len(features) // MAX_FITTED_ROWS)
        rows, label, group = features[::step].to(self.standardization.mean), label[::step], group[::step]
        self.standardization.fit(rows)
        components = self.standardization(rows)
        self.linear.fit(components, label)
        if named_column is not None:
            self.named.fit(rows, label, column=named_column)
            if self.named.share:
                share = find_share(
                    rows, components, label, group=group, column=named_column, linear_weight=linear_weight
                )
                self.named.share.fill_(share)


def _make_trunk(component_count: int, *, size: SharedSpaceSize) -> nn.Sequential:
    """From standardized features through one hidden layer to a place in the space."""
    return nn.Sequential(
        nn.Dropout(size.input_dropout),
        nn.Linear(component_count, size.hidden_dim),
        nn.GELU(),
        nn.Dropout(size.dropout),
        nn.Linear(size.hidden_dim, size.dim),
    )
