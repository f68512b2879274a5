"""CCA against scikit-learn's, and what pairing by class means."""

import numpy as np
import pytest
import torch
from methods.baseline import LabeledFeatures
from methods.cca import CCA
from sklearn.cross_decomposition import CCA as Judge  # noqa: N811 - an acronym

from fieldmark.types import Medium

NO_RIDGE = 1e-10


def make_pairs(row_count=60):
    """Two views of three hidden causes."""
    generator = torch.Generator().manual_seed(0)
    causes = torch.randn(row_count, 3, generator=generator)
    return {
        medium: causes @ torch.randn(3, width, generator=generator) + torch.randn(row_count, width, generator=generator)
        for medium, width in ((Medium.IMAGE, 5), (Medium.TEXT, 4))
    }


def variates(space, views):
    return [space.ways[medium](rows).numpy() for medium, rows in views.items()]


def test_cca_of_pairs_equals_that_of_scikit_learn():
    views = make_pairs()
    label = torch.arange(60)  # each class has one item in each medium: items are paired
    space = CCA(dim=3, ridge=NO_RIDGE).fit({m: LabeledFeatures(rows, label) for m, rows in views.items()}, seed=0)
    judge = Judge(n_components=3, max_iter=5_000, tol=1e-12).fit(*(rows.numpy() for rows in views.values()))
    expected = judge.transform(*(rows.numpy() for rows in views.values()))
    for own, other in zip(variates(space, views), expected, strict=True):
        for column in range(3):
            assert abs(np.corrcoef(own[:, column], other[:, column])[0, 1]) == pytest.approx(1.0, abs=1e-4)


def test_cca_pairs_every_item_of_a_class_with_every_other():
    views = make_pairs(24)
    label = torch.arange(24) % 6
    space = CCA(dim=2, ridge=NO_RIDGE).fit({m: LabeledFeatures(rows, label) for m, rows in views.items()}, seed=0)
    image, text = views.values()
    pairs = [(i, j) for i in range(24) for j in range(24) if label[i] == label[j]]
    doubled = {
        Medium.IMAGE: torch.stack([image[i] for i, _ in pairs]),
        Medium.TEXT: torch.stack([text[j] for _, j in pairs]),
    }
    written_out = CCA(dim=2, ridge=NO_RIDGE).fit(
        {m: LabeledFeatures(rows, torch.arange(len(pairs))) for m, rows in doubled.items()}, seed=0
    )
    for own, other in zip(variates(space, views), variates(written_out, views), strict=True):
        for column in range(2):
            assert abs(np.corrcoef(own[:, column], other[:, column])[0, 1]) == pytest.approx(1.0, abs=1e-6)


def test_every_class_counts_the_same_however_many_items_it_has():
    views = make_pairs(12)
    label = torch.arange(12) % 4
    once = {m: LabeledFeatures(rows, label) for m, rows in views.items()}
    repeated = torch.cat([torch.arange(12), torch.arange(0, 12, 4), torch.arange(0, 12, 4)])
    often = {m: LabeledFeatures(rows[repeated], label[repeated]) for m, rows in views.items()}
    for own, other in zip(
        variates(CCA(dim=2).fit(once, seed=0), views), variates(CCA(dim=2).fit(often, seed=0), views), strict=True
    ):
        np.testing.assert_allclose(np.abs(own), np.abs(other), rtol=1e-6, atol=1e-9)


def test_ridge_takes_weight_from_directions_of_little_variance():
    views = make_pairs()
    views[Medium.IMAGE] = torch.cat([views[Medium.IMAGE], 1e-3 * views[Medium.TEXT][:, :1]], dim=1)
    label = torch.arange(60)
    training = {m: LabeledFeatures(rows, label) for m, rows in views.items()}
    free, bound = (CCA(dim=1, ridge=ridge).fit(training, seed=0) for ridge in (NO_RIDGE, 0.1))
    scores = []
    for space in (free, bound):
        image, text = variates(space, views)
        scores.append(abs(np.corrcoef(image[:, 0], text[:, 0])[0, 1]))
    assert scores[0] > 0.999 > scores[1]
