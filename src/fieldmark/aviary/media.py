"""The synthetic aviary's drawing and singing: field marks to pictures, clips and songs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
from jaxtyping import Complex, Float, Float32, UInt8
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

RATE_HZ, FRAMES_PER_SECOND = 22_050, 8

Color = tuple[int, int, int]
Outline = Complex[np.ndarray, " point"]
Frames = UInt8[np.ndarray, "frame height width channel"]
Wave = Float[np.ndarray, " time"]

COLORS: dict[str, Color] = {
    "black": (36, 34, 38), "white": (246, 244, 236), "rufous": (178, 82, 36), "yellow": (242, 204, 48),
    "red": (204, 38, 42), "blue": (62, 124, 208), "brown": (116, 80, 50), "gray": (126, 132, 140),
    "green": (74, 128, 66), "navy": (44, 58, 112), "sandy": (206, 174, 122), "orange": (238, 134, 38),
    "buff": (224, 192, 144), "rose": (232, 130, 148), "horn": (166, 160, 150),
}  # fmt: skip
_DARK, _PALE = (52, 42, 38), (240, 236, 226)


@dataclass(frozen=True, slots=True)
class Plumage:
    """The field marks an eye can see; each value is one of those that `aviary.WORDS` lists under its name."""

    bill_shape: str
    bill_color: str
    crest: str
    crown_color: str
    face: str
    eye_ring: str
    back_color: str
    wing_bars: str
    breast_color: str
    breast_pattern: str
    belly_color: str
    tail_length: str
    leg_color: str


@dataclass(frozen=True, slots=True)
class Song:
    """The field marks an ear can hear: two syllables make a phrase, sung so many times."""

    opening: str
    ending: str
    pitch: str
    tempo: str
    phrases: str


# ---------------------------------------------------------------- shapes; one body length is 1, x to the bill, y down


def _points(*pairs: tuple[float, float]) -> Outline:
    return np.array([complex(x, y) for x, y in pairs])


def _curve(corners: str, *, closed: bool = True, steps: int = 6) -> Outline:
    """A Catmull-Rom curve through corners written as in SVG: x and y apart by a space, corners by a comma."""
    through = _points(*((float(x), float(y)) for x, y in (corner.split() for corner in corners.split(","))))
    ends = (through[-1:], through[:2]) if closed else (through[:1], through[-1:])
    u = np.linspace(0, 1, steps, endpoint=False)
    weights = np.stack([-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2]) / 2
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([ends[0], through, ends[1]]), 4)
    curve: Outline = (windows @ weights).ravel()
    return curve if closed else np.append(curve, through[-1])


_line = partial(_curve, closed=False)

_BODY = _curve("-.56 .02,-.34 -.14,-.05 -.25,.20 -.34,.42 -.30,.50 -.08,.47 .12,.32 .29,.06 .35,-.22 .27,-.44 .13")
_BREAST_OUTER, _BELLY_OUTER = _BODY[18:49], _BODY[48:66]
_BREAST_INNER = _line(".24 -.26, .27 -.05, .20 .10, .08 .20")
_BELLY_INNER = _line(".10 .18, -.12 .14, -.36 .08")
_WING = _curve(".03 -.05, .00 .12, -.17 .24, -.47 .23, -.93 .15, -.61 .01, -.17 -.13")
_WING_BARS = (_line("-.05 -.08, -.08 .08, -.17 .22"), _line("-.21 -.11, -.27 .06, -.35 .22"))
_QUILLS = (_line("-.25 .22, -.80 .15"), _line("-.22 .14, -.80 .12"), _line("-.25 .06, -.70 .07"))
_HEAD = _curve(".22 .02, .17 -.13, .03 -.22, -.13 -.18, -.21 -.02, -.17 .16, .04 .22")
_CAP = _curve(".21 -.03, .18 -.14, .03 -.23, -.14 -.19, -.23 -.01, -.21 .07, -.04 -.05")
_CREST = _curve(".10 -.20, -.04 -.34, -.30 -.46, -.20 -.28, -.36 -.27, -.20 -.10")
_THROAT = _curve(".21 .07, .04 .08, -.10 .20, .06 .23")
_MASK = _curve(".21 .0, .08 -.07, -.18 -.02, -.20 .07, .06 .06")
_BROW = _line(".20 -.05, .06 -.10, -.20 -.02")
_MOUND = _line("-3 .9, -1.2 .10, 0 .02, 1.2 .12, 3 .9")
_LEAF = _curve("-.24 0, -.10 -.09, .10 -.08, .26 0, .10 .08, -.10 .09")
_BILLS = {
    "conical": (_line(".17 -.08, .30 -.05, .42 .05"), _line(".17 .13, .28 .11")),
    "thin": (_line(".19 -.01, .32 .005, .46 .03"), _line(".19 .065, .32 .05")),
    "hooked": (_line(".18 -.07, .38 -.07, .48 .0, .46 .12, .42 .04"), _line(".18 .09, .36 .08")),
    "curved": (_line(".19 -.03, .42 .0, .60 .10, .70 .26"), _line(".19 .07, .42 .08, .56 .15")),
    "dagger": (_line(".18 -.05, .45 -.01, .82 .05"), _line(".18 .10, .45 .085")),
}
_STANDING, _SHOULDER = 0.62, complex(0.21, -0.09)
_TAIL_LENGTHS = {"short": 0.22, "medium": 0.50, "long": 0.98}
_MOVEMENTS = ("bob", "hop", "turn", "flick", "sing")
_COUNTS = {"none": 0, "one": 1, "two": 2, "once": 1, "twice": 2, "thrice": 3}


def _blend(color: Color, other: Color, share: float) -> Color:
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(color, other, strict=True))
    return red, green, blue


@final
@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws in body lengths from an origin on the canvas; the complex factor `turn` scales to pixels and rotates."""

    draw: ImageDraw.ImageDraw
    origin: complex
    turn: complex
    facing: float
    tint: Float[np.ndarray, " channel"]

    def at(self, place: complex, *, angle: float) -> "_Pen":
        """A pen whose origin is a place of this one, turned by an angle."""
        return replace(self, origin=self._placed(np.array([place]))[0], turn=self.turn * np.exp(1j * angle))

    def fill(self, points: Outline, color: Color) -> None:
        self.draw.polygon(self._placed(points).view(np.float64).tolist(), fill=self._ink(color))

    def stroke(self, points: Outline, color: Color, *, width: float) -> None:
        pixels = max(1, round(width * abs(self.turn)))
        placed = self._placed(points).view(np.float64).tolist()
        self.draw.line(placed, fill=self._ink(color), width=pixels, joint="curve")

    def dot(self, place: complex, color: Color, *, radius: float) -> None:
        corner = radius * abs(self.turn) * complex(1, 1)
        corners = self._placed(np.array([place])) + np.array([-corner, corner])
        self.draw.ellipse(corners.view(np.float64).tolist(), fill=self._ink(color))

    def _placed(self, points: Outline) -> Outline:
        turned = points * self.turn
        placed: Outline = self.origin + self.facing * turned.real + 1j * turned.imag
        return placed

    def _ink(self, color: Color) -> tuple[int, int, int]:
        red, green, blue = np.clip(np.array(color) * self.tint, 0, 255).astype(int).tolist()
        return red, green, blue


# ---------------------------------------------------------------- one bird


@dataclass(frozen=True, slots=True)
class Pose:
    """How a bird holds itself in one frame; angles in radians, those of head, tail and wing against the body.

    Args:
        shift: From its place on the perch, in body lengths, right and down.
        tilt: Angle of the body; negative lifts the head.
        gape: How far the bill is open, 0 to 1.
        facing: 1 to the right, -1 to the left; between, while it turns.
    """

    shift: complex = 0j
    tilt: float = -0.4
    head: float = 0.3
    tail: float = 0.0
    wing: float = 0.0
    gape: float = 0.0
    facing: float = 1.0


def _draw_tail(pen: _Pen, plumage: Plumage, pose: Pose) -> None:
    length, color = _TAIL_LENGTHS[plumage.tail_length], _blend(COLORS[plumage.back_color], _DARK, 0.45)
    tail = pen.at(complex(-0.42, 0.04), angle=pose.tail)
    end = -0.12 - length
    tail.fill(_points((0.1, -0.11), (end, -0.07), (end - 0.06, 0.0), (end + 0.02, 0.08), (0.1, 0.12)), color)
    for y in (-0.03, 0.03):
        tail.stroke(_points((0.0, y), (end, y)), _blend(color, _DARK, 0.5), width=0.014)


def _draw_body(pen: _Pen, plumage: Plumage, speckle_seed: int) -> None:
    pen.fill(_BODY, COLORS[plumage.back_color])
    pen.fill(np.concatenate([_BELLY_OUTER, _BELLY_INNER[::-1], _BREAST_INNER[-1:]]), COLORS[plumage.belly_color])
    pen.fill(np.concatenate([_BREAST_OUTER, _BREAST_INNER[::-1]]), COLORS[plumage.breast_color])
    if plumage.breast_pattern == "banded":
        pen.fill(np.concatenate([_BREAST_OUTER[13:19], _BREAST_INNER[9:5:-1]]), _DARK)
    outer, inner = _BREAST_OUTER[8:30:3], _BREAST_INNER[[3, 5, 7, 9, 11, 13, 15, 17]]
    places = outer + np.array([[0.12], [0.37], [0.62], [0.87]]) * (inner - outer)
    for place in (places + np.random.default_rng(speckle_seed).normal(0, 0.013, places.shape)).ravel():
        if plumage.breast_pattern == "streaked":
            pen.stroke(np.array([place, place + complex(-0.075, 0.05)]), _DARK, width=0.024)
        elif plumage.breast_pattern == "spotted":
            pen.dot(place, _DARK, radius=0.021)


def _draw_wing(pen: _Pen, plumage: Plumage) -> None:
    """The folded wing; the pen's origin is the shoulder."""
    color = _blend(COLORS[plumage.back_color], _DARK, 0.30)
    pen.fill(_WING, color)
    for quill in _QUILLS:
        pen.stroke(quill, _blend(color, _DARK, 0.55), width=0.016)
    for bar in _WING_BARS[: _COUNTS[plumage.wing_bars]]:
        pen.stroke(bar, _PALE, width=0.052)


def _draw_head(pen: _Pen, plumage: Plumage, pose: Pose) -> None:
    crown, breast, bill = (COLORS[name] for name in (plumage.crown_color, plumage.breast_color, plumage.bill_color))
    upper, lower = _BILLS[plumage.bill_shape]
    for angle, color in ((0.32 * pose.gape, _blend(bill, _DARK, 0.3)), (-0.10 * pose.gape, bill)):
        pen.fill(np.concatenate([upper, lower[::-1]]) * np.exp(1j * angle), color)
    if plumage.crest == "crested":
        pen.fill(_CREST, crown)
    pen.fill(_HEAD, _blend(COLORS[plumage.back_color], breast, 0.45))
    pen.fill(_THROAT, breast)
    pen.fill(_CAP, crown)
    eye = complex(0.085, -0.015)
    if plumage.face == "masked":
        pen.fill(_MASK, COLORS["black"])
    if plumage.face == "browed":
        # A dark rim keeps a pale brow, and below a pale ring, visible on a pale crown.
        pen.stroke(_BROW, _DARK, width=0.085)
        pen.stroke(_BROW, _PALE, width=0.058)
    if plumage.eye_ring != "none":
        pen.dot(eye, _DARK, radius=0.088)
        pen.dot(eye, COLORS[plumage.eye_ring], radius=0.075)
    pen.dot(eye, (20, 16, 16), radius=0.048)
    pen.dot(eye + complex(0.014, -0.018), (250, 250, 250), radius=0.015)


def _draw_leg(pen: _Pen, *, hip: complex, foot: complex, color: Color) -> None:
    knee = (hip + foot) / 2 + complex(-0.07, 0.02)
    pen.stroke(np.array([hip, knee, foot]), color, width=0.034)
    for toe in (complex(0.11, 0.025), complex(0.05, 0.045), complex(-0.09, 0.03)):
        pen.stroke(np.array([foot, foot + toe]), color, width=0.03)


def _draw_figure(pen: _Pen, plumage: Plumage, pose: Pose, speckle_seed: int) -> None:
    """The whole bird; the pen's origin is where it stands."""
    height = pose.shift.imag
    hips, feet, leg_color = height - _STANDING + 0.22, min(0.0, height), COLORS[plumage.leg_color]
    body = pen.at(complex(0, height - _STANDING), angle=pose.tilt)
    _draw_tail(body, plumage, pose)
    for x, color in ((0.10, _blend(leg_color, _DARK, 0.35)), (-0.04, leg_color)):
        _draw_leg(pen, hip=complex(x - 0.04, hips), foot=complex(x, feet), color=color)
    _draw_body(body, plumage, speckle_seed)
    _draw_head(body.at(complex(0.37, -0.33), angle=pose.head), plumage, pose)
    _draw_wing(body.at(_SHOULDER, angle=pose.wing), plumage)


# ---------------------------------------------------------------- where the bird is met


@dataclass(frozen=True, slots=True)
class _Scene:
    """One meeting with one individual: place, light and lens.

    Args:
        stand: Where the bird stands, as shares of the picture's side, y down.
        scale: Body length as a share of the side.
        tint: What the individual and the light do to red, green and blue.
        blur: Radius as a share of the side.
        noise: Standard deviation in gray levels.
    """

    backdrop: Image.Image
    stand: complex
    scale: float
    slope: float
    on_branch: bool
    speckle_seed: int
    tint: Float[np.ndarray, " channel"]
    leaves: tuple[tuple[complex, float], ...]
    blur: float
    noise: float


_PLACES: tuple[tuple[Color, Color, Color], ...] = (
    ((196, 218, 232), (150, 176, 140), (92, 122, 70)),
    ((214, 222, 204), (120, 148, 92), (70, 96, 58)),
    ((232, 214, 180), (176, 150, 104), (120, 104, 68)),
    ((176, 196, 206), (128, 146, 150), (86, 104, 104)),
    ((120, 146, 104), (72, 100, 62), (44, 66, 44)),
)


def _paint_backdrop(side: int, rng: Generator) -> Image.Image:
    """Sky to undergrowth, out of focus."""
    top, middle, bottom = _PLACES[rng.integers(len(_PLACES))]
    rows = np.stack([np.interp(range(40), (0, 20, 39), tones) for tones in zip(top, middle, bottom, strict=True)], 1)
    small = Image.fromarray(np.repeat(rows[:, None], 40, axis=1).astype(np.uint8))
    draw = ImageDraw.Draw(small)
    for _ in range(16):
        x, y, radius = rng.uniform(-4, 44), 40 * rng.beta(2, 1.2), rng.uniform(1.5, 6)
        color = _blend(_blend(middle, bottom, rng.random()), top, 0.5 * rng.random())
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    return small.filter(ImageFilter.GaussianBlur(1.2)).resize((side, side), Image.Resampling.BICUBIC)


def _meet(side: int, difficulty: float, rng: Generator) -> _Scene:
    spread = 0.25 + 0.75 * difficulty
    leaf_count = rng.binomial(2, 0.45 * difficulty)
    leaves = rng.uniform((-0.9, -1.1, 0), (0.6, 0.1, np.pi), (leaf_count, 3))
    return _Scene(
        backdrop=_paint_backdrop(side, rng),
        stand=complex(0.5 + rng.uniform(-0.05, 0.05) * spread, 0.84 + rng.uniform(-0.05, 0.04) * spread),
        scale=0.43 * (1 + rng.uniform(-0.22, 0.12) * spread),
        slope=rng.uniform(-0.12, 0.12),
        on_branch=bool(rng.random() < 0.7),
        speckle_seed=int(rng.integers(2**32)),
        tint=1 + rng.normal(0, 0.13 * spread) + rng.normal(0, 0.05 * spread, 3),
        leaves=tuple((complex(x, y), angle) for x, y, angle in leaves),
        blur=0.006 * difficulty * rng.random(),
        noise=9 * difficulty * rng.random(),
    )


def _draw_perch(pen: _Pen, scene: _Scene) -> None:
    if not scene.on_branch:
        pen.fill(_MOUND, (104, 100, 92))
        return
    bark, slope, x = (96, 76, 58), scene.slope, np.linspace(-3, 3, 7)
    branch: Outline = x + 1j * (0.10 + slope * x + 0.015 * np.cos(3 * x))
    pen.stroke(branch, bark, width=0.16)
    pen.stroke(branch + 0.03j, _blend(bark, _DARK, 0.5), width=0.03)
    for root, tip in ((0.7, complex(1.15, -0.5)), (-0.9, complex(-1.2, 0.65))):
        pen.stroke(np.array([complex(root, 0.1 + slope * root), tip]), bark, width=0.05)
        _draw_leaf(pen.at(tip, angle=root), (96, 134, 62))


def _draw_leaf(pen: _Pen, color: Color) -> None:
    pen.fill(_LEAF, color)
    pen.stroke(_points((-0.3, 0.0), (0.32, 0.0)), _blend(color, _DARK, 0.35), width=0.016)


def _render(plumage: Plumage, pose: Pose, scene: _Scene, *, sharpness: int, rng: Generator) -> Image.Image:
    """One picture of the scene, drawn at `sharpness` times its size."""
    large = scene.backdrop.width * sharpness
    canvas = Image.new("RGBA", (large, large))
    origin, length = scene.stand * large, complex(scene.scale * large)
    ground = _Pen(
        ImageDraw.Draw(canvas), origin=origin, turn=length, facing=float(np.sign(scene.slope)), tint=scene.tint
    )
    _draw_perch(ground, scene)
    # A long tail needs room behind the bird, a long bill before it.
    room = 0.45 * _TAIL_LENGTHS[plumage.tail_length] - 0.25
    place = origin + (pose.shift.real + pose.facing * room) * length
    _draw_figure(replace(ground, origin=place, facing=pose.facing), plumage, pose, scene.speckle_seed)
    for leaf, angle in scene.leaves:
        spray = ground.at(leaf, angle=angle)
        spray.stroke(_points((-4.0, 0.3), (-1.0, 0.06), (-0.2, 0.0)), (88, 84, 52), width=0.018)
        _draw_leaf(spray, (84, 126, 56))
    return _expose(canvas.reduce(sharpness), scene, rng)


def _expose(layer: Image.Image, scene: _Scene, rng: Generator) -> Image.Image:
    """The drawn layer, shaded as if lit from above, before its backdrop, through the scene's lens."""
    side = layer.width
    depth = side // 16
    soft = np.asarray(layer.getchannel("A").filter(ImageFilter.GaussianBlur(side * 0.035)), dtype=np.float32) / 255
    soft = np.pad(soft, ((depth, depth), (0, 0)), mode="edge")
    shade = 1 + 0.38 * (soft[2 * depth :] - soft[: -2 * depth])
    pixels = np.asarray(layer, dtype=np.float32)
    cover = pixels[..., 3:] / 255
    behind = np.asarray(scene.backdrop, dtype=np.float32) * np.float32(scene.tint.mean())
    picture = pixels[..., :3] * shade[..., None] * cover + behind * (1 - cover)
    picture += scene.noise * rng.standard_normal((side, side, 1), dtype=np.float32)
    photo = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return photo.filter(ImageFilter.GaussianBlur(scene.blur * side))


def draw_bird(plumage: Plumage, *, side_pixels: int, difficulty: float, rng: Generator) -> Image.Image:
    """A picture of one individual, in RGB.

    Args:
        difficulty: 0 to 1; how far pose, light, tint, lens and leaves stray.
    """
    scene = _meet(side_pixels, difficulty, rng)
    spread = 0.3 + 0.7 * difficulty
    pose = Pose(
        tilt=-0.42 + rng.normal(0, 0.16) * spread,
        head=0.34 + rng.normal(0, 0.16) * spread,
        tail=rng.normal(0, 0.15) * spread,
        gape=float(rng.random() < 0.2) * rng.random(),
        facing=float(rng.choice([-1.0, 1.0])),
    )
    return _render(plumage, pose, scene, sharpness=3, rng=rng)


def draw_clip(plumage: Plumage, *, side_pixels: int, difficulty: float, rng: Generator) -> Frames:
    """The frames of 1.5 to 2 seconds of one individual that moves; `difficulty` as for `draw_bird`."""
    scene = _meet(side_pixels, difficulty, rng)
    poses = _move(int(rng.integers(12, 17)), difficulty, rng)
    return np.stack([np.asarray(_render(plumage, pose, scene, sharpness=2, rng=rng)) for pose in poses])


def _move(frame_count: int, difficulty: float, rng: Generator) -> list[Pose]:
    """A pose for each frame; two or three of the movements together."""
    chosen = set(rng.permutation(_MOVEMENTS)[: rng.integers(2, 4)].tolist())
    bobs, hops, turns, flicks, sings = (float(name in chosen) for name in _MOVEMENTS)
    facing, direction = rng.choice([-1.0, 1.0], 2)
    tilt = -0.42 + rng.normal(0, 0.16) * (0.3 + 0.7 * difficulty) - 0.12 * sings
    seconds = np.arange(frame_count) / FRAMES_PER_SECOND
    beat = np.sin(2 * np.pi * rng.uniform(1.2, 2.2) * seconds)
    way = hops * np.clip((seconds - rng.uniform(0.2, 0.7)) / 0.5, 0, 1)
    air = 4 * way * (1 - way)
    turn = np.cos(np.pi * turns * np.clip((seconds - rng.uniform(0.5, 1.0)) / 0.3, 0, 1))
    turn = np.copysign(np.maximum(0.4, np.abs(turn)), turn)
    x, y = 0.3 * direction * (way - 0.5 * hops), 0.05 * bobs * np.maximum(0, beat) - 0.22 * air
    return [
        Pose(
            shift=complex(x[i], y[i]),
            tilt=tilt + 0.10 * bobs * beat[i],
            head=0.34 + (0.08 - 0.12 * bobs) * beat[i],
            tail=-0.30 * flicks * max(0.0, beat[i]),
            wing=0.5 * air[i],
            gape=sings * max(0.0, np.sin(22 * seconds[i])),
            facing=facing * turn[i],
        )
        for i in range(frame_count)
    ]


# ---------------------------------------------------------------- one song

_PITCHES_HZ = {"low": 1_700.0, "middle": 2_900.0, "high": 4_900.0}
_TEMPOS = {"slow": 1.3, "steady": 1.0, "fast": 0.62}


def _beat(time: Wave, rate: float) -> Wave:
    """How far each of a row of equal notes has run, 0 to 1."""
    return (rate * time) % 1


# How each syllable's pitch (as a ratio to the song's) and loudness run, over seconds and over the share of its length.
_SYLLABLES: dict[str, Callable[[Wave, Wave], tuple[Wave, Wave]]] = {
    "rising whistle": lambda time, share: (0.70 * 1.95**share, np.ones_like(time)),
    "falling whistle": lambda time, share: (1.36 * 0.51**share, np.ones_like(time)),
    "level whistle": lambda time, _: (1 + 0.008 * np.sin(40 * time), np.ones_like(time)),
    "warble": lambda time, share: (1 + 0.26 * np.sin(8 * np.pi * share), np.ones_like(time)),
    "trill": lambda time, _: (1.16 - 0.32 * _beat(time, 24.0), np.sin(np.pi * _beat(time, 24.0)) ** 1.5),
    "buzz": lambda time, _: (1 + 0.13 * np.sin(723 * time), 0.6 + 0.4 * np.sin(723 * time)),
    "chirps": lambda _, share: (1.6 - _beat(share, 3.0), np.sin(np.pi * _beat(share, 3.0)) ** 2),
    "rattle": lambda time, _: (1 + 0.75 * np.sin(1_400 * time), 1.6 * np.exp(-8 * _beat(time, 17.0))),
}


def _syllable(name: str, *, center_hz: float, seconds: float) -> Wave:
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    share = time / seconds
    ratio, gain = _SYLLABLES[name](time, share)
    phase = 2 * np.pi * np.cumsum(ratio * center_hz) / RATE_HZ
    overtone = 0.15 * np.sin(2 * phase) * (2 * ratio * center_hz < 0.45 * RATE_HZ)
    edge = np.minimum(1, np.minimum(share, 1 - share) * seconds / 0.015)
    sound: Wave = edge * gain * (np.sin(phase) + overtone)
    return sound


def sing(song: Song, *, bout_count: int, difficulty: float, rng: Generator) -> list[Float32[np.ndarray, " time"]]:
    """The bouts of one recording of one individual, each 2 to 3 seconds at `RATE_HZ`.

    Args:
        difficulty: 0 to 1; how far pitch and tempo stray, and how loud the background is.
    """
    spread = 0.25 + 0.75 * difficulty
    center_hz = _PITCHES_HZ[song.pitch] * np.exp(rng.normal(0, 0.06) * spread)
    pace = _TEMPOS[song.tempo] * np.exp(rng.normal(0, 0.07) * spread)
    bouts = [_sing_bout(song, center_hz=center_hz, pace=pace, spread=spread, rng=rng) for _ in range(bout_count)]
    return np.split(_record(np.concatenate(bouts), difficulty, rng), np.cumsum([bout.size for bout in bouts])[:-1])


def _sing_bout(song: Song, *, center_hz: float, pace: float, spread: float, rng: Generator) -> Wave:
    rest, pieces = np.zeros(int(0.05 * pace * RATE_HZ)), []
    for _ in range(_COUNTS[song.phrases]):
        for name in (song.opening, song.ending):
            seconds = 0.25 * pace * np.exp(rng.normal(0, 0.05) * spread)
            pieces += [_syllable(name, center_hz=center_hz, seconds=seconds), rest]
        pieces += [rest, rest]
    voice = np.concatenate(pieces)[: 3 * RATE_HZ]
    # Whole tenths of a second, so that a bout's place in its file is a short decimal.
    silence = int(np.clip(np.ceil(10 * voice.size / RATE_HZ) + 2, 20, 30)) * RATE_HZ // 10 - voice.size
    before = int(rng.integers(0, silence + 1))
    return np.pad(voice, (before, silence - before))


def _record(sound: Wave, difficulty: float, rng: Generator) -> Float32[np.ndarray, " time"]:
    """What a microphone makes of the sound: echo, wind and hiss, a band, a level."""
    fade = np.exp(-14 * np.arange(RATE_HZ // 3) / RATE_HZ)
    echo = rng.normal(size=fade.size) * fade * 0.03 * difficulty * rng.random()
    echo[0] = 1.0
    length = 1 << (sound.size + fade.size).bit_length()
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    spectrum = np.fft.rfft(sound, length) * np.fft.rfft(echo, length)
    hiss = np.fft.rfft(rng.normal(size=length)) / np.sqrt(1 + hz / 500)
    low_hz, high_hz = 500 * rng.random(), 10_500 - 3_000 * rng.random() * difficulty
    band = 1 / (1 + (low_hz / np.maximum(hz, 1)) ** 4) / (1 + (hz / high_hz) ** 8)
    noise_gain = 0.01 + 0.16 * difficulty * rng.random()
    heard = np.fft.irfft((spectrum + noise_gain * hiss) * band, length)[: sound.size]
    level: Float32[np.ndarray, " time"] = (heard / np.abs(heard).max() * rng.uniform(0.4, 0.9)).astype(np.float32)
    return level
