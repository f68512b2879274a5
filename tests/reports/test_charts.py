"""Charts of an evaluation: where their lines, dots and labels are."""

import re
from dataclasses import replace

from fieldmark.evaluation.embedding_space import Reliability, ReliabilityBin
from fieldmark.reports.charts import MEDIUM_COLORS, draw_calibration, draw_curves, draw_directions
from fieldmark.types import Medium


def find_points(svg: str) -> list[list[tuple[float, float]]]:
    """Return the points of each line of a chart."""
    lines = re.findall(r'<polyline points="([^"]+)"', svg)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]


def test_draw_curves_draws_a_higher_precision_higher_up(measurement):
    direction = measurement.evaluation.directions[0]
    falling = replace(direction, precision_at_recall=tuple(1 - step / 20 for step in range(21)))
    [points] = find_points(draw_curves([falling]))
    assert points[0] == (34.0, 10.0)
    assert points[-1] == (304.0, 200.0)


def test_draw_curves_keeps_labels_apart_and_inside(measurement):
    directions = [
        replace(direction, precision_at_recall=(0.5,) * 20 + (0.0,))
        for direction in measurement.evaluation.directions[:4]
    ]
    heights = [float(y) - 4 for y in re.findall(r'<text x="310.0" y="([^"]+)"', draw_curves(directions))]
    assert heights == [158.0, 172.0, 186.0, 200.0]


def test_draw_directions_has_the_color_of_the_query_and_the_interval(measurement):
    direction = next(each for each in measurement.evaluation.directions if each.name == "image_to_audio")
    shown = replace(direction, mean_average_precision=0.5, interval_95=(0.25, 0.75), chance=0.125)
    svg = draw_directions([shown])
    color = f"var(--image, {MEDIUM_COLORS[Medium.IMAGE]})"
    assert f'<circle cx="187.0" cy="35.0" r="4.5" fill="{color}"/>' in svg
    assert f'<line x1="122.5" x2="251.5" y1="35.0" y2="35.0" stroke="{color}"' in svg
    assert '<line x1="90.2" x2="90.2"' in svg


def test_draw_calibration_has_scores_from_left_to_right_and_shares_upwards():
    reliability = Reliability(0.1, (ReliabilityBin(0.25, 0.0, 9), ReliabilityBin(0.5, 1.0, 3)))
    svg = draw_calibration([("image_to_all", Medium.IMAGE, reliability)])
    assert find_points(svg) == [[(112.0, 240.0), (190.0, 10.0)]]
    assert "score 0.50, 100% of 3 correct" in svg
