"""Draw charts in SVG, narrow enough for a phone."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

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
"""Colors that color-blind readers can tell apart; None is the gallery of all media."""


def _get_color(medium: Medium | None) -> str:
    """Return the color of a medium as the style sheet of the page has it, so that it follows a dark theme."""
    return f"var(--{medium or 'all'}, {MEDIUM_COLORS[medium]})"


_WIDTH = 360
_ROW = 22.0
_FONT = 'font-size="12"'
_LINE, _RULE, _SMALL = 'stroke="var(--line, #e3e1da)"', 'stroke="var(--faint, #8b929c)"', 'fill="var(--faint, #5d666f)"'


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plotting area of a chart, in units of the picture; data range from 0 to 1 on both axes."""

    left: float
    top: float
    width: float
    height: float

    def x(self, value: float) -> float:
        """Return the horizontal position of a value."""
        return round(self.left + value * self.width, 1)

    def y(self, value: float) -> float:
        """Return the vertical position of a value."""
        return round(self.top + (1 - value) * self.height, 1)


def draw_directions(directions: Sequence[Direction]) -> Markup:
    """Draw MAP with its interval, and chance as a tick, one row per direction."""
    frame = _Frame(left=58.0, top=24.0, width=_WIDTH - 102.0, height=_ROW * len(directions))
    parts = [_draw_vertical_grid(frame)]
    for index, direction in enumerate(directions):
        y = frame.top + _ROW * (index + 0.5)
        color = _get_color(direction.query_medium)
        span = direction.interval_95 or (direction.mean_average_precision, direction.mean_average_precision)
        low, high = (frame.x(value) for value in span)
        value, chance = frame.x(direction.mean_average_precision), frame.x(direction.chance)
        title = f"{direction.name}: {direction.mean_average_precision:.3f}, chance {direction.chance:.3f}"
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f'<text x="{frame.left - 8}" y="{y + 4}" text-anchor="end" {_FONT}>{format_symbol(direction.name)}</text>'
            f'<line x1="{chance}" x2="{chance}" y1="{y - 7}" y2="{y + 7}" {_RULE} stroke-width="2"/>'
            f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="5" opacity=".35"/>'
            f'<circle cx="{value}" cy="{y}" r="4.5" fill="{color}"/>'
            f'<text x="{_WIDTH - 2}" y="{y + 4}" text-anchor="end" {_FONT} font-weight="600">'
            f"{direction.mean_average_precision:.3f}</text></g>"
        )
    return _picture("MAP of each task with its 95 % interval", frame.top + frame.height + 8, parts)


def draw_curves(directions: Sequence[Direction]) -> Markup:
    """Draw precision at each recall, one line per gallery of one query medium."""
    frame = _Frame(left=34.0, top=10.0, width=_WIDTH - 90.0, height=190.0)
    parts = [_draw_vertical_grid(frame, labels_below=True), _draw_horizontal_grid(frame)]
    ends: list[tuple[float, Direction]] = []
    for direction in directions:
        points = [
            f"{frame.x(recall)},{frame.y(precision)}"
            for recall, precision in zip(RECALL_LEVELS, direction.precision_at_recall, strict=True)
        ]
        color, dash = (
            _get_color(direction.gallery_medium),
            "" if direction.gallery_medium else ' stroke-dasharray="5 3"',
        )
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="2"{dash}>'
            f"<title>{direction.name}</title></polyline>"
        )
        ends.append((frame.y(direction.precision_at_recall[-1]), direction))
    for y, direction in _spread_labels(ends, least=14.0, lowest=frame.top + frame.height):
        color = _get_color(direction.gallery_medium)
        x = frame.left + frame.width + 6
        parts.append(f'<text x="{x}" y="{y + 4}" fill="{color}" {_FONT}>{format_symbol(direction.name)}</text>')
    parts.append(_label_axis(frame, "recall"))
    return _picture("Precision at each recall", frame.top + frame.height + 36, parts)


def draw_calibration(calibrations: Sequence[tuple[str, Medium, Reliability]]) -> Markup:
    """Draw the share of correct best hits at each score; on the diagonal a score is a probability."""
    frame = _Frame(left=34.0, top=10.0, width=_WIDTH - 48.0, height=230.0)
    parts = [
        _draw_vertical_grid(frame, labels_below=True),
        _draw_horizontal_grid(frame),
        f'<line x1="{frame.x(0.0)}" y1="{frame.y(0.0)}" x2="{frame.x(1.0)}" y2="{frame.y(1.0)}" {_RULE}/>',
    ]
    for name, medium, calibration in calibrations:
        points = " ".join(f"{frame.x(b.stated)},{frame.y(b.true_share)}" for b in calibration.bins)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{_get_color(medium)}" stroke-width="2">'
            f"<title>{escape(name)}</title></polyline>"
        )
        parts += [
            f'<circle cx="{frame.x(b.stated)}" cy="{frame.y(b.true_share)}" r="3" fill="{_get_color(medium)}">'
            f"<title>{escape(name)}: score {b.stated:.2f}, {b.true_share:.0%} of {b.count} correct</title></circle>"
            for b in calibration.bins
        ]
    parts.append(_label_axis(frame, "score of the best hit"))
    return _picture("Share of best hits that are correct, by score", frame.top + frame.height + 36, parts)


def _spread_labels(
    ends: list[tuple[float, Direction]], *, least: float, lowest: float
) -> list[tuple[float, Direction]]:
    """Move labels apart so that none covers another and none is below the frame."""
    placed: list[tuple[float, Direction]] = []
    for y, direction in sorted(ends, key=lambda end: end[0]):
        placed.append((max(y, placed[-1][0] + least) if placed else y, direction))
    for index in range(len(placed) - 1, -1, -1):
        limit = lowest if index == len(placed) - 1 else placed[index + 1][0] - least
        placed[index] = (min(placed[index][0], limit), placed[index][1])
    return placed


def _draw_vertical_grid(frame: _Frame, *, labels_below: bool = False) -> str:
    lines = []
    for step in range(6):
        x, y = frame.x(step / 5), frame.top + frame.height + 15 if labels_below else frame.top - 8
        lines.append(
            f'<line x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.top + frame.height}" {_LINE}/>'
            f'<text x="{x}" y="{y}" text-anchor="middle" {_FONT} {_SMALL}>{step / 5:g}</text>'
        )
    return "".join(lines)


def _draw_horizontal_grid(frame: _Frame) -> str:
    lines = []
    for step in range(6):
        y = frame.y(step / 5)
        lines.append(
            f'<line x1="{frame.left}" x2="{frame.left + frame.width}" y1="{y}" y2="{y}" {_LINE}/>'
            f'<text x="{frame.left - 6}" y="{y + 4}" text-anchor="end" {_FONT} {_SMALL}>{step / 5:g}</text>'
        )
    return "".join(lines)


def _label_axis(frame: _Frame, text: str) -> str:
    x, y = frame.left + frame.width / 2, frame.top + frame.height + 32
    return f'<text x="{x}" y="{y}" text-anchor="middle" {_FONT} {_SMALL}>{escape(text)}</text>'


def _picture(title: str, height: float, parts: Sequence[str]) -> Markup:
    return Markup(  # noqa: S704 - the parts are numbers, colors and escaped titles
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
