"""Draw one invented bird: outlines, a pen, and the figure in a pose."""

from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
from jaxtyping import Complex, Float
from PIL import ImageDraw

from fieldmark.datasets.aviary.species import COLORS, COUNTS, Color, Plumage

Outline = Complex[np.ndarray, " point"]
DARK, _PALE = (52, 42, 38), (240, 236, 226)
_DULL = (148, 126, 102)

# ---------------------------------------------------------------- shapes; one body length is 1, x to the bill, y down


def make_outline(*pairs: tuple[float, float]) -> Outline:
    """Return an outline through the given points."""
    return np.array([complex(x, y) for x, y in pairs])


def make_curve(corners: str, *, closed: bool = True, steps: int = 6) -> Outline:
    """Return a Catmull-Rom curve through corners written as "x y, x y"."""
    through = make_outline(*((float(x), float(y)) for x, y in (corner.split() for corner in corners.split(","))))
    ends = (through[-1:], through[:2]) if closed else (through[:1], through[-1:])
    u = np.linspace(0, 1, steps, endpoint=False)
    weights = np.stack([-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2]) / 2
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([ends[0], through, ends[1]]), 4)
    smooth: Outline = (windows @ weights).ravel()
    return smooth if closed else np.append(smooth, through[-1])


make_line = partial(make_curve, closed=False)

_BODY = make_curve("-.56 .02,-.34 -.14,-.05 -.25,.20 -.34,.42 -.30,.50 -.08,.47 .12,.32 .29,.06 .35,-.22 .27,-.44 .13")
_BREAST_OUTER, _BELLY_OUTER = _BODY[18:49], _BODY[48:66]
_BREAST_INNER = make_line(".24 -.26, .27 -.05, .20 .10, .08 .20")
_BELLY_INNER = make_line(".10 .18, -.12 .14, -.36 .08")
_WING = make_curve(".03 -.05, .00 .12, -.17 .24, -.47 .23, -.93 .15, -.61 .01, -.17 -.13")
_WING_BARS = (make_line("-.05 -.08, -.08 .08, -.17 .22"), make_line("-.21 -.11, -.27 .06, -.35 .22"))
_QUILLS = (make_line("-.25 .22, -.80 .15"), make_line("-.22 .14, -.80 .12"), make_line("-.25 .06, -.70 .07"))
_HEAD = make_curve(".22 .02, .17 -.13, .03 -.22, -.13 -.18, -.21 -.02, -.17 .16, .04 .22")
_CAP = make_curve(".21 -.03, .18 -.14, .03 -.23, -.14 -.19, -.23 -.01, -.21 .07, -.04 -.05")
_CREST = make_curve(".10 -.20, -.04 -.34, -.30 -.46, -.20 -.28, -.36 -.27, -.20 -.10")
_THROAT = make_curve(".21 .07, .04 .08, -.10 .20, .06 .23")
_MASK = make_curve(".21 .0, .08 -.07, -.18 -.02, -.20 .07, .06 .06")
_BROW = make_line(".20 -.05, .06 -.10, -.20 -.02")
_BILLS = {
    "conical": (make_line(".17 -.08, .30 -.05, .42 .05"), make_line(".17 .13, .28 .11")),
    "thin": (make_line(".19 -.01, .32 .005, .46 .03"), make_line(".19 .065, .32 .05")),
    "hooked": (make_line(".18 -.07, .38 -.07, .48 .0, .46 .12, .42 .04"), make_line(".18 .09, .36 .08")),
    "curved": (make_line(".19 -.03, .42 .0, .60 .10, .70 .26"), make_line(".19 .07, .42 .08, .56 .15")),
    "dagger": (make_line(".18 -.05, .45 -.01, .82 .05"), make_line(".18 .10, .45 .085")),
}
_SHOULDER = complex(0.21, -0.09)
_NECK = make_line(".30 -.16, .40 -.34, .44 -.56, .47 -.74")
TAIL_LENGTHS = {"short": 0.22, "medium": 0.50, "long": 0.98}


def blend(color: Color, other: Color, share: float) -> Color:
    """Mix a share of another color into a color."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(color, other, strict=True))
    return red, green, blue


@final
@dataclass(frozen=True, slots=True)
class Pen:
    """A pen that draws in body lengths from an origin; the complex factor `turn` scales to pixels and rotates."""

    draw: ImageDraw.ImageDraw
    origin: complex
    turn: complex
    facing: float
    tint: Float[np.ndarray, " channel"]

    def move_to(self, point: complex, *, angle: float) -> "Pen":
        """Return a pen with its origin at a point, turned by an angle."""
        return replace(self, origin=self._placed(np.array([point]))[0], turn=self.turn * np.exp(1j * angle))

    def fill(self, outline: Outline, color: Color) -> None:
        """Fill an outline."""
        self.draw.polygon(self._placed(outline).view(np.float64).tolist(), fill=self._ink(color))

    def stroke(self, outline: Outline, color: Color, *, width: float) -> None:
        """Draw a line; its width is a share of the body length."""
        pixels = max(1, round(width * abs(self.turn)))
        placed = self._placed(outline).view(np.float64).tolist()
        self.draw.line(placed, fill=self._ink(color), width=pixels, joint="curve")

    def dot(self, point: complex, color: Color, *, radius: float) -> None:
        """Draw a disc."""
        corner = radius * abs(self.turn) * complex(1, 1)
        corners = self._placed(np.array([point])) + np.array([-corner, corner])
        self.draw.ellipse(corners.view(np.float64).tolist(), fill=self._ink(color))

    def _placed(self, outline: Outline) -> Outline:
        turned = outline * self.turn
        placed: Outline = self.origin + self.facing * turned.real + 1j * turned.imag
        return placed

    def _ink(self, color: Color) -> tuple[int, int, int]:
        red, green, blue = np.clip(np.array(color) * self.tint, 0, 255).astype(int).tolist()
        return red, green, blue


# ---------------------------------------------------------------- one bird


@dataclass(frozen=True, slots=True)
class Pose:
    """The pose of a bird in one frame; angles in radians, those of head, tail and wing relative to the body.

    Args:
        shift: From its position on the perch, in body lengths, right and down.
        tilt: Angle of the body against that of its build at rest; negative lifts the head.
        head: Angle of the head against level.
        gape: How far the bill is open, 0 to 1.
        facing: 1 to the right, -1 to the left; between, while it turns.
    """

    shift: complex = 0j
    tilt: float = 0.0
    head: float = 0.0
    tail: float = 0.0
    wing: float = 0.0
    gape: float = 0.0
    facing: float = 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The proportions of a build, in body lengths.

    Args:
        standing: Height of the body's middle over the feet.
        girth: Height of the body as a share of the compact one's.
        head: Where the head sits on the body.
        tilt: Angle of the body at rest; negative lifts the head.
    """

    standing: float
    girth: float
    head: complex
    tilt: float


SHAPES: dict[str, Shape] = {
    "compact": Shape(standing=0.62, girth=1.0, head=complex(0.37, -0.33), tilt=-0.42),
    "slender": Shape(standing=0.58, girth=0.76, head=complex(0.44, -0.25), tilt=-0.22),
    "upright": Shape(standing=0.60, girth=0.88, head=complex(0.42, -0.28), tilt=-0.95),
    "long_legged": Shape(standing=0.98, girth=0.86, head=complex(0.50, -0.80), tilt=-0.16),
}


@dataclass(frozen=True, slots=True)
class Bird:
    """One individual of a species.

    Args:
        wash: How far its colors are toned down to brown, 0 to 1; more so in females.
        girth: Its own, as a share of its build's.
        speckle_seed: Where the spots and streaks of its breast lie.
    """

    plumage: Plumage
    wash: float = 0.0
    girth: float = 1.0
    speckle_seed: int = 0

    @property
    def shape(self) -> Shape:
        """The proportions of its build at its own girth."""
        shape = SHAPES[self.plumage.build]
        return replace(shape, girth=shape.girth * self.girth)

    def get_color(self, mark: str) -> Color:
        """Return the color of a part by its mark."""
        color = COLORS[getattr(self.plumage, mark)]
        return color if mark in {"bill_color", "leg_color"} else blend(color, _DULL, self.wash)


def _draw_tail(pen: Pen, bird: Bird, pose: Pose) -> None:
    length, color = TAIL_LENGTHS[bird.plumage.tail_length], blend(bird.get_color("back_color"), DARK, 0.45)
    tail = pen.move_to(complex(-0.42, 0.04), angle=pose.tail)
    end = -0.12 - length
    tail.fill(make_outline((0.1, -0.11), (end, -0.07), (end - 0.06, 0.0), (end + 0.02, 0.08), (0.1, 0.12)), color)
    for y in (-0.03, 0.03):
        tail.stroke(make_outline((0.0, y), (end, y)), blend(color, DARK, 0.5), width=0.014)


def _draw_body(pen: Pen, bird: Bird) -> None:
    outer, inner, belly = (_squeezed(each, bird) for each in (_BREAST_OUTER, _BREAST_INNER, _BELLY_OUTER))
    pen.fill(_squeezed(_BODY, bird), bird.get_color("back_color"))
    pen.fill(np.concatenate([belly, _squeezed(_BELLY_INNER[::-1], bird), inner[-1:]]), bird.get_color("belly_color"))
    pen.fill(np.concatenate([outer, inner[::-1]]), bird.get_color("breast_color"))
    pattern = bird.plumage.breast_pattern
    if pattern == "banded":
        pen.fill(np.concatenate([outer[13:19], inner[9:5:-1]]), DARK)
    outer, inner = outer[8:30:3], inner[[3, 5, 7, 9, 11, 13, 15, 17]]
    spots = outer + np.array([[0.12], [0.37], [0.62], [0.87]]) * (inner - outer)
    for spot in (spots + np.random.default_rng(bird.speckle_seed).normal(0, 0.013, spots.shape)).ravel():
        if pattern == "streaked":
            pen.stroke(np.array([spot, spot + complex(-0.075, 0.05)]), DARK, width=0.024)
        elif pattern == "spotted":
            pen.dot(spot, DARK, radius=0.021)


def _squeezed(outline: Outline, bird: Bird) -> Outline:
    """Scale an outline of the compact body to the girth of the bird."""
    squeezed: Outline = outline.real + 1j * bird.shape.girth * outline.imag
    return squeezed


def _draw_neck(pen: Pen, bird: Bird) -> None:
    """Draw the neck of a long-legged bird; other birds have none."""
    if bird.plumage.build == "long_legged":
        back, breast = bird.get_color("back_color"), bird.get_color("breast_color")
        pen.stroke(_NECK, blend(back, breast, 0.45), width=0.23)
        pen.stroke(_NECK + complex(0.045, 0.02), breast, width=0.12)
        pen.dot(_NECK[0], breast, radius=0.14)


def _draw_wing(pen: Pen, bird: Bird) -> None:
    """Draw the folded wing; the pen's origin is the shoulder."""
    color = blend(bird.get_color("back_color"), DARK, 0.30)
    pen.fill(_squeezed(_WING, bird), color)
    for quill in _QUILLS:
        pen.stroke(_squeezed(quill, bird), blend(color, DARK, 0.55), width=0.016)
    for bar in _WING_BARS[: COUNTS[bird.plumage.wing_bars]]:
        pen.stroke(_squeezed(bar, bird), _PALE, width=0.052)


def _draw_head(pen: Pen, bird: Bird, pose: Pose) -> None:
    plumage, crown, breast, bill = (
        bird.plumage,
        *(bird.get_color(f"{part}_color") for part in ("crown", "breast", "bill")),
    )
    upper, lower = _BILLS[plumage.bill_shape]
    for angle, color in ((0.32 * pose.gape, blend(bill, DARK, 0.3)), (-0.10 * pose.gape, bill)):
        pen.fill(np.concatenate([upper, lower[::-1]]) * np.exp(1j * angle), color)
    if plumage.crest == "crested":
        pen.fill(_CREST, crown)
    pen.fill(_HEAD, blend(bird.get_color("back_color"), breast, 0.45))
    pen.fill(_THROAT, breast)
    pen.fill(_CAP, crown)
    eye = complex(0.085, -0.015)
    if plumage.face == "masked":
        pen.fill(_MASK, COLORS["black"])
    if plumage.face == "browed":
        # A dark rim keeps a pale brow, and below a pale ring, visible on a pale crown.
        pen.stroke(_BROW, DARK, width=0.085)
        pen.stroke(_BROW, _PALE, width=0.058)
    if plumage.eye_ring != "none":
        pen.dot(eye, DARK, radius=0.088)
        pen.dot(eye, COLORS[plumage.eye_ring], radius=0.075)
    pen.dot(eye, (20, 16, 16), radius=0.048)
    pen.dot(eye + complex(0.014, -0.018), (250, 250, 250), radius=0.015)


def _draw_leg(pen: Pen, *, hip: complex, foot: complex, color: Color) -> None:
    knee = (hip + foot) / 2 + complex(-0.07, 0.02)
    pen.stroke(np.array([hip, knee, foot]), color, width=0.034)
    for toe in (complex(0.11, 0.025), complex(0.05, 0.045), complex(-0.09, 0.03)):
        pen.stroke(np.array([foot, foot + toe]), color, width=0.03)


def draw_figure(pen: Pen, bird: Bird, pose: Pose) -> None:
    """Draw the whole bird; the pen's origin is the point it stands on."""
    height, shape, leg_color = pose.shift.imag, bird.shape, bird.get_color("leg_color")
    hips, feet = height - shape.standing + 0.22, min(0.0, height)
    body = pen.move_to(complex(0, height - shape.standing), angle=shape.tilt + pose.tilt)
    _draw_tail(body, bird, pose)
    for x, color in ((0.10, blend(leg_color, DARK, 0.35)), (-0.04, leg_color)):
        _draw_leg(pen, hip=complex(x - 0.04, hips), foot=complex(x, feet), color=color)
    _draw_neck(body, bird)
    _draw_body(body, bird)
    # The head keeps its own angle against the ground, however the body is held.
    _draw_head(body.move_to(shape.head, angle=pose.head + SHAPES["compact"].tilt - shape.tilt), bird, pose)
    _draw_wing(body.move_to(complex(_SHOULDER.real, _SHOULDER.imag * shape.girth), angle=pose.wing), bird)
