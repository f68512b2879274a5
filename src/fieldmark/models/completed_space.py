"""The default network beside the space without training, which compares what labels do not cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fieldmark.models.fitted import LinearClassifier
from fieldmark.models.network import Network, forward_each, get_part
from fieldmark.models.ready import ReadySpace
from fieldmark.models.shared_space import SharedSpace
from fieldmark.types import Medium, MediumBatch

LEARNED_SHARE = 0.8
"""Of the learned space in the score of two items that labels cover; the rest keeps them near items that they do not."""
_SCORE_FLOOR = 1e-3
_FEWEST_LABELLED = 0.1
"""Labelled share of a class that is taken to be labelled at least. With fewer labels, what has none says too little."""
_MOSTLY = 0.5
"""Coverage from which on an item, or a medium, counts as covered."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Features of one medium with their labels.

    Args:
        group: What rows share their origin with.
    """

    features: Float[Tensor, "row feature"]
    label: Int[Tensor, " row"]
    group: Int[Tensor, " row"]


@final
class CompletedSpace(Network):
    """The shared space, where labels cover an item, and the space without training everywhere.

        g         = coverage of an item: the probability that it is of a class with labelled rows in its medium
        embedding = [sqrt(s * g) * learned, sqrt(1 - s * g) * ready]          s is `LEARNED_SHARE`

    Media without a labelled row have g = 0: their items lie where `ReadySpace` has them. So do items of a medium with
    labels that are of no labelled class. Of two items with g = 1, the learned space decides; an item with g = 1 and one
    with g = 0 are compared by what encoders call them, all on one scale for the same item.

    A photo with g = 1 and one with g = 1 of the same class, of scores .9 learned and .4 without training, have
    .8 * .9 + .2 * .4 = .8; a photo with g = 1 and a recording without labels that are called the same, with a score of
    .6 without training, have sqrt(.2) * .6 = .27.

    Args:
        learned: Its media are those with labelled rows.
        ready: Of all media that have an encoder.
    """

    def __init__(self, learned: SharedSpace, ready: ReadySpace) -> None:
        super().__init__()
        self.learned = learned
        self.ready = ready
        self._coverage = nn.ModuleDict(
            {
                medium: _Coverage(input_dim, look_dim=ready.look_dim, class_count=learned.class_count)
                for medium, input_dim in learned.input_dims.items()
            }
        )

    @staticmethod
    def split_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the state dicts of the learned space and of that without training, from the one of both."""
        learned, ready = (
            {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
            for prefix in ("learned.", "ready.")
        )
        return learned, ready

    @property
    def dim(self) -> int:
        """Dimension of the embedding, that of both spaces."""
        return self.learned.dim + self.ready.dim

    @property
    def training_dim(self) -> int:
        """Dimension of the embedding in training, which is of the learned space alone."""
        return self.learned.training_dim

    @property
    def class_count(self) -> int:
        """Number of classes the logits score."""
        return self.learned.class_count

    @property
    def input_dims(self) -> dict[Medium, int]:
        """Dimension of the features of each medium."""
        return {**self.ready.input_dims, **self.learned.input_dims}

    @property
    def learned_media(self) -> frozenset[Medium]:
        """Media with labelled rows."""
        return frozenset(self.learned.input_dims)

    @property
    def covered_media(self) -> frozenset[Medium]:
        """Media of which labels cover most items that were seen in training."""
        return frozenset(each for each in self.learned_media if self.get_mean_coverage(each) >= _MOSTLY)

    def get_mean_coverage(self, medium: Medium) -> float:
        """Return the mean coverage of the items that training saw; 0 for a medium without labels."""
        return float(self._part(medium).mean_coverage) if medium in self._coverage else 0.0

    def get_ready_length(self, medium: Medium | None) -> float:
        """Return the usual length of the part without training in embeddings of a medium, or of names for None."""
        coverage = 1.0 if medium is None else self.get_mean_coverage(medium)
        return float((1 - LEARNED_SHARE * coverage) ** 0.5)

    @torch.no_grad()
    def fit_coverage(
        self,
        medium: Medium,
        labelled: LabelledRows,
        *,
        unlabelled: Float[Tensor, "row feature"],
        named_column: Int[Tensor, " species"],
    ) -> None:
        """Fit the coverage of a medium to one unlabelled row or more; before that it is 1.

        Args:
            named_column: Columns of the encoder's scores of all species that the labelled classes stand for.

        Raises:
            MediumNotSupportedError: The medium has no labelled row.
        """
        part = self._part(medium)
        device = part.offset.device
        rows = LabelledRows(*(each.to(device) for each in (labelled.features, labelled.label, labelled.group)))
        others = unlabelled.to(device)
        part.fit(
            rows,
            look=self.ready.embed_look(rows.features, medium),
            unlabelled=others,
            unlabelled_look=self.ready.embed_look(others, medium),
            named_column=named_column.to(device),
        )

    def forward(
        self, inputs: Float[Tensor, "batch feature"], medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings of length 1 and logits of the rows of one medium; logits without labels are equal.

        Raises:
            MediumNotSupportedError: There is no encoder for this medium.
        """
        if self.training:
            trained: tuple[Tensor, Tensor] = self.learned(inputs, medium)
            return trained
        ready, _ = self.ready(inputs, medium)
        row_count = inputs.shape[0]
        if medium not in self._coverage:
            learned = ready.new_zeros(row_count, self.learned.dim)
            return torch.cat([learned, ready], dim=1), ready.new_zeros(row_count, self.class_count)
        learned, logits = self.learned(inputs, medium)
        share = LEARNED_SHARE * self._part(medium)(inputs, self.ready.embed_look(inputs, medium))[:, None]
        return torch.cat([share.sqrt() * learned, (1 - share).sqrt() * ready], dim=1), logits

    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings and logits of all rows, part after part; each part is computed by itself."""
        return forward_each(self, parts)

    def measure_coverage(self, embedding: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        """Return the coverage of rows by their embeddings, 0 to 1."""
        length = embedding[:, : self.learned.dim].norm(dim=1) / embedding.norm(dim=1)
        coverage: Tensor = (length.square() / LEARNED_SHARE).clamp(max=1)
        return coverage

    def is_covered(self, embedding: Float[Tensor, " dim"]) -> bool:
        """Tell whether an item is probably of a class with labels, by its embedding."""
        return bool(self.measure_coverage(embedding[None]).item() >= _MOSTLY)

    def take_ready_part(self, embedding: Float[Tensor, "row dim"]) -> Float[Tensor, "row ready"]:
        """Return the embeddings that `ReadySpace` gives to rows, by their embeddings here; of a name, a shorter one."""
        return normalize(embedding[:, self.learned.dim :], dim=1)

    @torch.no_grad()
    def embed_name(
        self, name: str, *, label: int | None = None, other_names: Sequence[str] = ()
    ) -> Float[Tensor, " dim"] | None:
        """Return the embedding of a species by its names; None for a name that neither space can embed.

        The part without training is of the same length in all names, so that their scores have one scale.

        Args:
            label: Of the class with this name, where training had one.
        """
        learned = None if label is None else self.learned.embed_name(name, label=label)
        ready = self.ready.embed_name(name, other_names=other_names)
        if learned is None and ready is None:
            return None
        embedding = torch.zeros(self.dim, device=next(self.parameters()).device)
        if ready is not None:
            embedding[self.learned.dim :] = (1 - LEARNED_SHARE) ** 0.5 * ready
        if learned is not None:
            embedding[: self.learned.dim] = LEARNED_SHARE**0.5 * learned
        else:
            embedding[-1] = (embedding[-1] ** 2 + LEARNED_SHARE) ** 0.5  # what only names have
        return normalize(embedding, dim=0)

    @torch.no_grad()
    def measure_sureness(self, embedding: Float[Tensor, "row dim"], *, medium: Medium) -> Float[Tensor, " row"]:
        """Return how plainly each row shows one class or species, 0 to 1, by the space that decides for it."""
        ready = self.ready.measure_sureness(self.take_ready_part(embedding), medium=medium)
        if medium not in self._coverage:
            return ready
        coverage = self.measure_coverage(embedding)
        learned = self.learned.measure_sureness(normalize(embedding[:, : self.learned.dim], dim=1), medium=medium)
        return torch.where(coverage >= _MOSTLY, learned, ready)

    def _part(self, medium: Medium) -> "_Coverage":
        return get_part(self._coverage, medium, _Coverage)


@final
class _Coverage(nn.Module):
    """The probability that a row is of a class with labels, learned from rows with labels and rows without.

    Rows without a label may be of any class, so a classifier of the two gives, for a row of a labelled class, the share
    of such rows that have a label. That share is the mean of what the labelled rows get, and coverage is the quotient,
    at most 1 (Elkan and Noto, KDD 2008, eq. 1). The classifier sees two numbers of a row, as more of them would only
    learn by heart which rows have labels: the largest cosine with the mean of a labelled class, without rows of the
    row's own origin, and the logarithm of what the encoder's own scores give to all labelled classes.

    Labelled rows that get .5 on average, since half of the rows of their classes have labels, have a share of .5; an
    unlabelled row with .4 then has the coverage .8, one with .01 has .02.

    Args:
        input_dim: Of the features.
        look_dim: Of how items look or sound to the encoder.
    """

    class_mean: Tensor
    is_named: Tensor
    weight: Tensor
    offset: Tensor
    labelled_share: Tensor
    mean_coverage: Tensor

    def __init__(self, input_dim: int, *, look_dim: int, class_count: int) -> None:
        super().__init__()
        self.register_buffer("class_mean", torch.zeros(class_count, look_dim))
        self.register_buffer("is_named", torch.zeros(input_dim, dtype=torch.bool))
        self.register_buffer("weight", torch.zeros(2))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("labelled_share", torch.zeros(()))
        self.register_buffer("mean_coverage", torch.ones(()))

    def forward(
        self, features: Float[Tensor, "batch feature"], look: Float[Tensor, "batch look"]
    ) -> Float[Tensor, " batch"]:
        """Return the coverage of rows, 0 to 1."""
        nearest = (look @ self.class_mean.T).amax(dim=1)
        probability = self._classify(torch.stack([nearest, self._log_named(features)], dim=1))
        coverage: Tensor = (probability / self.labelled_share.clamp(min=_FEWEST_LABELLED)).clamp(max=1)
        return coverage

    def fit(
        self,
        labelled: LabelledRows,
        *,
        look: Float[Tensor, "row look"],
        unlabelled: Float[Tensor, "other feature"],
        unlabelled_look: Float[Tensor, "other look"],
        named_column: Int[Tensor, " species"],
    ) -> None:
        """Fit the classifier of labelled and unlabelled rows, and the share of labelled ones among their like."""
        self.is_named[named_column] = True
        total = self.class_mean.new_zeros(self.class_mean.shape).index_add(0, labelled.label, look)
        self.class_mean.copy_(normalize(total, dim=1))
        nearest, is_fair = _find_nearest_of_other_origin(look, labelled, total=total)
        known = torch.stack([nearest, self._log_named(labelled.features)], dim=1)[is_fair]
        others = torch.stack([(unlabelled_look @ self.class_mean.T).amax(dim=1), self._log_named(unlabelled)], dim=1)
        both = torch.cat([known, others])
        center, spread = both.mean(dim=0), both.std(dim=0).clamp(min=_SCORE_FLOOR)
        classifier = LinearClassifier(2, class_count=2).to(both.device)
        is_labelled = torch.arange(len(both), device=both.device) < len(known)
        with torch.enable_grad():
            classifier.fit((both - center) / spread, is_labelled.long())
        slope = (classifier.weight[1] - classifier.weight[0]) / 2**0.5 / spread
        self.weight.copy_(slope)
        self.offset.copy_(classifier.bias[1] - classifier.bias[0] - center @ slope)
        self.labelled_share.copy_(self._classify(known).mean())
        rows, looks = torch.cat([labelled.features, unlabelled]), torch.cat([look, unlabelled_look])
        self.mean_coverage.copy_(self(rows, looks).mean())

    def _classify(self, numbers: Float[Tensor, "row number"]) -> Float[Tensor, " row"]:
        return (numbers @ self.weight + self.offset).sigmoid()

    def _log_named(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, " batch"]:
        """Return the logarithm of what the encoder's scores give to all labelled classes; constant without names."""
        named: Tensor = (features.square() * self.is_named).sum(dim=1)
        return (named + _SCORE_FLOOR).log()


def _find_nearest_of_other_origin(
    look: Float[Tensor, "row look"], labelled: LabelledRows, *, total: Float[Tensor, "class look"]
) -> tuple[Float[Tensor, " row"], Bool[Tensor, " row"]]:
    """Return the largest cosine of each labelled row with the mean of a class, and the rows that count.

    In its own class, rows of its own group are left out. A row whose class has no other group does not count, unless
    there is none that does; then every row is compared with the whole class.
    """
    pair = torch.stack([labelled.label, labelled.group], dim=1)
    unique, index = torch.unique(pair, dim=0, return_inverse=True)
    of_group = look.new_zeros(len(unique), look.shape[1]).index_add(0, index, look)
    is_fair = (torch.bincount(unique[:, 0], minlength=len(total)) > 1)[labelled.label]
    cosine = look @ normalize(total, dim=1).T
    if not is_fair.any():
        return cosine.amax(dim=1), torch.ones_like(is_fair)
    rest = normalize(total[labelled.label] - of_group[index], dim=1)
    own = cosine.new_full(cosine.shape, -torch.inf).scatter(
        1, labelled.label[:, None], (look * rest).sum(dim=1)[:, None]
    )
    is_own = torch.zeros_like(cosine, dtype=torch.bool).scatter(
        1, labelled.label[:, None], torch.ones_like(is_fair)[:, None]
    )
    return torch.where(is_own, own, cosine).amax(dim=1), is_fair
