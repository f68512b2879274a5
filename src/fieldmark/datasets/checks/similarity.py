"""Find items that look, sound or read alike: fingerprints robust to re-encoding, and pairs found without trying all."""

import re
import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fieldmark.datasets.checks.pictures import (
    SimilarRows,
    compute_picture_row,
    drop_repeated_rows,
    find_equal_rows,
    find_similar_rows,
    stack_picture_rows,
)
from fieldmark.media.audio import compute_power_spectrogram

# ---------------------------------------------------------------- fingerprints

VERSION = 4
"""Increased whenever fingerprints or the faults found in decoding change, so that cached inspections are redone."""

SOUND_RATE_HZ = 16_000
FRAME_SECONDS = 256 / SOUND_RATE_HZ
"""Duration of one frame of the spectrogram in which landmarks are found."""

_MAX_FRAMES = 16

_WINDOW, _LOWEST_BIN = 1_024, 16  # 64 ms; below 250 Hz there is wind and traffic
_PEAKS_PER_SECOND, _PARTNERS, _LONGEST_LAG = 15, 8, 63
_PEAK_CONTRAST = 0.3  # in powers of ten above the median of its band
_BLOCK_SECONDS = 30
_MAX_LANDMARKS = 200_000  # about half an hour of sound; the rest is not compared

_MAX_WORDS = 20_000


class FingerprintKind(StrEnum):
    """Kinds of fingerprint; only those of one kind are compared. Frames of videos are pictures."""

    PICTURE = "picture"
    SPECTROGRAM = "spectrogram"
    SOUND = "sound"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The rows that are compared for an item.

    Args:
        values: A row for each frame, landmark (hash, frame) or word.
    """

    kind: FingerprintKind
    values: Int[np.ndarray, "row component"]


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


def compute_text_fingerprint(text: str) -> Fingerprint:
    """Return the words of a text, each hashed to 31 bits."""
    codes = [zlib.crc32(word.encode()) >> 1 for word in split_words(text)[:_MAX_WORDS]]
    return Fingerprint(FingerprintKind.TEXT, np.array(codes, dtype=np.int32).reshape(-1, 1))


@final
class FrameCollector:
    """Collects at most 16 rows of a picture or a video, at times that do not depend on its length."""

    def __init__(self, kind: FingerprintKind) -> None:
        self._kind = kind
        self._rows: list[Int[np.ndarray, " component"] | None] = []
        self._step = 1
        self._count = 0

    def add(self, pixels: UInt8[Tensor, "channel height width"]) -> None:
        """Add the next frame; of a long video, every second, then every fourth is kept, and so on."""
        if self._count % self._step == 0:
            self._rows.append(compute_picture_row(pixels))
        self._count += 1
        if len(self._rows) > _MAX_FRAMES:
            self._rows = self._rows[::2]
            self._step *= 2

    def build_fingerprint(self) -> Fingerprint:
        """Return the rows kept, without plain frames."""
        rows = [row for row in self._rows if row is not None]
        return Fingerprint(self._kind, stack_picture_rows(rows))


@final
class SoundCollector:
    """Collects the landmarks of a sound block by block, in memory that does not grow with its length."""

    def __init__(self) -> None:
        self._held: list[Float[Tensor, " time"]] = []
        self._held_count = 0
        self._first_frame = 0
        self._blocks: list[Int[np.ndarray, "landmark 2"]] = []
        self._landmark_count = 0

    def add(self, waveform: Float[Tensor, " time"]) -> None:
        """Add the next part of the sound, at `SOUND_RATE_HZ`."""
        if self._landmark_count >= _MAX_LANDMARKS:
            return
        self._held.append(waveform)
        self._held_count += len(waveform)
        if self._held_count >= _BLOCK_SECONDS * SOUND_RATE_HZ:
            self._finish_block()

    def build_fingerprint(self) -> Fingerprint:
        """Return all landmarks, in order of time."""
        if self._held_count:
            self._finish_block()
        blocks = [*self._blocks, np.empty((0, 2), dtype=np.int32)]
        return Fingerprint(FingerprintKind.SOUND, np.concatenate(blocks)[:_MAX_LANDMARKS])

    def _finish_block(self) -> None:
        found = find_landmarks(torch.cat(self._held))
        found[:, 1] += self._first_frame
        self._blocks.append(found)
        self._landmark_count += len(found)
        self._first_frame += round(self._held_count / (FRAME_SECONDS * SOUND_RATE_HZ))
        self._held, self._held_count = [], 0


def find_landmarks(waveform: Float[Tensor, " time"]) -> Int[np.ndarray, "landmark 2"]:
    """Find pairs of spectral peaks close in time: frequencies and lag as one number, and the frame of the first.

    After Wang, ISMIR 2003. Measured 2026-11 on 886 clips of birds: two different recordings have at most 6 in common
    at one shift; a clip and its copy, shifted by 0.3 s and re-encoded to MP3, at least 14 (20 copies).
    """
    power = (
        compute_power_spectrogram(waveform, n_fft=_WINDOW, hop_length=_WINDOW // 4)
        .clamp_min(1e-9)
        .log10()[_LOWEST_BIN:]
    )
    contrast = power - power.median(dim=1, keepdim=True).values
    highest_in_time = F.max_pool1d(power, 9, stride=1, padding=4)  # one axis after the other: the same, sooner
    is_highest = power == F.max_pool1d(highest_in_time.T, 15, stride=1, padding=7).T
    frequency, frame = torch.nonzero(is_highest & (contrast > _PEAK_CONTRAST), as_tuple=True)
    wanted = int(_PEAKS_PER_SECOND * len(waveform) / SOUND_RATE_HZ) + 1
    loudest = contrast[frequency, frame].argsort(descending=True, stable=True)[:wanted]
    order = np.lexsort((frequency[loudest].numpy(), frame[loudest].numpy()))
    low, time = frequency[loudest].numpy()[order], frame[loudest].numpy()[order]
    found = []
    for step in range(1, _PARTNERS + 1):
        lag = time[step:] - time[:-step]
        near = (lag >= 1) & (lag <= _LONGEST_LAG)
        code = (low[:-step] << 15) | (low[step:] << 6) | lag
        found.append(np.stack([code[near], time[:-step][near]], axis=1))
    marks = np.concatenate(found).astype(np.int32)
    ordered: Int[np.ndarray, "landmark 2"] = marks[np.argsort(marks[:, 1], kind="stable")]
    return ordered


# ---------------------------------------------------------------- similar pairs

_MIN_SPECTROGRAM_SCORE = 0.97
_MIN_SHARED_LANDMARKS = 14
_MIN_SHARE_OF_LANDMARKS = 0.02
_PART_FRAMES = 16  # a quarter of a second, about a note
_MIN_PARTS, _MIN_SHARE_OF_FEW_PARTS = 3, 0.12
# The information content, in bits, of the word triples that two texts share; stock phrases count little.
_MIN_BITS = 85.0
_MIN_BITS_ACROSS_CLASSES = 100.0

_MAX_CHANGED_WORDS, _MAX_CHANGED_SHARE = 2, 0.1
_MIN_WORDS = 8  # two changed words are too much in a shorter text
_MAX_NEIGHBORS = 2  # a text with more near duplicates is a stock phrase, and similarity to it means nothing

_MAX_POSTINGS = 64  # a landmark or word triple that more rows share means nothing, at quadratic cost


@dataclass(frozen=True, slots=True)
class SimilarPair:
    """Two similar items, by index, and the evidence in words."""

    first: int
    second: int
    evidence: str


def find_similar(
    fingerprints: Sequence[Fingerprint | None],
    class_names: Sequence[str | None],
    origins: Sequence[Hashable] | None = None,
) -> tuple[SimilarPair, ...]:
    """Find all pairs of similar items, in order of their indices.

    Args:
        fingerprints: One per item; None is never similar.
        class_names: Texts of different classes must share more than those of one class.
        origins: Pictures and videos of one origin are not compared; None compares all.
    """
    numbers = {origin: number for number, origin in enumerate(dict.fromkeys(origins or range(len(fingerprints))))}
    origin = [numbers[each] for each in origins or range(len(fingerprints))]
    rows: dict[FingerprintKind, dict[int, Int[np.ndarray, "row component"]]] = {kind: {} for kind in FingerprintKind}
    for index, fingerprint in enumerate(fingerprints):
        if fingerprint is not None and len(fingerprint.values):
            rows[fingerprint.kind][index] = fingerprint.values
    pairs = [
        *_find_similar_pictures(rows[FingerprintKind.PICTURE], origin),
        *_find_equal_spectrograms(rows[FingerprintKind.SPECTROGRAM]),
        *_find_similar_sounds(rows[FingerprintKind.SOUND]),
        *_find_similar_texts(rows[FingerprintKind.TEXT], class_names),
    ]
    return tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))


# ---------------------------------------------------------------- pictures and frames


def _find_similar_pictures(
    rows: Mapping[int, Int[np.ndarray, "row component"]], origin: Sequence[int]
) -> Iterator[SimilarPair]:
    """Yield similar pictures, pictures similar to a frame of a video, and videos similar in half their frames."""
    if not rows:
        return
    rows = {index: drop_repeated_rows(each) for index, each in rows.items()}
    owner = np.repeat(list(rows), [len(each) for each in rows.values()])
    values = np.concatenate(list(rows.values()))
    frames: dict[tuple[int, int], tuple[set[int], SimilarRows]] = {}
    for found in find_similar_rows(values, np.array(origin)[owner], is_mirrored_too=True):
        pair = int(owner[found.first]), int(owner[found.second])
        agreeing, best = frames.get(pair, (set(), found))
        agreeing.add(found.first)
        frames[pair] = agreeing, max(best, found, key=lambda each: each.score)
    for (first, second), (agreeing, best) in frames.items():
        fewest = min(len(rows[first]), len(rows[second]))
        if fewest == 1 or 2 * len(agreeing) >= fewest:
            how = ", one mirrored" if best.is_mirrored else ""
            yield SimilarPair(first, second, f"they look alike{how} (their details agree by {best.score:.2f})")


def _find_equal_spectrograms(rows: Mapping[int, Int[np.ndarray, "row component"]]) -> Iterator[SimilarPair]:
    """Yield spectrograms that look the same: moved or mirrored, they are other sounds."""
    if rows:
        values = np.concatenate(list(rows.values()))
        owner = np.array(list(rows))
        for found in find_equal_rows(values, owner, min_score=_MIN_SPECTROGRAM_SCORE):
            evidence = f"they look alike (similarity {found.score:.3f})"
            yield SimilarPair(int(owner[found.first]), int(owner[found.second]), evidence)


# ---------------------------------------------------------------- sounds


def _find_similar_sounds(rows: Mapping[int, Int[np.ndarray, "row component"]]) -> Iterator[SimilarPair]:
    """Yield pairs of sounds that share enough distinct landmarks at one shift in time."""
    if not rows:
        return
    owner = np.repeat(list(rows), [len(each) for each in rows.values()])
    codes, frames = np.concatenate(list(rows.values())).astype(np.int64).T
    found = [
        np.stack([owner[one], owner[two], frames[two] - frames[one], codes[one], frames[one]], axis=1)
        for one, two in _pair_rows(codes, owner)
    ]
    best: dict[tuple[int, int], tuple[int, int]] = {}
    # The frames of two encodings interleave, so each landmark counts for two neighboring shifts.
    for half in (0, 1) if found else ():
        table = np.concatenate(found)
        table[:, 2] = 2 * ((table[:, 2] + half) // 2) - half
        # A landmark that repeats, as in a level whistle, counts once.
        shared, count = np.unique(np.unique(table[:, :4], axis=0)[:, :3], axis=0, return_counts=True)
        is_enough = count >= _MIN_SHARED_LANDMARKS
        for (first, second, shift), number in zip(shared[is_enough].tolist(), count[is_enough].tolist(), strict=True):
            is_here = (table[:, :3] == (first, second, shift)).all(axis=1)
            if _is_shared_throughout(rows[first], rows[second], shift, table[is_here, 4], shared_count=number):
                best[first, second] = max(best.get((first, second), (0, 0)), (number, -abs(shift)))
    for (first, second), (number, lateness) in best.items():
        fewest = min(len(np.unique(rows[each][:, 0])) for each in (first, second))
        if number >= _MIN_SHARE_OF_LANDMARKS * fewest:
            seconds = -lateness * FRAME_SECONDS
            yield SimilarPair(first, second, f"they share {number} spectral landmarks at a shift of {seconds:.1f} s")


def _is_shared_throughout(
    one: Int[np.ndarray, "row component"],
    other: Int[np.ndarray, "other component"],
    shift: int,
    shared_frames: Int[np.ndarray, " pair"],
    *,
    shared_count: int,
) -> bool:
    """Tell whether shared landmarks lie all along what two sounds have in common, and not in one note that repeats.

    Two takes of a stereotyped song share the landmarks of a note or two; measured 2026-11 on 544 synthetic songs and
    on 886 clips of birds.
    """
    start = max(int(one[:, 1].min()), int(other[:, 1].min()) - shift)
    end = min(int(one[:, 1].max()), int(other[:, 1].max()) - shift)
    inside = [
        rows[(start <= times) & (times <= end)] for rows, times in ((one, one[:, 1]), (other, other[:, 1] - shift))
    ]
    fewest = min(len(np.unique(rows[:, 0])) for rows in inside)
    shared_part_count = len(np.unique(shared_frames // _PART_FRAMES))
    return shared_part_count >= _MIN_PARTS or (
        shared_part_count > 1 and shared_count >= _MIN_SHARE_OF_FEW_PARTS * fewest
    )


# ---------------------------------------------------------------- texts


def _find_similar_texts(
    rows: Mapping[int, Int[np.ndarray, "row component"]], class_names: Sequence[str | None]
) -> Iterator[SimilarPair]:
    """Yield pairs of texts that differ in two words, or a tenth of them, and are not stock phrases.

    A pair is not a stock phrase if the texts share something long and rare, or, within a class, if few other texts are
    as similar. Measured 2026-11 on 3,114 texts of birds: 94 % of those with two words changed are found (80 % by
    rarity alone), and 58 are reported besides, half of which do repeat another.
    """
    triples = {index: _triples(words[:, 0]) for index, words in rows.items()}
    if len(triples) < 2:
        return
    distinct = {index: np.unique(each) for index, each in triples.items()}
    owner = np.repeat(list(distinct), [len(each) for each in distinct.values()])
    codes = np.concatenate(list(distinct.values()))
    known, count = np.unique(codes, return_counts=True)
    bits = dict(zip(known.tolist(), np.log2(max(2, len(triples)) / count).tolist(), strict=True))
    candidates = list(_find_candidates(codes, owner))
    long_enough = {index for index, words in rows.items() if len(words) >= _MIN_WORDS}
    near = {
        (one, two)
        for one, two in candidates
        if {one, two} <= long_enough and _differ_little(rows[one][:, 0], rows[two][:, 0])
    }
    like_it = Counter(index for pair in near for index in pair)
    for first, second in candidates:
        is_one_class = class_names[first] == class_names[second]
        is_rare = is_one_class and (first, second) in near and max(like_it[first], like_it[second]) <= _MAX_NEIGHBORS
        shared = np.intersect1d(distinct[first], distinct[second], assume_unique=True)
        needed = _MIN_BITS if is_one_class else _MIN_BITS_ACROSS_CLASSES
        if not is_rare and sum(bits[code] for code in shared.tolist()) < needed:
            continue
        longest = max(len(triples[first]), len(triples[second])) - 2
        foreign = max(_count_foreign_words(triples[each], shared) for each in (first, second))
        # A word between two changed ones occurs in no shared triple either.
        if is_rare or foreign <= max(_MAX_CHANGED_WORDS + 1, int(_MAX_CHANGED_SHARE * longest)):
            yield SimilarPair(first, second, f"{foreign} of {longest} words differ")


def _differ_little(
    one: Int[np.ndarray, " word"], two: Int[np.ndarray, " other"], changes: int = _MAX_CHANGED_WORDS
) -> bool:
    """Tell whether one text becomes the other by inserting, deleting or replacing so many words."""
    if abs(len(one) - len(two)) > changes:
        return False
    length = min(len(one), len(two))
    differing = np.flatnonzero(one[:length] != two[:length])
    if not len(differing):
        return True
    one, two = one[differing[0] :], two[differing[0] :]
    ways = ((one[1:], two[1:]), (one[1:], two), (one, two[1:]))
    return changes > 0 and any(_differ_little(*way, changes - 1) for way in ways)


def _triples(words: Int[np.ndarray, " word"]) -> Int[np.ndarray, " triple"]:
    """Return the runs of three words, each as a number, with two padding marks at both ends."""
    wide = np.pad(words.astype(np.int64), 2)
    codes: Int[np.ndarray, " triple"] = (wide[:-2] * 1_000_003 + wide[1:-1]) * 1_000_003 + wide[2:]
    return codes


def _count_foreign_words(triples: Int[np.ndarray, " triple"], shared: Int[np.ndarray, " common"]) -> int:
    """Count the words of a text that occur in none of the shared triples."""
    is_shared = np.isin(triples, shared)
    is_covered = is_shared[:-2] | is_shared[1:-1] | is_shared[2:]
    return int((~is_covered).sum())


def _find_candidates(codes: Int[np.ndarray, " row"], owner: Int[np.ndarray, " row"]) -> Iterator[tuple[int, int]]:
    """Yield pairs of texts with at least two rare triples in common."""
    found = [np.stack([owner[one], owner[two]], axis=1) for one, two in _pair_rows(codes, owner)]
    if found:
        pairs, count = np.unique(np.concatenate(found), axis=0, return_counts=True)
        yield from ((first, second) for first, second in pairs[count >= 2].tolist())


def _pair_rows(
    codes: Int[np.ndarray, " row"], owner: Int[np.ndarray, " row"]
) -> Iterable[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """Yield pairs of rows with one code and two owners, the lower owner first; frequent codes are skipped."""
    order = np.lexsort((owner, codes))
    ordered = codes[order]
    _, index, count = np.unique(ordered, return_inverse=True, return_counts=True)
    is_rare = count[index] <= _MAX_POSTINGS
    order, ordered = order[is_rare], ordered[is_rare]
    for step in range(1, _MAX_POSTINGS):
        same = np.flatnonzero(ordered[:-step] == ordered[step:]) if step < len(ordered) else np.empty(0, dtype=np.int64)
        if not len(same):
            return
        one, two = order[same], order[same + step]
        differs = owner[one] != owner[two]
        yield one[differs], two[differs]
