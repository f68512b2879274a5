"""FGCrossNet: a character stem for text, and one trunk that all four media share."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, assert_never, final

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fieldmark.models.backbone import Backbone, MediumNorm
from fieldmark.models.network import Network
from fieldmark.types import Medium, MediumBatch

# ---------------------------------------------------------------- the residual trunk

_Planes = Float[Tensor, "batch _channel _height _width"]


@dataclass(frozen=True, slots=True)
class TrunkSize:
    """Depth and width of a residual trunk (He et al., CVPR 2016, table 1).

    Args:
        block: Two 3x3 convolutions, or a 3x3 between two 1x1 that make four times the width.
        stage_blocks: Blocks in each of the four stages; each stage doubles the width.
        base_width: Channels inside the blocks of the first stage.
        stem_stride: Stride of the first convolution; 1 keeps detail in pictures of some 64 pixels.
    """

    block: Literal["basic", "bottleneck"]
    stage_blocks: tuple[int, int, int, int]
    base_width: int
    stem_stride: int

    STAGE_BLOCKS: ClassVar[dict[int, tuple[Literal["basic", "bottleneck"], tuple[int, int, int, int]]]] = {
        10: ("basic", (1, 1, 1, 1)),
        18: ("basic", (2, 2, 2, 2)),
        34: ("basic", (3, 4, 6, 3)),
        50: ("bottleneck", (3, 4, 6, 3)),
        101: ("bottleneck", (3, 4, 23, 3)),
        152: ("bottleneck", (3, 8, 36, 3)),
    }
    """The depths that have a name; 10 is not in the paper."""

    @classmethod
    def of_depth(cls, depth: Literal[10, 18, 34, 50, 101, 152], *, base_width: int, stem_stride: int) -> "TrunkSize":
        """Return the size of a trunk with so many layers."""
        block, stage_blocks = cls.STAGE_BLOCKS[depth]
        return cls(block=block, stage_blocks=stage_blocks, base_width=base_width, stem_stride=stem_stride)

    @property
    def stage_channels(self) -> tuple[int, int, int, int]:
        """Channels that leave each stage."""
        expansion = _Bottleneck.EXPANSION if self.block == "bottleneck" else _BasicBlock.EXPANSION
        first = self.base_width * expansion
        return (first, 2 * first, 4 * first, 8 * first)

    @property
    def dim(self) -> int:
        """Dimension of the pooled features."""
        return self.stage_channels[-1]


@final
class _BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    EXPANSION: ClassVar[int] = 1

    def __init__(self, in_channels: int, width: int, *, stride: int, per_medium: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, width, kernel=3, stride=stride)
        self.bn1 = MediumNorm(width, per_medium=per_medium)
        self.conv2 = _convolution(width, width, kernel=3)
        self.bn2 = MediumNorm(width, per_medium=per_medium)
        self.downsample = _shortcut(in_channels, width, stride=stride, per_medium=per_medium)

    def forward(self, planes: _Planes, medium: Medium | None) -> _Planes:
        """Return the block's output."""
        inner = F.relu(self.bn1(self.conv1(planes), medium))
        inner = self.bn2(self.conv2(inner), medium)
        return F.relu(inner + (planes if self.downsample is None else self.downsample(planes, medium)))


@final
class _Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 around a shortcut; the 3x3 carries the stride, as in the released weights."""

    EXPANSION: ClassVar[int] = 4

    def __init__(self, in_channels: int, width: int, *, stride: int, per_medium: bool) -> None:
        super().__init__()
        out_channels = width * self.EXPANSION
        self.conv1 = _convolution(in_channels, width, kernel=1)
        self.bn1 = MediumNorm(width, per_medium=per_medium)
        self.conv2 = _convolution(width, width, kernel=3, stride=stride)
        self.bn2 = MediumNorm(width, per_medium=per_medium)
        self.conv3 = _convolution(width, out_channels, kernel=1)
        self.bn3 = MediumNorm(out_channels, per_medium=per_medium)
        self.downsample = _shortcut(in_channels, out_channels, stride=stride, per_medium=per_medium)

    def forward(self, planes: _Planes, medium: Medium | None) -> _Planes:
        """Return the block's output."""
        inner = F.relu(self.bn1(self.conv1(planes), medium))
        inner = F.relu(self.bn2(self.conv2(inner), medium))
        inner = self.bn3(self.conv3(inner), medium)
        return F.relu(inner + (planes if self.downsample is None else self.downsample(planes, medium)))


@final
class _Projection(nn.ModuleList):
    """The shortcut where a block changes its size: a 1x1 convolution and its norm."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, per_medium: bool) -> None:
        norm = MediumNorm(out_channels, per_medium=per_medium)
        super().__init__([_convolution(in_channels, out_channels, kernel=1, stride=stride), norm])

    def forward(self, planes: _Planes, medium: Medium | None) -> _Planes:
        """Return the shortcut's output."""
        convolution, norm = self
        projected: Tensor = norm(convolution(planes), medium)
        return projected


@final
class TrunkStage(nn.ModuleList):
    """Blocks of one width in a row; from the second stage on, the first block halves height and width.

    Args:
        index: Of the stage among the four, from 0.
    """

    def __init__(self, size: TrunkSize, *, index: int, per_medium: bool) -> None:
        block = _Bottleneck if size.block == "bottleneck" else _BasicBlock
        width, out_channels = size.base_width * 2**index, size.stage_channels[index]
        in_channels = size.base_width if index == 0 else size.stage_channels[index - 1]
        first = block(in_channels, width, stride=1 if index == 0 else 2, per_medium=per_medium)
        rest = (
            block(out_channels, width, stride=1, per_medium=per_medium) for _ in range(size.stage_blocks[index] - 1)
        )
        super().__init__([first, *rest])

    def forward(self, planes: _Planes, medium: Medium | None) -> _Planes:
        """Return the stage's output."""
        for block in self:
            planes = block(planes, medium)
        return planes


def initialize_convolutions(module: nn.Module) -> None:
    """Draw the weights of all 2D convolutions as in He et al., ICCV 2015: normal, variance 2 / fan-out."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")


def _convolution(in_channels: int, out_channels: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(in_channels: int, out_channels: int, *, stride: int, per_medium: bool) -> _Projection | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return _Projection(in_channels, out_channels, stride=stride, per_medium=per_medium)


# ---------------------------------------------------------------- the network

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
        shifts_in_training: Whether training puts 0, 2, 4, 6 or 8 zeros before each text, as the released code does;
            what no longer fits is cut off.
    """

    conv_width: int
    symbol_count: int = 68
    symbol_dim: int = 16
    shifts_in_training: bool = False


@final
class FGCrossNet(Network):
    """The uniform network of He et al., ACM MM 2019, as in its released code, for inputs of any size.

    A text goes symbol vectors -> two convolutions along the text -> a picture of three channels; images, frames and
    spectrograms are pictures already. Pictures go through one ResNet, global average pooling, and a linear classifier.
    With one set of statistics, the state has the names and shapes of the released one, so its weights load as they are.

    It differs from the paper in two ways. The embedding is the pooled features, not the logits, so that it also
    separates classes that training did not see (`EmbeddingSource.LOGITS` is the released choice). Pooling is global,
    so inputs may have any size.

    Args:
        trunk: Sizes of a residual trunk, or a trained picture network in its place.
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
        trunk: TrunkSize | Backbone,
        text: TextStem,
        embedding: EmbeddingSource,
        statistics_per_medium: bool,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(text.symbol_count + 2, text.symbol_dim, padding_idx=0)
        self.conv01 = nn.Conv1d(text.symbol_dim, text.conv_width // 2, 3, padding=1)
        self.conv02 = nn.Conv1d(text.conv_width // 2, text.conv_width, 3, padding=1)
        self.conv0 = nn.Conv2d(1, 3, 3, padding=1)
        if not isinstance(trunk, Backbone):
            self._add_residual_trunk(trunk, per_medium=statistics_per_medium)
        self.fc = nn.Linear(trunk.dim, class_count)
        initialize_convolutions(self)
        mean: tuple[float, ...] = _PIXEL_MEAN
        std: tuple[float, ...] = _PIXEL_STD
        if isinstance(trunk, Backbone):
            self.backbone = trunk  # trained already
            mean, std = trunk.facts.mean, trunk.facts.std
        self.register_buffer("_pixel_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("_pixel_std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self._has_backbone = isinstance(trunk, Backbone)
        self._embedding = embedding
        self._per_medium = statistics_per_medium
        self._shifts_texts = text.shifts_in_training

    def _add_residual_trunk(self, size: TrunkSize, *, per_medium: bool) -> None:
        """Add the layers under the names of the released weights."""
        self.conv1 = nn.Conv2d(3, size.base_width, 7, stride=size.stem_stride, padding=3, bias=False)
        self.bn1 = MediumNorm(size.base_width, per_medium=per_medium)
        self.layer1 = TrunkStage(size, index=0, per_medium=per_medium)
        self.layer2 = TrunkStage(size, index=1, per_medium=per_medium)
        self.layer3 = TrunkStage(size, index=2, per_medium=per_medium)
        self.layer4 = TrunkStage(size, index=3, per_medium=per_medium)

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

    def _draw(self, inputs: UInt8[Tensor, "batch ..."], medium: Medium) -> _Planes:
        return self._draw_text(inputs) if medium is Medium.TEXT else self._standardize(inputs)

    def _draw_text(self, symbols: UInt8[Tensor, "batch token"]) -> _Planes:
        if self.training and self._shifts_texts:
            symbols = _shift_texts(symbols)
        columns = self.embed(symbols.int()).transpose(1, 2)
        columns = self.conv02(F.relu(self.conv01(columns)))
        planes: Tensor = self.conv0(columns.unsqueeze(1))
        return planes

    def _standardize(self, pixels: UInt8[Tensor, "batch 3 height width"]) -> _Planes:
        return (pixels.to(self._pixel_mean.dtype) / 255 - self._pixel_mean) / self._pixel_std

    def _pool(self, planes: _Planes, medium: Medium | None) -> Float[Tensor, "batch feature"]:
        if self._has_backbone:
            pooled: Tensor = self.backbone(planes, medium)
            return pooled
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


def _shift_texts(symbols: UInt8[Tensor, "batch token"]) -> UInt8[Tensor, "batch token"]:
    """Put 0, 2, 4, 6 or 8 zeros before each text, drawn anew each time, and cut off what no longer fits."""
    zeros = 2 * torch.randint(5, (len(symbols), 1)).to(symbols.device)
    source = torch.arange(symbols.shape[1], device=symbols.device) - zeros
    return torch.where(source < 0, 0, symbols.gather(1, source.clamp_min(0)))
