"""Batches for the losses."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from fieldmark.types import Outputs

MakeOutputs = Callable[..., Outputs]


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
