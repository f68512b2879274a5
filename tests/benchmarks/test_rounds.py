"""What the draw of the items is worth in a mean over rounds."""

import numpy as np
import pytest
from rounds import estimate_rounds


def draw_round(generator: np.random.Generator, names: list[str]) -> tuple[np.ndarray, dict[str, list[object]]]:
    added = generator.normal(size=len(names))
    strata = [number % 2 for number in range(len(names))]
    for stratum in (0, 1):
        own = np.array(strata) == stratum
        added[own] -= added[own].mean()
    return added, {"units": list(names), "strata": strata}


def test_rounds_of_the_same_items_are_one_sample() -> None:
    added, drawn = draw_round(np.random.default_rng(0), [f"group {number}" for number in range(40)])
    once = estimate_rounds([added], [drawn])
    assert estimate_rounds([added, added], [drawn, drawn]).standard_error == pytest.approx(once.standard_error)


def test_rounds_of_other_items_add_their_variances() -> None:
    generator = np.random.default_rng(1)
    first, second = ([f"{word} {number}" for number in range(40)] for word in ("first", "second"))
    found = [draw_round(generator, names) for names in (first, second)]
    single = [estimate_rounds([added], [drawn]).standard_error for added, drawn in found]
    both = estimate_rounds([added for added, _ in found], [drawn for _, drawn in found])
    assert both.standard_error == pytest.approx((single[0] ** 2 + single[1] ** 2) ** 0.5 / 2)
    assert both.freedom == 78


def test_a_unit_of_two_rounds_counts_once() -> None:
    """Rounds that share all units but one are nearly one sample, and never two."""
    generator = np.random.default_rng(2)
    names = [f"group {number}" for number in range(200)]
    added, drawn = draw_round(generator, names)
    other = {**drawn, "units": [*names[:-1], "another"]}
    once = estimate_rounds([added], [drawn]).standard_error
    assert estimate_rounds([added, added], [drawn, other]).standard_error == pytest.approx(once, rel=0.02)
