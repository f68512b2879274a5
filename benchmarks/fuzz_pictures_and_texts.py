"""Damaged pictures and texts by the ten thousand: each gives content within limits, or a reason; nothing ends the run.

Run: python benchmarks/fuzz_pictures_and_texts.py FOLDER [--inputs 52000] > docs/results/fuzz_pictures_and_texts.md

The corpus is made by `field_disk_files.py` from the seed: four files of every kind of picture, text and document. Input
i is one of them, changed by a generator that is seeded with (seed, i): bits flipped, bytes replaced, blocks zeroed,
repeated, inserted, left out or taken from another file, numbers made extreme, the end cut off; or random bytes. Each is
detected and loaded as a file, in a child process with a limit on memory. Where the child dies, the input that it was at
is counted and kept, and another child goes on behind it.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from field_disk_files import MAKERS, Truth

from fieldmark.errors import MediaError
from fieldmark.media import image, text
from fieldmark.media.loaders import detect_medium
from fieldmark.types import Decoding, ImageContent, MediaLimits, Medium, TextContent

LIMITS = MediaLimits(max_bytes=2**22, max_pixels=2_000_000, max_characters=100_000)
MEMORY_BYTES = 6 * 2**30
SLOWEST_SECONDS = 20
FILES_OF_A_KIND = 4
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def make_corpus(folder: Path, *, seed: int) -> list[Path]:
    """Write whole files of all kinds that are read as pictures or texts, or refused as such."""
    rng = np.random.default_rng(seed)
    paths = []
    for number, (kind, maker) in enumerate(MAKERS.items()):
        for copy in range(FILES_OF_A_KIND):
            truth: Truth = maker(folder / "corpus" / "files" / f"{number:02d}_{copy}", rng)
            is_wanted = truth.medium in {Medium.IMAGE, Medium.TEXT} or (truth.refused and "link" not in kind)
            made = [*(folder / "corpus").rglob(f"{number:02d}_{copy}*")]
            paths += made if is_wanted else []
    return sorted(path for path in paths if path.is_file() and path.stat().st_size > 0)


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Change a file in one to four ways."""
    for _ in range(rng.integers(1, 5)):
        size = max(1, len(data))
        start = int(rng.integers(size)) if rng.random() < 0.5 else int(min(size - 1, rng.exponential(64)))
        stop = start + int(min(rng.integers(1, 256), size - start))
        data = _CHANGES[rng.integers(len(_CHANGES))](data, start, stop, other, rng)
    return data[: LIMITS.max_bytes]


Change = Callable[[bytes, int, int, bytes, np.random.Generator], bytes]
"""Takes the file, the first and the last place to change, another file, and a generator."""


def _flip_bit(data: bytes, start: int, _: int, __: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytes(each ^ (1 << int(rng.integers(8))) for each in data[start : start + 1])
    return data[:start] + flipped + data[start + 1 :]


def _take_from_other(data: bytes, start: int, stop: int, other: bytes, rng: np.random.Generator) -> bytes:
    cut = int(rng.integers(max(1, len(other))))
    return data[:start] + other[cut : cut + stop - start] + data[stop:]


def _make_number_extreme(data: bytes, start: int, _: int, __: bytes, rng: np.random.Generator) -> bytes:
    width = int(rng.choice([1, 2, 4]))
    number = int(rng.choice(_NUMBERS)) & ((1 << 8 * width) - 1)
    return data[:start] + number.to_bytes(width, "little" if rng.random() < 0.5 else "big") + data[start + width :]


_CHANGES: tuple[Change, ...] = (
    _flip_bit,
    _take_from_other,
    _make_number_extreme,
    lambda data, start, stop, _, rng: data[:start] + rng.bytes(stop - start) + data[stop:],
    lambda data, start, stop, _, __: data[:start] + bytes(stop - start) + data[stop:],
    lambda data, start, stop, _, __: data[:stop] + data[start:],
    lambda data, start, stop, _, rng: data[:start] + rng.bytes(stop - start) + data[start:],
    lambda data, start, stop, _, __: data[:start] + data[stop:],
    lambda data, start, _, __, ___: data[:start],
)


def make_input(index: int, *, corpus: list[Path], seed: int) -> tuple[bytes, str]:
    """Return input `index`, and the suffix of its name."""
    rng = np.random.default_rng((seed, index))
    if rng.random() < 0.05:
        return rng.bytes(int(rng.integers(1, 2_000))), str(rng.choice([".txt", ".jpg", ""]))
    one, other = (corpus[int(number)] for number in rng.integers(len(corpus), size=2))
    suffix = one.suffix if rng.random() < 0.8 else str(rng.choice([".txt", ".jpg", ".nef", ""]))
    return mutate(one.read_bytes(), other.read_bytes(), rng), suffix


def load(path: Path) -> str:
    """Detect and load a file as whatever it is, and as a picture and a text; return what came of it.

    Raises:
        AssertionError: Something beyond the limits was given.
    """
    outcomes = []
    try:
        outcomes.append(f"detected as {detect_medium(path)}")
    except MediaError as error:
        outcomes.append(f"detected as none: {error.kind}")
    for loader in (image.load, text.load):
        try:
            for segment in loader(path, decoding=Decoding(), limits=LIMITS):
                content = segment.content
                if isinstance(content, ImageContent):
                    assert content.pixels.shape[1] * content.pixels.shape[2] <= LIMITS.max_pixels, "too many pixels"
                else:
                    assert isinstance(content, TextContent)
                    assert len(content.text) <= LIMITS.max_characters, "too many characters"
            outcomes.append("read")
        except MediaError as error:
            outcomes.append(error.kind)
    return " / ".join(outcomes)


# ---------------------------------------------------------------- the child


def work(folder: Path, *, first: int, last: int, seed: int) -> None:
    """Go through some inputs; print one line of JSON for what is not as it should be, and the counts at the end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    corpus = [Path(line) for line in (folder / "corpus.txt").read_text().splitlines()]
    counts: Counter[str] = Counter()
    slowest = 0.0
    signal.signal(signal.SIGALRM, _raise_timeout)
    for index in range(first, last):
        (folder / "progress").write_text(str(index))
        data, suffix = make_input(index, corpus=corpus, seed=seed)
        path = folder / f"input{suffix}"
        path.write_bytes(data)
        started = time.perf_counter()
        signal.alarm(SLOWEST_SECONDS)
        try:
            counts[load(path)] += 1
        except (Exception, TimeoutError) as error:  # noqa: BLE001 - this is what the script looks for
            print(json.dumps({"index": index, "problem": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - started)
        path.unlink()
        if index % 500 == 499 or index == last - 1:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"counts": counts, "slowest": slowest, "memory": memory}), flush=True)
            counts, slowest = Counter(), 0.0


def _raise_timeout(*_: object) -> None:
    raise TimeoutError(f"more than {SLOWEST_SECONDS} seconds")


# ---------------------------------------------------------------- the parent


def main() -> None:
    """Make the corpus, send children through it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--inputs", type=int, default=52_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=int, nargs=2, metavar=("FIRST", "LAST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    if options.child:
        work(folder, first=options.child[0], last=options.child[1], seed=options.seed)
        return
    folder.mkdir(parents=True)
    corpus = make_corpus(folder, seed=options.seed)
    (folder / "corpus.txt").write_text("\n".join(map(str, corpus)))
    started = time.perf_counter()
    counts, problems, slowest, memory = run_children(folder, count=options.inputs, seed=options.seed)
    print_result(corpus, counts, problems, seconds=time.perf_counter() - started, slowest=slowest, memory=memory)
    sys.exit(1 if problems else 0)


def run_children(folder: Path, *, count: int, seed: int) -> tuple[Counter[str], list[str], float, int]:
    """Return the counts of outcomes, what is not as it should be, the slowest's seconds, and the largest memory."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    slowest, memory, first = 0.0, 0, 0
    while first < count:
        command = [sys.executable, __file__, str(folder), "--seed", str(seed), "--child", str(first), str(count)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in process.stdout.splitlines():
            found = json.loads(line)
            if "problem" in found:
                problems.append(f"input {found['index']}: {found['problem']}")
                continue
            counts += Counter(found["counts"])
            slowest, memory = max(slowest, found["slowest"]), max(memory, found["memory"])
        if process.returncode == 0:
            break
        at = int((folder / "progress").read_text())
        problems.append(f"input {at}: the child ended with {process.returncode}: {process.stderr.strip()[-200:]}")
        for path in folder.glob("input*"):
            shutil.move(path, folder / f"ended_{at}{path.suffix}")
        counts["in a block that was not finished"] += at - at // 500 * 500
        first = at + 1
    return counts, problems, slowest, memory


def print_result(
    corpus: list[Path], counts: Counter[str], problems: list[str], *, seconds: float, slowest: float, memory: int
) -> None:
    """Print the page."""
    total = sum(counts.values())
    print("# Fuzzing of the decoders of pictures and texts\n")
    print(f"Measured with `{' '.join(['python', 'benchmarks/' + Path(__file__).name, 'FOLDER', *sys.argv[2:]])}`:")
    print(f"{total:,} inputs from {len(corpus)} files of {len(MAKERS)} kinds, each changed by a seeded generator, each")
    print(f"detected, and loaded as a picture and as a text, in {seconds:.0f} s ({os.cpu_count()} cores, one used).\n")
    print(f"**{len(problems)} inputs gave anything but content within the limits or a reason.** The slowest took")
    print(f"{slowest:.2f} s; the child needed at most {memory / 2**20:.0f} MiB.\n")
    print("| detected / as a picture / as a text | inputs |")
    print("|---|---|")
    for outcome, number in counts.most_common():
        print(f"| {outcome} | {number:,} |")
    for problem in problems:
        print(f"- {problem}")


if __name__ == "__main__":
    main()
