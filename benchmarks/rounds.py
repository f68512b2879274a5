"""Shared by benchmarks that train many times: rounds that are kept once measured, and means with their intervals."""

import hashlib
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import fieldmark
from fieldmark.evaluation.inference import (
    CLASSES,
    GROUPS,
    Uncertainty,
    add_uncertainties,
    choose_design,
    count_lone_classes,
    estimate_sum,
    sum_by_unit,
)
from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.protocol import Settings
from fieldmark.training.step import WeightedLoss
from fieldmark.workflows.evaluate import measure_folder

STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Two-sided 95 % quantiles by the number of rounds."""

_NOT_MEASURING = ("api", "cli", "datasets", "gallery", "reports")
"""Folders of fieldmark that change no number of a round."""

ALL_MEDIA = tuple(fieldmark.Medium)
REAL_MEDIA = (fieldmark.Medium.IMAGE, fieldmark.Medium.TEXT, fieldmark.Medium.AUDIO)
"""Of fgbirds: most of its clips are pans over photos, and say little about video."""


@dataclass(frozen=True, slots=True)
class Round:
    """Result of one training on the test split, strict protocol.

    Args:
        average_precision: MAP by direction, those within a medium too.
        steps: Of training; 0 for a method that is fitted on its own.
        seconds: Of training, likewise.
        chance: Mean MAP of random rankings in the directions between two media.
        design: Of each direction between media: the number of its entry in `drawn`; see `choose_design`.
        drawn: For each design, what the units that are drawn as a whole add to each MAP; see `UnitInfluences`.
    """

    average_precision: Mapping[str, float]
    counts: Mapping[str, int]
    class_count: int
    steps: int
    seconds: float
    chance: float
    design: Mapping[str, int]
    drawn: Sequence[Mapping[str, Any]]

    def mean(self, media: Sequence[fieldmark.Medium]) -> float:
        """Return the mean MAP of the directions between two of these media."""
        return statistics.mean(self.average_precision[name] for name in directions(media))

    def mean_within(self, media: Sequence[fieldmark.Medium]) -> float:
        """Return the mean MAP of the directions from a medium to itself."""
        return statistics.mean(self.average_precision[f"{medium}_to_{medium}"] for medium in media)


def directions(media: Sequence[fieldmark.Medium]) -> list[str]:
    """List the names of all directions between two different media."""
    return [f"{query}_to_{gallery}" for query, gallery in permutations(media, 2)]


def keep(folder: Path, facts: Iterable[str], measure: Callable[[], Round]) -> Round:
    """Return the round of these facts: read if this code has measured it before, otherwise measured and written."""
    path = folder / f"{hash_texts([hash_code(), *facts])}.json"
    if path.exists():
        return Round(**json.loads(path.read_text(encoding="utf-8")))
    found = measure()
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    draft.replace(path)
    return found


def train_once(
    manifest: Path,
    config: fieldmark.Config,
    *,
    kept: Path,
    extra_losses: Mapping[str, Callable[[], nn.Module]] | None = None,
) -> Round:
    """Train, embed the test split and evaluate; a round in `kept` is not run again.

    Args:
        extra_losses: Makers of losses beside those of the configuration, by name.
    """
    makers = extra_losses or {}
    facts = (hash_file(manifest), config.to_json(), *sorted(makers))
    return keep(kept, facts, lambda: _train_once(manifest, config, makers))


def _train_once(manifest: Path, config: fieldmark.Config, extra_losses: Mapping[str, Callable[[], nn.Module]]) -> Round:
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        started = time.monotonic()
        extra = {name: WeightedLoss(make()) for name, make in extra_losses.items()}
        report = fieldmark.train(manifest, out=run, config=config, extra_losses=extra)
        seconds = time.monotonic() - started
        fieldmark.embed(manifest, checkpoint=run, out=run / "test")
        measured = measure_folder(run / "test", settings=Settings())
        return summarize(measured.measurement, steps=report.result.steps, seconds=seconds)


def summarize(measurement: Measurement, *, steps: int, seconds: float) -> Round:
    """Return the figures of a measurement that the tables need."""
    evaluation = measurement.evaluation
    across = [task for task in measurement.tasks if task.average is not None]
    columns = [measurement.tasks.index(task) for task in across]
    lone = count_lone_classes(measurement.evaluated)
    drawn = [
        sum_by_unit(measurement.evaluated, across, measurement.influences[:, columns], design=design)
        for design in (GROUPS, CLASSES)
    ]
    return Round(
        average_precision={
            each.name: each.mean_average_precision for each in (*evaluation.directions, *evaluation.same_medium)
        },
        counts={medium.value: count for medium, count in evaluation.item_count.items()},
        class_count=evaluation.class_count,
        steps=steps,
        seconds=seconds,
        chance=statistics.mean(each.chance for each in evaluation.directions if each.gallery_medium is not None),
        design={task.name: choose_design(task, lone) for task in across},
        drawn=[
            {
                "units": list(each.unit),
                "strata": each.stratum.tolist(),
                "influences": {name: values.tolist() for name, values in each.values.items()},
            }
            for each in drawn
        ],
    )


@cache
def hash_code() -> str:
    """Return one hash over the code that trains and measures, of fieldmark and of the benchmarks' own methods."""
    package, here = Path(fieldmark.__file__).parent, Path(__file__).parent
    own = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in _NOT_MEASURING]
    ours = [*here.glob("methods/*.py"), *here.glob("losses/*.py")]
    digest = hashlib.sha256()
    for path in sorted([*own, *ours]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def hash_texts(texts: Iterable[str]) -> str:
    """Return a name for what some texts say."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:24]


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def show_mean(values: Sequence[float], *, signed: bool = False) -> str:
    """Format two cells of a table: the mean, and its 95 % interval by Student's t over the rounds."""
    mean = statistics.mean(values)
    sign = "+" if signed else ""
    if len(values) < 2:
        return f"{mean:{sign}.3f} | "
    half = STUDENT_T[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:{sign}.3f} | {mean - half:{sign}.3f} to {mean + half:{sign}.3f}"


def show_mean_of_items(rounds: Sequence[Round], names: Sequence[str], *, less: Sequence[Round] = ()) -> str:
    """Format two cells: the mean MAP of some directions, and its 95 % interval over items and rounds.

    Args:
        less: Other rounds of the same seeds, whose mean is taken away.
    """
    values = [_average(each, names) for each in rounds]
    design = max(each.design[name] for each in (*rounds, *less) for name in names)
    if less:
        if [_list_units(each, design) for each in rounds] != [_list_units(each, design) for each in less]:
            raise ValueError("These rounds have not been measured on the same test items, so nothing tells them apart.")
        values = [value - _average(each, names) for value, each in zip(values, less, strict=True)]
    added = [_average_influences(each, names, design=design) for each in rounds]
    if less:
        added = [own - _average_influences(each, names, design=design) for own, each in zip(added, less, strict=True)]
    return show_value(values, estimate_rounds(added, [each.drawn[design] for each in rounds]), signed=bool(less))


def show_value(values: Sequence[float], items: Uncertainty, *, signed: bool = False) -> str:
    """Format two cells: the mean over rounds, and its 95 % interval over items and rounds.

    Args:
        items: What the draw of the items is worth.
    """
    parts = [items]
    if len(values) > 1:
        parts.append(Uncertainty(statistics.stdev(values) / len(values) ** 0.5, len(values) - 1.0))
    mean = statistics.mean(values)
    interval = add_uncertainties(parts).compute_interval(mean, lowest=-1.0, highest=1.0)
    sign = "+" if signed else ""
    return f"{mean:{sign}.3f} | " + ("" if interval is None else f"{interval[0]:{sign}.3f} to {interval[1]:{sign}.3f}")


def estimate_rounds(added: Sequence[np.ndarray], drawn: Sequence[Mapping[str, Any]]) -> Uncertainty:
    """Return what the draw of the items is worth in a mean over rounds.

    A unit that several rounds measure is one unit, whose shares add up. Where the rounds measure different items, each
    share is widened by what the mean of its stratum in that round took from it.

    Args:
        added: Of each round, what each unit adds to its value.
        drawn: Of each round, its units and their strata; see `Round`.
    """
    strata = [np.array(each["strata"]) for each in drawn]
    if all(each["units"] == drawn[0]["units"] and each["strata"] == drawn[0]["strata"] for each in drawn):
        return estimate_sum(np.mean(added, axis=0), strata[0])
    shares: dict[str, float] = defaultdict(float)
    for own, each, stratum in zip(added, drawn, strata, strict=True):
        count = np.bincount(stratum)[stratum]
        widened = own * np.sqrt(count / np.maximum(count - 1, 1))
        for unit, share in zip(each["units"], widened.tolist(), strict=True):
            shares[unit] += share / len(added)
    freedom = len(shares) - max(len(np.unique(stratum)) for stratum in strata)
    return Uncertainty(sum(share**2 for share in shares.values()) ** 0.5, float(max(freedom, 0)))


def _list_units(found: Round, design: int) -> Sequence[str]:
    units: Sequence[str] = found.drawn[design]["units"]
    return units


def _average(found: Round, names: Sequence[str]) -> float:
    return statistics.mean(found.average_precision[name] for name in names)


def _average_influences(found: Round, names: Sequence[str], *, design: int) -> np.ndarray:
    """Return what each unit adds to the mean over some directions."""
    return np.mean([found.drawn[design]["influences"][name] for name in names], axis=0)


def write_lines(lines: Iterable[str], path: Path | None) -> None:
    """Print the lines and, if a path is given, write them there."""
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def show_counts(found: Round) -> str:
    """Format the numbers of classes and test items of a table."""
    counts = ", ".join(f"{count:,} {medium}" for medium, count in found.counts.items())
    return f"{found.class_count} classes; test items: {counts}"
