"""A disk of a thousand files with seeded faults, indexed: what each must give is known before, and compared.

Run: python benchmarks/field_disk.py FOLDER [--files 1000] [--seed 0] > docs/results/field_disk.md

FOLDER must not exist; the files, `truth.json`, a small trained model, the gallery and the manifest are made there. The
encoders are those of the preset `tiny`, so the time is that of reading files. `index` runs in a process of its own,
whose largest memory is measured; `data import folders` and `data check` must agree with it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from field_disk_files import MAKERS
from field_disk_truth import Truth

from fieldmark.data.manifest import read_manifest
from fieldmark.media.loaders import load_segments
from fieldmark.types import AudioContent, Decoding, ImageContent, Item, MediaLimits, Segment, TextContent, VideoContent

CLASSES = ("Robin", "Veery", "Wren")
_COMMAND = "python benchmarks/field_disk.py FOLDER"


def make_disk(disk: Path, *, count: int, seed: int) -> dict[str, tuple[str, Truth]]:
    """Write the files; each kind at least once, the others drawn. Return kind and truth by item id."""
    rng = np.random.default_rng(seed)
    kinds = [*MAKERS, *rng.choice(list(MAKERS), max(0, count - len(MAKERS)))]
    (disk / CLASSES[0]).mkdir(parents=True)
    (disk / ".fieldmarkignore").write_text("rejects/\n")
    truths = {}
    for number, kind in enumerate(map(str, kinds)):
        before = set(list_files(disk))
        truth = MAKERS[kind](disk / CLASSES[number % len(CLASSES)] / f"{number:04d}", rng)
        [made] = set(list_files(disk)) - before
        truths[unicodedata.normalize("NFC", made)] = (kind, truth)
    return truths


def list_files(disk: Path) -> list[str]:
    """List the files under a folder, by their paths in it."""
    found = []
    for folder, _, names in os.walk(disk):
        found += [Path(folder, name).relative_to(disk).as_posix() for name in names if name != ".fieldmarkignore"]
    return found


def run(*arguments: str | Path) -> tuple[dict[str, object], str, int]:
    """Run a command of fieldmark; return its JSON, its time as text, and its largest memory in bytes."""
    started = time.perf_counter()
    command = [sys.executable, "-c", "from fieldmark.cli.app import main; main()", *map(str, arguments), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.stdout.read(), process.stderr.read()  # type: ignore[union-attr]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1) or not output:
        raise SystemExit(f"{arguments[0]} ended with {process.returncode}:\n{errors[-2_000:]}")
    seconds, own = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    return json.loads(output), f"{seconds:.0f} s ({own:.0f} s of processor time)", usage.ru_maxrss * 1024


def train_model(folder: Path) -> Path:
    """Train a small model, so that all media have an encoder."""
    for arguments in (
        [
            "data",
            "synthesize",
            "--out",
            folder / "birds",
            "--classes",
            "2",
            "--items-per-medium",
            "4",
            "--workers",
            "1",
        ],
        [
            "train",
            folder / "birds/manifest.csv",
            "--config",
            "tiny",
            "--out",
            folder / "run",
            "--set",
            "train.epochs=1",
        ],
    ):
        command = [sys.executable, "-c", "from fieldmark.cli.app import main; main()", *map(str, arguments), "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


# ---------------------------------------------------------------- the comparison


def judge(
    item_id: str,
    truth: Truth,
    *,
    items: Mapping[str, Item],
    failures: Mapping[str, str],
    warned: Mapping[str, set[str]],
) -> str | None:
    """Return what is wrong with what a file gave; None where it is right."""
    reason = failures.get(item_id)
    if truth.medium is not None:
        if item_id in items:
            return judge_item(items[item_id], truth, warned=warned[item_id])
        return f"missing: {reason}"
    if item_id in items:
        return f"used as {items[item_id].medium}"
    if truth.passed_over is not None:
        return f"not passed over, but refused: {reason}" if reason else None
    return None if reason and re.search(str(truth.refused), reason) else f"refused in other words: {reason}"


def judge_item(item: Item, truth: Truth, *, warned: set[str]) -> str | None:
    """Return what is wrong with an item; None where it is right."""
    if truth.medium is not item.medium:
        return f"taken as {item.medium}"
    if warned != ({truth.warning} if truth.warning else set()):
        return f"the warnings are {sorted(warned)}, not {truth.warning}"
    return compare_content(item, truth)


def compare_content(item: Item, truth: Truth) -> str | None:
    """Return how the decoded content differs from what was written; None where it does not."""
    segments = list(load_segments(item, decoding=Decoding(), limits=MediaLimits()))
    if truth.text is not None:
        read = "\n".join(each.content.text for each in segments if isinstance(each.content, TextContent))
        return None if read == truth.text else f"misread: {read[:60]!r}"
    end = segments[-1].end_seconds
    if truth.seconds is not None and abs((end or 0.0) - truth.seconds) > 0.25:
        return f"ends at {end} instead of {truth.seconds}"
    if truth.shows_corners:
        return compare_corners(segments[0])
    return compare_tone(segments[0], truth) if truth.hertz is not None else None


def compare_tone(segment: Segment, truth: Truth) -> str | None:
    """Return what is wrong with a sound of one tone, which may be silent in between."""
    assert isinstance(segment.content, AudioContent)
    rate, samples = segment.content.sample_rate_hz, segment.content.waveform.numpy()
    spectrum = np.abs(np.fft.rfft(samples))
    heard = float(spectrum.argmax()) * rate / len(samples)
    if abs(heard - (truth.hertz or 0.0)) > 20:
        return f"heard at {heard:.0f} Hz instead of {truth.hertz:.0f}"
    if truth.silence is None:
        return None
    first, last = (round(seconds * rate) for seconds in truth.silence)
    is_silent = np.abs(samples[first:last]).max() < 0.01
    is_loud = min(np.abs(samples[:first]).max(), np.abs(samples[last + rate // 4 :]).max()) > 0.2
    return None if is_silent and is_loud else "the gap is not silent, or the sound not beside it"


def compare_corners(segment: Segment) -> str | None:
    """Return what is wrong with a picture that should show red, green and blue at its corners."""
    assert isinstance(segment.content, ImageContent | VideoContent)
    is_video = isinstance(segment.content, VideoContent)
    pixels = (segment.content.frames[0] if is_video else segment.content.pixels).numpy().astype(int)
    _, height, width = pixels.shape
    if width <= height:
        return f"lies on its side: {width} x {height}"
    places = ((height // 4, width // 4), (height // 4, -width // 4), (-height // 4, width // 4))
    for channel, (row, column) in enumerate(places):
        color = pixels[:, row, column]
        if color.argmax() != channel or color[channel] < 180 or np.delete(color, channel).max() > 70:
            return f"shows {color.tolist()} where channel {channel} should be bright"
    return None


def main() -> None:
    """Make the disk, index it and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    folder: Path = options.folder.resolve()
    os.environ["FIELDMARK_CACHE"] = str(folder / "cache")
    disk = folder / "disk"
    truths = make_disk(disk, count=options.files, seed=options.seed)
    written = {item_id: {"kind": kind, **asdict(truth)} for item_id, (kind, truth) in truths.items()}
    (folder / "truth.json").write_text(json.dumps(written, indent=1, ensure_ascii=False), encoding="utf-8")
    checkpoint = train_model(folder)

    report, seconds, memory = run("index", disk, "--gallery", folder / "gallery", "--checkpoint", checkpoint, "--quiet")
    imported, import_seconds, _ = run("data", "import", "folders", disk, "--out", folder / "manifest.csv")
    checked, check_seconds, _ = run("data", "check", folder / "manifest.csv", "--workers", "1", "--quiet")
    listed = {item.item_id: item for item in read_manifest(folder / "manifest.csv")}
    failures = {each["item_id"]: each["message"] for each in report["failures"]}  # type: ignore[index, union-attr]
    items = {item_id: item for item_id, item in listed.items() if item_id not in failures}
    warned: defaultdict[str, set[str]] = defaultdict(set)
    for each in report["warnings"]:  # type: ignore[union-attr]
        warned[each["item_id"]].add(each["kind"])

    wrong = {
        item_id: problem
        for item_id, (_, truth) in truths.items()
        if (problem := judge(item_id, truth, items=items, failures=failures, warned=warned)) is not None
    }
    disagreements = compare_commands(report, imported, checked, failures=failures, listed=listed)
    print_result(truths, wrong, disagreements, items=items, failures=failures, warned=warned)
    size = sum((disk / name).stat().st_size for name in list_files(disk) if (disk / name).is_file())
    print(
        f"\n`index` took {seconds} and at most {memory / 2**20:.0f} MiB of memory for {size / 2**20:.0f} MiB of files,"
    )
    print(f"`data import folders` {import_seconds}, `data check` {check_seconds}; each with its start.")
    passed = {each["reason"]: each["file_count"] for each in report["passed_over"]}  # type: ignore[index, union-attr]
    print(f"Skipped, as `index` counts them: {json.dumps(passed)}; the truth: {json.dumps(count_passed(truths))}.")
    sys.exit(1 if wrong or disagreements else 0)


def count_passed(truths: Mapping[str, tuple[str, Truth]]) -> dict[str, int]:
    """Count the files that must be skipped, by reason."""
    return dict(sorted(Counter(truth.passed_over for _, truth in truths.values() if truth.passed_over).items()))


def compare_commands(
    report: Mapping[str, object],
    imported: Mapping[str, object],
    checked: Mapping[str, object],
    *,
    failures: Mapping[str, str],
    listed: Mapping[str, Item],
) -> list[str]:
    """Return where `index`, `data import folders` and `data check` say different things of one file."""
    left = {each["place"]: each["detail"] for each in imported["left"]}  # type: ignore[index, union-attr]
    found = [f"import leaves out {name}, index does not" for name in left if failures.get(name) != left[name]]
    severe = [each for each in checked["problems"] if each["severity"] == "error"]  # type: ignore[union-attr]
    by_item = {name: each["detail"] for each in severe for name in each["item_ids"]}
    own = {name: reason for name, reason in failures.items() if name in listed}
    found += [f"check refuses {name}, index does not: {by_item[name]}" for name in by_item if name not in own]
    found += [f"index refuses {name}, check does not: {own[name]}" for name in own if name not in by_item]
    stored = report["item_count"]
    if stored != len(listed) - len(own):
        found.append(f"the gallery holds {stored} items, the manifest {len(listed)} of which {len(own)} failed")
    return found


def print_result(
    truths: Mapping[str, tuple[str, Truth]],
    wrong: Mapping[str, str],
    disagreements: list[str],
    *,
    items: Mapping[str, Item],
    failures: Mapping[str, str],
    warned: Mapping[str, set[str]],
) -> None:
    """Print the page: a row for each kind, and everything that is wrong."""
    print("# A field worker's disk: every file read right or named\n")
    print(f"Measured with `{_COMMAND}`: {len(truths):,} files of {len(MAKERS)} kinds, faults seeded, each with what it")
    print(
        "must give written down before (`truth.json`): the exact text, the colors at the corners of an upright picture,"
    )
    print("the height of a tone, the warning, or the words of the refusal.\n")
    verdict = (
        f"{len(wrong)} of {len(truths):,} files gave something else; the commands disagree on {len(disagreements)}."
    )
    print(f"**{verdict}**\n")
    print("| kind | files | used | with a warning | refused | skipped | wrong |")
    print("|---|---|---|---|---|---|---|")
    for kind in MAKERS:
        ids = [item_id for item_id, (own, _) in truths.items() if own == kind]
        used = sum(each in items for each in ids)
        refused = sum(each in failures for each in ids)
        cells = [len(ids), used, sum(bool(warned.get(each)) for each in ids), refused, len(ids) - used - refused]
        print(f"| {kind} | {' | '.join(map(str, cells))} | {sum(each in wrong for each in ids)} |")
    for line in (*(f"{truths[name][0]}: {name}: {problem}" for name, problem in wrong.items()), *disagreements):
        print(f"- {line}")


if __name__ == "__main__":
    main()
