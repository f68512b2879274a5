"""Pictures that show the same: small gray pictures, compared coarsely all with all, then laid over each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

_FINE_SIDE, _COARSE_SIDE, _CANDIDATE_SIDE, _COLOR_SIDE = 48, 16, 12, 8
_PLAIN_LEVELS = 5.0  # a picture with less spread of gray levels is plain, and plain pictures all look alike
_COMPONENTS = _FINE_SIDE**2 + 2 * _COLOR_SIDE**2

# Candidates, by the gray levels of the whole or without a margin of this share, which may be moved by as much.
_MARGIN = 0.06
_MIN_COARSE_SCORE = 0.88

# Measured 2026-11 over 7.5 million pairs of 3,864 photos of birds, laid over each other: four pairs that show the same
# agree in their details by 0.93 or more, the next by 0.52. Edits of photos: 98 of 100 by 0.936 or more.
# Drawn birds of one species in one pose: by at most 0.92, and by at most 0.86 where the whole agrees by 0.96.
_MIN_DETAIL, _MIN_OVERLAY = 0.93, 0.94
_CUT_DETAIL, _CUT_OVERLAY = 0.88, 0.96  # of photos with a margin cut off, whose details are blurred by the sampling
_LEAST_DETAIL, _SURE_OVERLAY = 0.72, 0.975  # of small or strongly encoded copies
_MIN_COLOR = 0.4  # of the color differences, where both pictures have some
_REPEATED_SCORE = 0.9  # two photos of birds are never so alike
_GRAY_SHARE = 0.02  # of a picture's energy that is of its colors; a gray one has less
_HOPELESS_OVERLAY = 0.8  # after the first rounds, at a quarter of the points

_BLOCK_ROWS, _BATCH_PAIRS = 1_024, 512
_LARGEST_SHIFT, _LARGEST_STRETCH = 0.4, 0.3
_LEAST_OVERLAP = 0.6


def compute_picture_row(pixels: UInt8[Tensor, "channel height width"]) -> Int[np.ndarray, " component"] | None:
    """Return a picture as 48 x 48 centered gray levels and 8 x 8 color differences, scaled to at most 127.

    Plain pictures give None.
    """
    light, _, _ = _pool(pixels, _FINE_SIDE)
    gray, red, blue = _pool(pixels, _COLOR_SIDE)
    light = light - light.mean()
    if light.std() < _PLAIN_LEVELS:
        return None
    row = torch.cat([light, blue - gray, red - gray])
    scaled: Int[np.ndarray, " component"] = (127 * row / row.abs().max()).round().to(torch.int8).numpy()
    return scaled


def stack_picture_rows(rows: Sequence[Int[np.ndarray, " component"]]) -> Int[np.ndarray, "row component"]:
    """Return the rows of several pictures as one table."""
    return np.array(rows, dtype=np.int8).reshape(-1, _COMPONENTS)


def describe_as_they_lie(values: Int[np.ndarray, "row component"]) -> Float[np.ndarray, "row coarse"]:
    """Return 16 x 16 gray levels and 8 x 8 color differences of each row, at length 1."""
    light = torch.from_numpy(values[:, : _FINE_SIDE**2].astype(np.float32)).reshape(-1, 1, _FINE_SIDE, _FINE_SIDE)
    coarse = F.adaptive_avg_pool2d(light, _COARSE_SIDE).flatten(1).numpy()
    whole = np.concatenate([coarse, values[:, _FINE_SIDE**2 :].astype(np.float32)], axis=1)
    units: Float[np.ndarray, "row coarse"] = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    return units


def drop_repeated_rows(values: Int[np.ndarray, "row component"]) -> Int[np.ndarray, "kept component"]:
    """Return the rows without those that look much like one before, as the frames of a still scene do."""
    if len(values) == 1:
        return values
    units = describe_as_they_lie(values)
    kept: list[int] = []
    for number in range(len(values)):
        if not kept or (units[kept] @ units[number]).max() < _REPEATED_SCORE:
            kept.append(number)
    return values[kept]


def _pool(pixels: UInt8[Tensor, "channel height width"], side: int) -> list[Float[Tensor, " component"]]:
    """Average gray, red and blue over side x side fields, one channel at a time because pictures may be very large."""
    red, green, blue = (F.adaptive_avg_pool2d(channel[None].float(), side).flatten() for channel in pixels)
    return [0.299 * red + 0.587 * green + 0.114 * blue, red, blue]


@dataclass(frozen=True, slots=True)
class SimilarRows:
    """Two rows that show the same, and how far their details agree, at most 1."""

    first: int
    second: int
    score: float
    is_mirrored: bool


def find_similar_rows(
    values: Int[np.ndarray, "row component"], owner: Int[np.ndarray, " row"], *, is_mirrored_too: bool
) -> Iterator[SimilarRows]:
    """Yield the pairs of rows of different owners that show the same, the lower row first.

    It is found whatever was done to size, encoding, brightness and colors, and with margins cut off, within the limits
    of the measurement above.

    Args:
        owner: Rows of one owner are not compared; a number for each row.
        is_mirrored_too: Whether a picture and its mirror image show the same.
    """
    fine = torch.from_numpy(values[:, : _FINE_SIDE**2].astype(np.float32)).reshape(-1, 1, _FINE_SIDE, _FINE_SIDE)
    color = torch.from_numpy(values[:, _FINE_SIDE**2 :].astype(np.float32)).reshape(-1, 2, _COLOR_SIDE, _COLOR_SIDE)
    for is_mirrored in (False, True) if is_mirrored_too else (False,):
        waiting = np.empty((0, 2), dtype=np.int64)
        for pairs in _find_candidates(fine, owner, is_mirrored=is_mirrored):
            waiting = np.concatenate([waiting, pairs])
            while len(waiting) >= _BATCH_PAIRS:
                yield from _compare(fine, color, waiting[:_BATCH_PAIRS], is_mirrored=is_mirrored)
                waiting = waiting[_BATCH_PAIRS:]
        if len(waiting):
            yield from _compare(fine, color, waiting, is_mirrored=is_mirrored)


def find_equal_rows(
    values: Int[np.ndarray, "row component"], owner: Int[np.ndarray, " row"], *, min_score: float
) -> Iterator[SimilarRows]:
    """Yield the pairs of rows that look the same as they lie, by the cosine of coarse gray levels and colors."""
    units = describe_as_they_lie(values)
    for start in range(0, len(units), _BLOCK_ROWS):
        score = units[start : start + _BLOCK_ROWS] @ units[start:].T
        for one, two in np.argwhere(np.triu(score >= min_score, k=1)).tolist():
            if owner[start + one] != owner[start + two]:
                yield SimilarRows(start + one, start + two, float(score[one, two]), is_mirrored=False)


# ---------------------------------------------------------------- all with all


def _find_candidates(
    fine: Float[Tensor, "row 1 height width"], owner: Int[np.ndarray, " row"], *, is_mirrored: bool
) -> Iterator[Int[np.ndarray, "pair 2"]]:
    """Yield, block by block, the pairs of which the whole of one looks like the whole or the inside of the other."""
    others = fine.flip(-1) if is_mirrored else fine
    whole, inside = _describe(fine), _describe(_cut(fine, 0, 0))
    other_whole, other_inside = _describe(others), _describe(_cut(others, 0, 0))
    moved = [_describe(_cut(others, right, down)) for right in (-1, 0, 1) for down in (-1, 0, 1)]
    compared = [(whole, other_whole), (whole, other_inside), (inside, other_whole), *((inside, each) for each in moved)]
    for start in range(0, len(fine), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        best = torch.full((len(whole[rows]), len(fine) - start), -1.0)
        for one, other in compared:
            torch.maximum(best, one[rows] @ other[start:].T, out=best)
        pairs = torch.nonzero(best >= _MIN_COARSE_SCORE).numpy() + start
        is_new = (pairs[:, 0] < pairs[:, 1]) & (owner[pairs[:, 0]] != owner[pairs[:, 1]])
        yield pairs[is_new]


def _cut(light: Float[Tensor, "row 1 height width"], right: int, down: int) -> Float[Tensor, "row 1 high wide"]:
    """Return the inside of pictures, moved by a margin to the right or left and down or up."""
    margin = round(_MARGIN * _FINE_SIDE)
    left, top, side = margin * (1 + right), margin * (1 + down), _FINE_SIDE - 2 * margin
    return light[..., top : top + side, left : left + side]


def _describe(light: Float[Tensor, "row 1 height width"]) -> Float[Tensor, "row component"]:
    """Return coarse gray levels, centered, at length 1."""
    coarse = F.adaptive_avg_pool2d(light, _CANDIDATE_SIDE).flatten(1)
    coarse = coarse - coarse.mean(dim=1, keepdim=True)
    return F.normalize(coarse, dim=1)


# ---------------------------------------------------------------- two laid over each other


def _compare(
    fine: Float[Tensor, "row 1 height width"],
    color: Float[Tensor, "row 2 8 8"],
    pairs: Int[np.ndarray, "pair 2"],
    *,
    is_mirrored: bool,
) -> Iterator[SimilarRows]:
    """Yield the pairs that show the same."""
    index = torch.from_numpy(pairs)
    first, second = fine[index[:, 0]], fine[index[:, 1]]
    is_possible = _have_like_colors(color[index[:, 0]], color[index[:, 1]], first, second, is_mirrored=is_mirrored)
    index, first, second = index[is_possible], first[is_possible], second[is_possible]
    if is_mirrored:
        second = second.flip(-1)
    half, other_half = (F.avg_pool2d(_blur(each), 2) for each in (first, second))
    still = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(len(index), 1)
    place, overlay = _register(half, other_half, still, rounds=10)
    is_near = overlay >= _HOPELESS_OVERLAY
    index, first, second, place = index[is_near], first[is_near], second[is_near], place[is_near]
    if not len(index):
        return
    place, _ = _register(_blur(first), _blur(second), place, rounds=5)
    overlay = _measure_overlay(first, second, place)
    detail = _measure_overlay(first - _blur(first, times=4), second - _blur(second, times=4), place)
    is_same = (detail >= _MIN_DETAIL) & (overlay >= _MIN_OVERLAY)
    is_same |= (detail >= _CUT_DETAIL) & (overlay >= _CUT_OVERLAY)
    is_same |= (detail >= _LEAST_DETAIL) & (overlay >= _SURE_OVERLAY)
    for number in torch.nonzero(is_same).flatten().tolist():
        one, two = index[number].tolist()
        yield SimilarRows(one, two, float(detail[number]), is_mirrored=is_mirrored)


def _have_like_colors(
    one: Float[Tensor, "pair 2 8 8"],
    other: Float[Tensor, "pair 2 8 8"],
    first: Float[Tensor, "pair 1 height width"],
    second: Float[Tensor, "pair 1 height width"],
    *,
    is_mirrored: bool,
) -> Bool[Tensor, " pair"]:
    """Return whether the colors of two pictures are alike, or one of them is gray."""
    if is_mirrored:
        other = other.flip(-1)
    alike = F.cosine_similarity(one.flatten(1), other.flatten(1), dim=1) >= _MIN_COLOR
    for color, light in ((one, first), (other, second)):
        energy = color.square().mean(dim=(1, 2, 3)), light.square().mean(dim=(1, 2, 3))
        alike |= energy[0] < _GRAY_SHARE * energy[1]
    return alike


def _register(
    first: Float[Tensor, "pair 1 height width"],
    second: Float[Tensor, "pair 1 height width"],
    place: Float[Tensor, "pair parameter"],
    *,
    rounds: int,
) -> tuple[Float[Tensor, "pair parameter"], Float[Tensor, " pair"]]:
    """Shift and stretch the second picture of each pair until it lies on the first, by Gauss-Newton steps.

    Each step solves first = gain second(place + step) + offset for gain, offset and step, to first order, over the
    points that both have (Lucas & Kanade, IJCAI 1981, with gain and offset).

    Args:
        place: Shift along the width and the height, where the picture is 2 wide, and stretch along both.

    Returns the best place met, and the correlation there.
    """
    side = first.shape[-1]
    slope_x, slope_y = (each * side / 4 for each in _difference(second))
    best_place, best = place, torch.full((len(place),), -1.0)
    for step in range(rounds + 1):
        grid, is_inside = _make_grid(place, side=side)
        found = _sample(torch.cat([second, slope_x, slope_y], dim=1), grid)
        value = found[:, 0]
        score = _correlate(first[:, 0], value, is_inside)
        is_better = score > best
        best = torch.where(is_better, score, best)
        best_place = torch.where(is_better[:, None], place, best_place)
        if step == rounds:
            break
        x, y = _make_axes(side)
        columns = [value, torch.ones_like(value), found[:, 1], found[:, 2], found[:, 1] * x, found[:, 2] * y]
        design = torch.stack(columns, dim=-1).flatten(1, 2) * is_inside.flatten(1)[..., None]
        normal = design.mT @ design
        ridge = 1e-6 * torch.diagonal(normal, dim1=1, dim2=2).mean(dim=1) + 1e-6
        target = design.mT @ first.flatten(1)[..., None]
        solution = torch.linalg.solve(normal + ridge[:, None, None] * torch.eye(6), target)[..., 0]
        gain = solution[:, :1].clamp_min(0.05)
        place = place + (solution[:, 2:] / gain).clamp(-0.12, 0.12)
        limits = torch.tensor([_LARGEST_SHIFT, _LARGEST_SHIFT, _LARGEST_STRETCH, _LARGEST_STRETCH])
        center = torch.tensor([0.0, 0.0, 1.0, 1.0])
        place = torch.minimum(torch.maximum(place, center - limits), center + limits)
    return best_place, best


def _measure_overlay(
    first: Float[Tensor, "pair 1 height width"],
    second: Float[Tensor, "pair 1 height width"],
    place: Float[Tensor, "pair parameter"],
) -> Float[Tensor, " pair"]:
    """Return the correlation of each pair over the points that both have."""
    grid, is_inside = _make_grid(place, side=first.shape[-1])
    return _correlate(first[:, 0], _sample(second, grid)[:, 0], is_inside)


def _make_axes(side: int) -> tuple[Float[Tensor, "1 width"], Float[Tensor, "height 1"]]:
    axis = (2 * torch.arange(side) + 1) / side - 1
    return axis[None, :], axis[:, None]


def _make_grid(
    place: Float[Tensor, "pair parameter"], *, side: int
) -> tuple[Float[Tensor, "pair height width 2"], Float[Tensor, "pair height width"]]:
    """Return the points of the second picture that lie on those of the first, and which of them it has."""
    x, y = _make_axes(side)
    right = place[:, 2, None, None] * x + place[:, 0, None, None]
    down = place[:, 3, None, None] * y + place[:, 1, None, None]
    grid = torch.stack([right.expand(-1, side, -1), down.expand(-1, -1, side)], dim=-1)
    return grid, (grid.abs().amax(dim=-1) <= 1 - 1 / side).float()


def _sample(
    pictures: Float[Tensor, "pair channel height width"], grid: Float[Tensor, "pair height width 2"]
) -> Float[Tensor, "pair channel height width"]:
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _correlate(
    one: Float[Tensor, "pair height width"],
    other: Float[Tensor, "pair height width"],
    weight: Float[Tensor, "pair height width"],
) -> Float[Tensor, " pair"]:
    """Return the correlation over the points of weight 1; -1 where they are too few."""
    count = weight.sum(dim=(1, 2))
    mean = [(each * weight).sum(dim=(1, 2), keepdim=True) / count.clamp_min(1)[:, None, None] for each in (one, other)]
    one, other = (one - mean[0]) * weight, (other - mean[1]) * weight
    scale = (one.square().sum(dim=(1, 2)) * other.square().sum(dim=(1, 2))).sqrt().clamp_min(1e-6)
    return torch.where(count >= _LEAST_OVERLAP * weight[0].numel(), (one * other).sum(dim=(1, 2)) / scale, -1.0)


def _blur(pictures: Float[Tensor, "pair 1 height width"], *, times: int = 1) -> Float[Tensor, "pair 1 height width"]:
    kernel = torch.tensor([0.25, 0.5, 0.25])
    for _ in range(times):
        padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
        pictures = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 3)), kernel.view(1, 1, 3, 1))
    return pictures


def _difference(
    pictures: Float[Tensor, "pair 1 height width"],
) -> tuple[Float[Tensor, "pair 1 height width"], Float[Tensor, "pair 1 height width"]]:
    """Return the differences of each point's neighbors, along the width and along the height."""
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
