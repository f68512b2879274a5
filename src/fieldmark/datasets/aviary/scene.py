"""Draw photos and clips of an invented bird: background, light and lens."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from fieldmark.datasets.aviary.figure import (
    DARK,
    TAIL_LENGTHS,
    Bird,
    Outline,
    Pen,
    Pose,
    blend,
    draw_figure,
    make_curve,
    make_line,
    make_outline,
)
from fieldmark.datasets.aviary.species import Color, Plumage

FRAMES_PER_SECOND = 8

_MOVEMENTS = ("bob", "hop", "turn", "flick", "sing")
_MOUND = make_line("-3 .9, -1.2 .10, 0 .02, 1.2 .12, 3 .9")
_LEAF = make_curve("-.24 0, -.10 -.09, .10 -.08, .26 0, .10 .08, -.10 .09")
_POND = make_outline((-4.0, 0.02), (4.0, 0.02), (4.0, 0.75), (-4.0, 0.75))

Frames = UInt8[np.ndarray, "frame height width channel"]


@dataclass(frozen=True, slots=True)
class _Scene:
    """One sighting of one individual: bird, background, light and lens.

    Args:
        stand: Where the bird stands, as shares of the picture's side, y down.
        scale: Body length as a share of the side.
        tint: What the light does to red, green and blue.
        blur: Radius as a share of the side.
        noise: Standard deviation in gray levels.
    """

    backdrop: Image.Image
    bird: Bird
    stand: complex
    scale: float
    slope: float
    on_branch: bool
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
    """Paint the background from sky to undergrowth, out of focus."""
    top, middle, bottom = _PLACES[rng.integers(len(_PLACES))]
    rows = np.stack([np.interp(range(40), (0, 20, 39), tones) for tones in zip(top, middle, bottom, strict=True)], 1)
    small = Image.fromarray(np.repeat(rows[:, None], 40, axis=1).astype(np.uint8))
    draw = ImageDraw.Draw(small)
    for _ in range(16):
        x, y, radius = rng.uniform(-4, 44), 40 * rng.beta(2, 1.2), rng.uniform(1.5, 6)
        color = blend(blend(middle, bottom, rng.random()), top, 0.5 * rng.random())
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    return small.filter(ImageFilter.GaussianBlur(1.2)).resize((side, side), Image.Resampling.BICUBIC)


def _compose_scene(bird: Bird, side: int, difficulty: float, rng: Generator) -> _Scene:
    spread = 0.25 + 0.75 * difficulty
    is_wader = bird.plumage.build == "long_legged"
    leaf_count = rng.binomial(2, 0.45 * difficulty)
    leaves = rng.uniform((-0.9, -1.1, 0), (0.6, 0.1, np.pi), (leaf_count, 3))
    return _Scene(
        backdrop=_paint_backdrop(side, rng),
        bird=bird,
        stand=complex(0.5 + rng.uniform(-0.05, 0.05) * spread, 0.84 + rng.uniform(-0.05, 0.04) * spread),
        scale=(0.36 if is_wader else 0.43) * (1 + rng.uniform(-0.22, 0.12) * spread),
        slope=rng.uniform(-0.12, 0.12),
        on_branch=bool(rng.random() < 0.7) and not is_wader,
        tint=1 + rng.normal(0, 0.13 * spread) + rng.normal(0, 0.05 * spread, 3),
        leaves=tuple((complex(x, y), angle) for x, y, angle in leaves),
        blur=0.006 * difficulty * rng.random(),
        noise=9 * difficulty * rng.random(),
    )


def _draw_perch(pen: Pen, scene: _Scene) -> None:
    if scene.bird.plumage.build == "long_legged":
        pen.fill(_POND, (120, 146, 158))
        for left, y in ((-1.1, 0.10), (0.3, 0.16), (-0.4, 0.26), (0.9, 0.30)):
            pen.stroke(make_outline((left, y), (left + 0.7, y)), (168, 188, 194), width=0.018)
        return
    if not scene.on_branch:
        pen.fill(_MOUND, (104, 100, 92))
        return
    bark, slope, x = (96, 76, 58), scene.slope, np.linspace(-3, 3, 7)
    branch: Outline = x + 1j * (0.10 + slope * x + 0.015 * np.cos(3 * x))
    pen.stroke(branch, bark, width=0.16)
    pen.stroke(branch + 0.03j, blend(bark, DARK, 0.5), width=0.03)
    for root, tip in ((0.7, complex(1.15, -0.5)), (-0.9, complex(-1.2, 0.65))):
        pen.stroke(np.array([complex(root, 0.1 + slope * root), tip]), bark, width=0.05)
        _draw_leaf(pen.move_to(tip, angle=root), (96, 134, 62))


def _draw_leaf(pen: Pen, color: Color) -> None:
    pen.fill(_LEAF, color)
    pen.stroke(make_outline((-0.3, 0.0), (0.32, 0.0)), blend(color, DARK, 0.35), width=0.016)


def _render(pose: Pose, scene: _Scene, *, sharpness: int, rng: Generator) -> Image.Image:
    """Render one picture of the scene, drawn at `sharpness` times its size."""
    large = scene.backdrop.width * sharpness
    canvas = Image.new("RGBA", (large, large))
    origin, length = scene.stand * large, complex(scene.scale * large)
    ground = Pen(
        ImageDraw.Draw(canvas), origin=origin, turn=length, facing=float(np.sign(scene.slope)), tint=scene.tint
    )
    _draw_perch(ground, scene)
    # A long tail needs room behind the bird, a long bill before it.
    room = 0.45 * TAIL_LENGTHS[scene.bird.plumage.tail_length] - 0.25
    position = origin + (pose.shift.real + pose.facing * room) * length
    draw_figure(replace(ground, origin=position, facing=pose.facing), scene.bird, pose)
    for leaf, angle in scene.leaves:
        spray = ground.move_to(leaf, angle=angle)
        spray.stroke(make_outline((-4.0, 0.3), (-1.0, 0.06), (-0.2, 0.0)), (88, 84, 52), width=0.018)
        _draw_leaf(spray, (84, 126, 56))
    return _expose(canvas.reduce(sharpness), scene, rng)


def _expose(layer: Image.Image, scene: _Scene, rng: Generator) -> Image.Image:
    """Return the drawn layer lit from above, in front of the background, through the lens of the scene."""
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


def create_individual(plumage: Plumage, *, is_female: bool, difficulty: float, rng: Generator) -> Bird:
    """Create a random individual: females are duller, and girth and speckles vary."""
    spread = 0.3 + 0.7 * difficulty
    wash = (0.34 if is_female else 0.06) * spread * (0.7 + 0.6 * rng.random())
    girth = 1 + float(np.clip(rng.normal(0, 0.05), -0.12, 0.12)) * spread
    return Bird(plumage, wash=wash, girth=girth, speckle_seed=int(rng.integers(2**32)))


def draw_bird(bird: Bird, *, side_pixels: int, difficulty: float, rng: Generator) -> Image.Image:
    """Draw a picture of one individual, in RGB.

    Args:
        difficulty: 0 to 1; how far pose, light, tint, lens and leaves stray.
    """
    scene = _compose_scene(bird, side_pixels, difficulty, rng)
    spread = 0.3 + 0.7 * difficulty
    pose = Pose(
        tilt=rng.normal(0, 0.16) * spread,
        head=0.34 + rng.normal(0, 0.16) * spread,
        tail=rng.normal(0, 0.15) * spread,
        gape=float(rng.random() < 0.2) * rng.random(),
        facing=float(rng.choice([-1.0, 1.0])),
    )
    return _render(pose, scene, sharpness=3, rng=rng)


def draw_clip(bird: Bird, *, side_pixels: int, difficulty: float, rng: Generator) -> Frames:
    """Draw the frames of 1.5 to 2 seconds of a moving individual; `difficulty` as for `draw_bird`."""
    scene = _compose_scene(bird, side_pixels, difficulty, rng)
    poses = _choose_poses(int(rng.integers(12, 17)), difficulty, rng)
    return np.stack([np.asarray(_render(pose, scene, sharpness=2, rng=rng)) for pose in poses])


def _choose_poses(frame_count: int, difficulty: float, rng: Generator) -> list[Pose]:
    """Return a pose for each frame, from two or three combined movements."""
    chosen = set(rng.permutation(_MOVEMENTS)[: rng.integers(2, 4)].tolist())
    bobs, hops, turns, flicks, sings = (float(name in chosen) for name in _MOVEMENTS)
    facing, direction = rng.choice([-1.0, 1.0], 2)
    tilt = rng.normal(0, 0.16) * (0.3 + 0.7 * difficulty) - 0.12 * sings
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
