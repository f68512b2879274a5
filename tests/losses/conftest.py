"""Batches for the losses."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from fieldmark.types import Outputs

MakeOutputs = Callable[..., Outputs]
ValueAndGradient = Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor | None]]


@pytest.fixture(scope="session")
def make_outputs() -> MakeOutputs:
    """Makes outputs of rows whose embedding and logits are the same tensor, all of one medium unless told."""

    def make(vectors: Tensor, label: Sequence[int], *, medium: Sequence[int] | None = None) -> Outputs:
        return Outputs(
            embedding=vectors,
            logits=vectors,
            label=torch.tensor(label, dtype=torch.int64),
            medium=torch.tensor([0] * len(label) if medium is None else medium, dtype=torch.int64),
        )

    return make


@pytest.fixture(scope="session")
def value_and_gradient() -> ValueAndGradient:
    """Gives what a loss says of some rows, and its gradient to them."""

    def measure(function: Callable[[Tensor], Tensor], rows: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = rows.clone().requires_grad_()
        value = function(rows)
        value.backward()
        return value.detach(), rows.grad

    return measure
