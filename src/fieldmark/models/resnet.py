"""The parts of a residual trunk: sizes, blocks, stages, and batch norm with statistics per medium."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.types import MEDIA, Medium

Planes = Float[Tensor, "batch _channel _height _width"]


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
class MediumNorm(nn.Module):
    """Batch norm over pictures, with one set of running statistics, or one for each medium.

    Scale and offset are shared in both cases. With one set, the state has the names and shapes of `nn.BatchNorm2d`;
    with one for each medium it has the same names, and the statistics have a row for each of `MEDIA`.

    Args:
        per_medium: Whether running statistics are kept for each medium.
    """

    MOMENTUM: ClassVar[float] = 0.1
    EPSILON: ClassVar[float] = 1e-5

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, per_medium: bool = False) -> None:
        super().__init__()
        shape = (len(MEDIA), channels) if per_medium else (channels,)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))
        self._per_medium = per_medium

    def forward(self, planes: Planes, medium: Medium | None) -> Planes:
        """Normalize rows; in training by their own statistics, which update the running ones.

        Args:
            medium: Of all the rows; None for rows of several media, which only common statistics can describe.
        """
        mean, var = self.running_mean, self.running_var
        if self._per_medium and medium is not None:
            row = MEDIA.index(medium)
            mean, var = mean[row], var[row]  # views: what batch_norm writes stays
        if self.training:
            self.num_batches_tracked += 1
        return F.batch_norm(
            planes, mean, var, self.weight, self.bias, self.training, momentum=self.MOMENTUM, eps=self.EPSILON
        )


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

    def forward(self, planes: Planes, medium: Medium | None) -> Planes:
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

    def forward(self, planes: Planes, medium: Medium | None) -> Planes:
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

    def forward(self, planes: Planes, medium: Medium | None) -> Planes:
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

    def forward(self, planes: Planes, medium: Medium | None) -> Planes:
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
