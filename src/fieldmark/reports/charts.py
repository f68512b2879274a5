"""Numbers -> pictures in SVG, narrow enough to be read on a phone."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from fieldmark.evaluation.embedding_space import Reliability
from fieldmark.evaluation.metrics import RECALL_LEVELS
from fieldmark.evaluation.result import Direction, format_symbol
from fieldmark.types import Medium

MEDIUM_COLORS = {
    Medium.IMAGE: "#0072b2",
    Medium.TEXT: "#b35c00",
    Medium.VIDEO: "#00805c",
    Medium.AUDIO: "#a8437f",
    None: "#4a4f57",
}
"""Told apart by the color-blind as well; None is the gallery of all media."""

WIDTH = 360
ROW = 22.0
FONT = 'font-size="12"'


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plotting area of a chart, in units of the picture; data run from 0 to 1 both ways."""

    left: float
    top: float
    width: float
    height: float

    def x(self, value: float) -> float:
        """Across."""
        return round(self.left + value * self.width, 1)

    def y(self, value: float) -> float:
        """Upwards."""
        return round(self.top + (1 - value) * self.height, 1)


def draw_directions(directions: Sequence[Direction]) -> str:
    """MAP with its interval, and chance as a tick, one row for each direction."""
    frame = _Frame(left=58.0, top=24.0, width=WIDTH - 102.0, height=ROW * len(directions))
    parts = [_vertical_grid(frame)]
    for place, direction in enumerate(directions):
        y = frame.top + ROW * (place + 0.5)
        color = MEDIUM_COLORS[direction.query_medium]
        low, high = (frame.x(value) for value in direction.interval_95)
        value, chance = frame.x(direction.mean_average_precision), frame.x(direction.chance)
        title = f"{direction.name}: {direction.mean_average_precision:.3f}, chance {direction.chance:.3f}"
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f'<text x="{frame.left - 8}" y="{y + 4}" text-anchor="end" {FONT}>{format_symbol(direction.name)}</text>'
            f'<line x1="{chance}" x2="{chance}" y1="{y - 7}" y2="{y + 7}" stroke="#8b929c" stroke-width="2"/>'
            f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="5" opacity=".35"/>'
            f'<circle cx="{value}" cy="{y}" r="4.5" fill="{color}"/>'
            f'<text x="{WIDTH - 2}" y="{y + 4}" text-anchor="end" {FONT} font-weight="600">'
            f"{direction.mean_average_precision:.3f}</text></g>"
        )
    return _picture("MAP of each task with its 95 % interval", frame.top + frame.height + 8, parts)


def draw_curves(directions: Sequence[Direction]) -> str:
    """Precision at each recall, a line for each gallery of one query medium."""
    frame = _Frame(left=34.0, top=10.0, width=WIDTH - 90.0, height=190.0)
    parts = [_vertical_grid(frame, labels_below=True), _horizontal_grid(frame)]
    ends: list[tuple[float, Direction]] = []
    for direction in directions:
        points = [
            f"{frame.x(recall)},{frame.y(precision)}"
            for recall, precision in zip(RECALL_LEVELS, direction.precision_at_recall, strict=True)
        ]
        color, dash = (
            MEDIUM_COLORS[direction.gallery_medium],
            "" if direction.gallery_medium else ' stroke-dasharray="5 3"',
        )
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="2"{dash}>'
            f"<title>{direction.name}</title></polyline>"
        )
        ends.append((frame.y(direction.precision_at_recall[-1]), direction))
    for y, direction in _spread(ends, least=14.0, lowest=frame.top + frame.height):
        color = MEDIUM_COLORS[direction.gallery_medium]
        x = frame.left + frame.width + 6
        parts.append(f'<text x="{x}" y="{y + 4}" fill="{color}" {FONT}>{format_symbol(direction.name)}</text>')
    parts.append(_below(frame, "recall"))
    return _picture("Precision at each recall", frame.top + frame.height + 36, parts)


def draw_calibration(calibrations: Sequence[tuple[str, Medium, Reliability]]) -> str:
    """Share of right best hits at each score; on the diagonal a score is a probability."""
    frame = _Frame(left=34.0, top=10.0, width=WIDTH - 48.0, height=230.0)
    parts = [
        _vertical_grid(frame, labels_below=True),
        _horizontal_grid(frame),
        f'<line x1="{frame.x(0.0)}" y1="{frame.y(0.0)}" x2="{frame.x(1.0)}" y2="{frame.y(1.0)}" stroke="#8b929c"/>',
    ]
    for name, medium, calibration in calibrations:
        points = " ".join(f"{frame.x(b.stated)},{frame.y(b.true_share)}" for b in calibration.bins)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{MEDIUM_COLORS[medium]}" stroke-width="2">'
            f"<title>{escape(name)}</title></polyline>"
        )
        parts += [
            f'<circle cx="{frame.x(b.stated)}" cy="{frame.y(b.true_share)}" r="3" fill="{MEDIUM_COLORS[medium]}">'
            f"<title>{escape(name)}: score {b.stated:.2f}, {b.true_share:.0%} of {b.count} right</title></circle>"
            for b in calibration.bins
        ]
    parts.append(_below(frame, "score of the best hit"))
    return _picture("Share of best hits that are right, by score", frame.top + frame.height + 36, parts)


def _spread(ends: list[tuple[float, Direction]], *, least: float, lowest: float) -> list[tuple[float, Direction]]:
    """Label places moved apart, so that none covers another, and none lies below the frame."""
    placed: list[tuple[float, Direction]] = []
    for y, direction in sorted(ends, key=lambda end: end[0]):
        placed.append((max(y, placed[-1][0] + least) if placed else y, direction))
    for place in range(len(placed) - 1, -1, -1):
        limit = lowest if place == len(placed) - 1 else placed[place + 1][0] - least
        placed[place] = (min(placed[place][0], limit), placed[place][1])
    return placed


def _vertical_grid(frame: _Frame, *, labels_below: bool = False) -> str:
    lines = []
    for step in range(6):
        x, y = frame.x(step / 5), frame.top + frame.height + 15 if labels_below else frame.top - 8
        lines.append(
            f'<line x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.top + frame.height}" stroke="#e3e1da"/>'
            f'<text x="{x}" y="{y}" text-anchor="middle" {FONT} fill="#5d666f">{step / 5:g}</text>'
        )
    return "".join(lines)


def _horizontal_grid(frame: _Frame) -> str:
    lines = []
    for step in range(6):
        y = frame.y(step / 5)
        lines.append(
            f'<line x1="{frame.left}" x2="{frame.left + frame.width}" y1="{y}" y2="{y}" stroke="#e3e1da"/>'
            f'<text x="{frame.left - 6}" y="{y + 4}" text-anchor="end" {FONT} fill="#5d666f">{step / 5:g}</text>'
        )
    return "".join(lines)


def _below(frame: _Frame, text: str) -> str:
    x, y = frame.left + frame.width / 2, frame.top + frame.height + 32
    return f'<text x="{x}" y="{y}" text-anchor="middle" {FONT} fill="#5d666f">{escape(text)}</text>'


def _picture(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
