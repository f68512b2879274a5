"""Three media that see the same invented classes, each in features of its own."""

from collections.abc import Callable

import pytest
import torch
from methods.baseline import LabeledFeatures

from fieldmark.types import Medium

MakeToy = Callable[..., dict[Medium, LabeledFeatures]]
WIDTHS = {Medium.IMAGE: 12, Medium.TEXT: 16, Medium.AUDIO: 10}


@pytest.fixture(scope="session")
def make_toy() -> MakeToy:
    """Makes rows of every medium: a prototype of the class and noise, seen through a map of the medium's own."""

    def make(*, items_per_class: int = 4, noise: float = 0.1, seed: int = 0, class_count: int = 6):
        fixed, generator = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
        prototypes = torch.randn(class_count, 8, generator=fixed)
        label = torch.arange(class_count).repeat_interleave(items_per_class)
        toy = {}
        for medium, width in WIDTHS.items():
            way = torch.randn(8, width, generator=fixed) / 8**0.5
            rows = prototypes[label] + noise * torch.randn(len(label), 8, generator=generator)
            toy[medium] = LabeledFeatures(rows @ way, label)
        return toy

    return make
