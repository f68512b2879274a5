"""Functions that turn a classifier's output into probabilities."""

from typing import Literal, assert_never

from jaxtyping import Float
from torch import Tensor

Activation = Literal["softmax", "sigmoid", "none"]
"""softmax: one class shows; sigmoid: each class shows or not; none: the output holds probabilities."""


def activate(output: Float[Tensor, "batch class"], activation: Activation) -> Float[Tensor, "batch class"]:
    """Return the probabilities in a classifier's output."""
    match activation:
        case "softmax":
            return output.softmax(dim=1)
        case "sigmoid":
            return output.sigmoid()
        case "none":
            return output.clamp(0, 1)
    assert_never(activation)
