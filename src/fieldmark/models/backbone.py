"""A trained picture network as the trunk that all media share, and batch norm that knows the medium of its rows."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fieldmark.errors import ConfigError, list_first
from fieldmark.types import MEDIA, Medium

_Planes = Float[Tensor, "batch _channel _height _width"]


@final
class MediumNorm(nn.Module):
    """Batch norm over pictures, with one set of running statistics, or one for each medium.

    Scale and offset are shared in both cases. With one set, the state has the names and shapes of `nn.BatchNorm2d`;
    with one for each medium it has the same names, and the statistics have a row for each of `MEDIA`.

    Args:
        per_medium: Whether running statistics are kept for each medium.
        is_frozen: Whether training normalizes by the running statistics, and leaves them as they are.
    """

    MOMENTUM: ClassVar[float] = 0.1

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, *, per_medium: bool = False, epsilon: float = 1e-5, is_frozen: bool = False
    ) -> None:
        super().__init__()
        shape = (len(MEDIA), channels) if per_medium else (channels,)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))
        self._per_medium = per_medium
        self._epsilon = epsilon
        self._is_frozen = is_frozen

    def forward(self, planes: _Planes, medium: Medium | None) -> _Planes:
        """Normalize rows; in training by their own statistics, which update the running ones.

        Args:
            medium: Of all the rows; None for rows of several media, which only common statistics can describe.
        """
        mean, var = self.running_mean, self.running_var
        if self._per_medium and medium is not None:
            row = MEDIA.index(medium)
            mean, var = mean[row], var[row]  # views: what batch_norm writes stays
        is_training = self.training and not self._is_frozen
        if is_training:
            self.num_batches_tracked += 1
        return F.batch_norm(
            planes, mean, var, self.weight, self.bias, is_training, momentum=self.MOMENTUM, eps=self._epsilon
        )


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """Facts that rebuild a backbone without the files that its weights came from.

    Args:
        settings_json: Settings of its library, as JSON.
        dim: Of the pooled features.
        mean: Subtracted from pixels of 0 to 1, channel by channel.
        std: Divided by, channel by channel.
    """

    settings_json: str
    dim: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    STATE_NAME: ClassVar[str] = "backbone.described"
    """Of the facts in the state of the whole network."""

    def to_tensor(self) -> UInt8[Tensor, " byte"]:
        """Return the facts as bytes, which a file of weights can hold."""
        values = {"settings": json.loads(self.settings_json), "dim": self.dim, "mean": self.mean, "std": self.std}
        return torch.frombuffer(bytearray(json.dumps(values, sort_keys=True).encode()), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> "BackboneFacts":
        """Return the facts that `to_tensor` wrote.

        Raises:
            ValueError: It did not write this tensor.
        """
        try:
            values = json.loads(bytes(tensor.tolist()))
            mean, std = (tuple(map(float, values[key])) for key in ("mean", "std"))
            facts = cls(json.dumps(dict(values["settings"])), int(values["dim"]), mean, std)
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError(f"its facts of the trunk are damaged ({type(error).__name__})") from error
        if len(mean) != 3 or len(std) != 3:
            raise ValueError("its facts of the trunk give no mean and deviation of three channels")
        return facts


_medium_of_rows: ContextVar[Medium | None] = ContextVar("_medium_of_rows", default=None)
"""What the norms inside a backbone read, whose own code knows no media. Each thread has its own."""


@contextmanager
def _rows_of(medium: Medium | None) -> Iterator[None]:
    token = _medium_of_rows.set(medium)
    try:
        yield
    finally:
        _medium_of_rows.reset(token)


@final
class _InnerNorm(nn.Module):
    """The batch norm of a backbone, with the statistics of the medium whose rows pass.

    In training, running statistics move at the rate of `MediumNorm`: the library's MobileNetV2 has a rate of .997, by
    which they would be those of the last batch. A norm whose statistics are 0 and 1 throughout was folded into its
    weights when the network was converted: it has none to follow, and stays a scale and an offset that are trained.
    """

    def __init__(self, norm: nn.BatchNorm2d, *, per_medium: bool, is_frozen: bool) -> None:
        super().__init__()
        mean, var = norm.running_mean, norm.running_var
        is_folded = mean is not None and var is not None and not mean.any() and torch.equal(var, torch.ones_like(var))
        self.norm = MediumNorm(
            norm.num_features, per_medium=per_medium, epsilon=norm.eps, is_frozen=is_frozen or is_folded
        )
        with torch.no_grad():
            for name, tensor in self.norm.state_dict().items():
                tensor.copy_(norm.state_dict()[name])  # statistics become those of every medium

    def forward(self, planes: _Planes) -> _Planes:
        """Return normalized rows."""
        normed: Tensor = self.norm(planes, _medium_of_rows.get())
        return normed


@final
class Backbone(nn.Module):
    """A picture network of three input channels that has pooled features of one width, for pictures of any medium.

    The last feature map is averaged over its places, or the last tokens over their number.

    Args:
        network: Of the library `transformers`: it takes `pixel_values` and gives a `last_hidden_state`.
        per_medium: Whether its batch norms keep running statistics for each medium.
        frozen: Names of its modules whose weights and statistics stay as they are.

    Raises:
        ConfigError: It has no module of a name in `frozen`.
    """

    def __init__(self, network: nn.Module, *, facts: BackboneFacts, per_medium: bool, frozen: Sequence[str]) -> None:
        super().__init__()
        self.facts = facts
        names = [name for name, _ in network.named_modules() if name]
        unknown = [name for name in frozen if name not in names]
        if unknown:
            raise ConfigError(
                f"'model.trunk_frozen' names {list_first(unknown)}, which the trunk does not have. "
                f"Choose among its modules: {list_first(names, limit=20)}."
            )
        _replace_norms(network, per_medium=per_medium, frozen=frozen)
        for name in frozen:
            network.get_submodule(name).requires_grad_(requires_grad=False)
        self.network = network
        self.register_buffer("described", facts.to_tensor())

    @property
    def dim(self) -> int:
        """Dimension of the pooled features."""
        return self.facts.dim

    def forward(self, planes: _Planes, medium: Medium | None) -> Float[Tensor, "batch feature"]:
        """Return pooled features.

        Args:
            medium: Of all the rows; None for rows of several media, which only common statistics can describe.
        """
        with _rows_of(medium):
            return pool(self.network, planes)


def _replace_norms(network: nn.Module, *, per_medium: bool, frozen: Sequence[str]) -> None:
    """Put norms that know the medium in the place of batch norms; weights and statistics stay."""
    places = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    for name, module in places:
        is_frozen = any(name == each or name.startswith(f"{each}.") for each in frozen)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, _InnerNorm(module, per_medium=per_medium, is_frozen=is_frozen))


def pool(network: nn.Module, planes: _Planes) -> Float[Tensor, "batch feature"]:
    """Return the mean of a network's last feature map over its places, or of its last tokens over their number."""
    last: Tensor = network(pixel_values=planes).last_hidden_state
    places = (2, 3) if last.ndim == 4 else (1,)
    return last.mean(dim=places, dtype=torch.float32)  # in full precision under autocast too
