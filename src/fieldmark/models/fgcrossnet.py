"""FGCrossNet: a character stem for text, and one residual trunk that all four media share."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never, final

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fieldmark.models.network import Network
from fieldmark.models.resnet import MediumNorm, Planes, TrunkSize, TrunkStage, initialize_convolutions
from fieldmark.types import Medium, MediumBatch

_PIXEL_MEAN = (0.485, 0.456, 0.406)
_PIXEL_STD = (0.229, 0.224, 0.225)
"""Of ImageNet, for pixels from 0 to 1."""


class EmbeddingSource(StrEnum):
    """The tensor that becomes the embedding, at length 1."""

    FEATURES = "features"
    LOGITS = "logits"


@dataclass(kw_only=True, frozen=True, slots=True)
class TextStem:
    """Sizes of the layers that turn a text into a picture.

    Args:
        symbol_count: Symbols of the alphabet; the table has two rows more, for padding and one further symbol.
        symbol_dim: Dimension of a symbol's vector.
        conv_width: Height of the picture; its width is the length of the text.
    """

    conv_width: int
    symbol_count: int = 68
    symbol_dim: int = 16


@final
class FGCrossNet(Network):
    """The uniform network of He et al., ACM MM 2019, as in its released code, for inputs of any size.

    A text goes symbol vectors -> two convolutions along the text -> a picture of three channels; images, frames and
    spectrograms are pictures already. Pictures go through one ResNet, global average pooling, and a linear classifier.
    With one set of statistics, the state has the names and shapes of the released one, so its weights load as they are.

    Departs from the paper: the embedding is the pooled features, not the logits, so that unseen classes are told apart
    too (`EmbeddingSource.LOGITS` is the released choice); pooling is global, so no size is welded to another.

    Args:
        statistics_per_medium: Whether batch norm keeps running statistics for each medium. One common set, as released,
            needs every training batch to go through `forward_together`: rows normalized medium by medium in training
            and all alike in use fall apart (tiny network, 26 bird classes, 64 pixels, 2026-11-23: 86 % of training
            texts recognized with statistics per medium or rows together, 8 % with common ones and rows apart).

    Example:
        >>> network = FGCrossNet(
        ...     class_count=5,
        ...     trunk=TrunkSize.of_depth(10, base_width=4, stem_stride=2),
        ...     text=TextStem(conv_width=32),
        ...     embedding=EmbeddingSource.FEATURES,
        ...     statistics_per_medium=True,
        ... ).eval()
        >>> pixels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
        >>> embedding, logits = network(pixels, Medium.IMAGE)
        >>> embedding.shape, logits.shape
        (torch.Size([2, 32]), torch.Size([2, 5]))
    """

    _pixel_mean: Tensor
    _pixel_std: Tensor

    def __init__(
        self,
        *,
        class_count: int,
        trunk: TrunkSize,
        text: TextStem,
        embedding: EmbeddingSource,
        statistics_per_medium: bool,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(text.symbol_count + 2, text.symbol_dim, padding_idx=0)
        self.conv01 = nn.Conv1d(text.symbol_dim, text.conv_width // 2, 3, padding=1)
        self.conv02 = nn.Conv1d(text.conv_width // 2, text.conv_width, 3, padding=1)
        self.conv0 = nn.Conv2d(1, 3, 3, padding=1)
        self.conv1 = nn.Conv2d(3, trunk.base_width, 7, stride=trunk.stem_stride, padding=3, bias=False)
        self.bn1 = MediumNorm(trunk.base_width, per_medium=statistics_per_medium)
        self.layer1 = TrunkStage(trunk, index=0, per_medium=statistics_per_medium)
        self.layer2 = TrunkStage(trunk, index=1, per_medium=statistics_per_medium)
        self.layer3 = TrunkStage(trunk, index=2, per_medium=statistics_per_medium)
        self.layer4 = TrunkStage(trunk, index=3, per_medium=statistics_per_medium)
        self.fc = nn.Linear(trunk.dim, class_count)
        self.register_buffer("_pixel_mean", torch.tensor(_PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("_pixel_std", torch.tensor(_PIXEL_STD).view(3, 1, 1), persistent=False)
        self._embedding = embedding
        self._per_medium = statistics_per_medium
        initialize_convolutions(self)

    @property
    def dim(self) -> int:
        """Dimension of the embedding."""
        return self.fc.in_features if self._embedding is EmbeddingSource.FEATURES else self.fc.out_features

    @property
    def class_count(self) -> int:
        """Number of classes the logits score."""
        return self.fc.out_features

    def forward(
        self, inputs: UInt8[Tensor, "batch ..."], medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings of length 1 and logits of the rows of one medium, given as symbol ids or RGB pixels."""
        return self._score(self._pool(self._draw(inputs, medium), medium))

    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings and logits of all rows, part after part, normalized together where statistics are common.

        With common statistics the pictures of all media must have one size: text length and width, and crops.
        """
        if self._per_medium:
            features = [self._pool(self._draw(part.inputs, part.medium), part.medium) for part in parts]
            return self._score(torch.cat(features))
        return self._score(self._pool(torch.cat([self._draw(part.inputs, part.medium) for part in parts]), None))

    def _draw(self, inputs: UInt8[Tensor, "batch ..."], medium: Medium) -> Planes:
        return self._draw_text(inputs) if medium is Medium.TEXT else self._standardize(inputs)

    def _draw_text(self, symbols: UInt8[Tensor, "batch token"]) -> Planes:
        columns = self.embed(symbols.int()).transpose(1, 2)
        columns = self.conv02(F.relu(self.conv01(columns)))
        planes: Tensor = self.conv0(columns.unsqueeze(1))
        return planes

    def _standardize(self, pixels: UInt8[Tensor, "batch 3 height width"]) -> Planes:
        return (pixels.to(self._pixel_mean.dtype) / 255 - self._pixel_mean) / self._pixel_std

    def _pool(self, planes: Planes, medium: Medium | None) -> Float[Tensor, "batch feature"]:
        planes = F.relu(self.bn1(self.conv1(planes), medium))
        planes = F.max_pool2d(planes, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            planes = stage(planes, medium)
        return planes.mean(dim=(2, 3), dtype=self._pixel_mean.dtype)  # in full precision under autocast too

    def _score(
        self, features: Float[Tensor, "batch feature"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        logits: Tensor = self.fc(features)
        match self._embedding:
            case EmbeddingSource.FEATURES:
                return F.normalize(features), logits
            case EmbeddingSource.LOGITS:
                return F.normalize(logits), logits
            case _:
                assert_never(self._embedding)
