"""Coordinates of the map."""

import sys

import numpy as np
import pytest

from fieldmark.gallery.map import PRINCIPAL, TSNE, choose_rows, project


def clusters(count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    label = np.arange(count) % 3
    return np.eye(6)[label] + 0.05 * generator.normal(size=(count, 6)), label


def assert_apart(coordinates, label) -> None:
    assert coordinates.min() == pytest.approx(0)
    assert coordinates.max() == pytest.approx(1)
    centers = np.array([coordinates[label == each].mean(axis=0) for each in range(3)])
    nearest = np.linalg.norm(coordinates[:, None] - centers, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, label)


def test_project_keeps_clusters_together_and_repeats_itself():
    rows, label = clusters()
    coordinates, method = project(rows, seed=1)
    assert method == TSNE
    assert_apart(coordinates, label)
    np.testing.assert_array_equal(project(rows, seed=1)[0], coordinates)


def test_project_without_the_extra_gives_principal_components(monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    rows, label = clusters()
    coordinates, method = project(rows, seed=1)
    assert method == PRINCIPAL
    assert_apart(coordinates, label)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_project_of_few_rows(count):
    coordinates, method = project(clusters()[0][:count], seed=0)
    assert (coordinates.shape, method) == ((count, 2), PRINCIPAL)
    assert np.isfinite(coordinates).all()


def test_choose_rows_draws_from_each_medium_by_its_share():
    medium = np.array([0] * 80 + [1] * 19 + [3])
    chosen = choose_rows(medium, limit=20, generator=np.random.default_rng(0))
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(medium[chosen]).tolist() == [16, 3, 0, 1]
    assert choose_rows(medium, limit=100, generator=np.random.default_rng(0)).tolist() == list(range(100))
