"""Two measurements of the same items, direction by direction."""

import pytest

from fieldmark.evaluation.comparison import compare_measurements
from fieldmark.evaluation.measurement import EvaluationContext, measure
from fieldmark.evaluation.metrics import correct_by_holm
from fieldmark.evaluation.protocol import STRICT


def test_compare_measurements_adjusts_the_directions_and_not_the_averages(make_embeddings):
    one, other = (
        measure(make_embeddings(spread=spread), protocol=STRICT, context=EvaluationContext()) for spread in (0.8, 1.1)
    )
    compared = compare_measurements(one, other)
    directions = [each for each in compared if not each.is_average]
    averages = [each for each in compared if each.is_average]
    assert [each.p_value_adjusted for each in averages] == [each.p_value for each in averages]
    wanted = correct_by_holm([each.p_value for each in directions])
    assert [each.p_value_adjusted for each in directions] == pytest.approx(wanted)
    assert any(each.p_value_adjusted > each.p_value for each in directions)
