"""Our repairs of the released recipe one by one, at small size and equal steps, on a synthetic aviary.

    python benchmarks/repairs.py --kept runs/repairs --out docs/results/repairs.md

Trains the recipe of the released code (`fgcrossnet_released`: its stages, losses, batches and schedule), then with each
repair alone, with all of them, and with all but one. All rows share size, epochs and the rows of a step. At small size
there is no pretrained trunk to start from, and the released rate of 1e-3 moves nothing in so few steps; each row has
the rate of a few that is best for itself on an aviary of another seed: half of `RATES` with the released schedule,
whose cuts used to come an epoch early in this script. A training that ends in numbers that are not
finite counts as a random ranking, and is told. A finished round is kept in the folder `--kept` and never run twice.
Test split, strict protocol.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import rounds
from rounds import ALL_MEDIA, Round

import fieldmark
from fieldmark.errors import NonFiniteEmbeddingError, NonFiniteLossError

CLASSES, ITEMS = 12, 16
IMAGE_EPOCHS, EPOCHS = 6, 10
"""Of stage 0, and of the stages c and r each."""
RATES = (0.01, 0.03, 0.1, 0.3)
SCHEDULE = "schedule that trains"
NAMES = rounds.directions(ALL_MEDIA)
SMALL = (
    "model.depth=10",
    "model.base_width=16",
    "model.resize_pixels=96",
    "model.crop_pixels=84",
    "model.frame_seconds=0.5",
    "model.max_frames=4",
    "data.workers=0",
    "train.step_epochs=1",  # 50 epochs have 16 cuts; these 10 have 10
    f"train.epochs={EPOCHS}",
)


@dataclass(frozen=True, slots=True)
class Repair:
    """One defect of the released code.

    Args:
        released: Overrides that keep it.
        repaired: Overrides that mend it.
    """

    released: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()


BATCHES, RANKING, CENTERS = "batches of common classes", "ranking with two hinges", "centers that follow and stay"
REPAIRS: dict[str, Repair] = {
    BATCHES: Repair(
        ("data.order='lists'", "data.items_per_medium=4"),
        ("data.order='classes'", "data.classes_per_batch=4", "data.items_per_class=1"),
    ),
    RANKING: Repair(),
    CENTERS: Repair(),
    SCHEDULE: Repair(repaired=("train.schedule='cosine'",)),
    "statistics of each medium, sizes of their own": Repair(
        ("model.statistics_per_medium=false", "model.text_length=84", "model.text_width=84"),
        ("model.statistics_per_medium=true", "model.text_length=448", "model.text_width=32"),
    ),
    "whole texts": Repair(("model.released_text=true",), ("model.released_text=false",)),
    "uncut spectrograms": Repair(("model.crop_spectrograms=true",), ("model.crop_spectrograms=false",)),
    "features as the embedding": Repair(("model.embedding='logits'",), ("model.embedding='features'",)),
}
"""In the order of the table; the two losses are put together by `list_losses`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recipe and its results.

    Args:
        mended: Names of its repairs.
        found: By seed; None for a training that came to nothing finite.
    """

    mended: frozenset[str]
    rate: float
    found: list[Round | None]

    def show_mean(self, *, chance: float, less: "Row | None" = None) -> str:
        """Format two cells: the mean MAP and its interval; over seeds alone where a training came to nothing finite.

        Args:
            chance: What counts as the mean of such a training.
            less: Another row, whose mean is taken away.
        """
        finite, others = ([each for each in row.found if each is not None] for row in (self, less or self))
        if len(finite) == len(others) == len(self.found):
            return rounds.show_mean_of_items(finite, NAMES, less=others if less else ())
        means = [
            [chance if each is None else each.mean(ALL_MEDIA) for each in row.found] for row in (self, less or self)
        ]
        if less is None:
            return rounds.show_mean(means[0])
        return rounds.show_mean([mean - other for mean, other in zip(*means, strict=True)], signed=True)


def main() -> None:
    """Find the learning rates, run every row seed by seed, and write the table after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(rounds.STUDENT_T))
    parser.add_argument("--rows", nargs="+", help="names of the recipes to run; all if not given")
    parser.add_argument(
        "--rates-of", type=Path, help="a page of this script whose rates are taken, and not chosen anew"
    )
    parser.add_argument("--kept", type=Path, required=True, help="folder of finished rounds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    manifest, other = (make_aviary(arguments.kept, seed=seed) for seed in (0, 1))
    known = read_rates(arguments.rates_of) if arguments.rates_of else {}
    rows = {
        name: Row(mended, known.get(name) or choose_rate(name, mended, manifest=other, kept=arguments.kept), [])
        for name, mended in list_rows().items()
        if arguments.rows is None or name in arguments.rows
    }
    for seed in range(arguments.seeds):
        for name, row in rows.items():
            config = build_config(row.mended, rate=row.rate, seed=seed)
            row.found.append(train(manifest, config, kept=arguments.kept))
            print(f"seed {seed}, {name}: {show(row.found[-1])}", flush=True)
        if seed:
            options = "".join(f' "{name}"' for name in arguments.rows or ())
            command = f"--seeds {seed + 1}" + (f" --rows{options}" if options else "")
            rounds.write_lines(format_table(rows, command=command), arguments.out)


def train(manifest: Path, config: fieldmark.Config, *, kept: Path) -> Round | None:
    """Return the round of a configuration; None if its numbers did not stay finite."""
    try:
        return rounds.train_once(manifest, config, kept=kept)
    except (NonFiniteLossError, NonFiniteEmbeddingError):
        return None


def show(found: Round | None) -> str:
    """Return the mean MAP as text."""
    return "not finite" if found is None else f"{found.mean(ALL_MEDIA):.4f}"


def list_rows() -> dict[str, frozenset[str]]:
    """List the repairs of each row."""
    everything = frozenset(REPAIRS)
    return {
        "released": frozenset(),
        **{f"released + {name}": frozenset({name}) for name in REPAIRS},
        "all repairs": everything,
        **{f"all but {name}": everything - {name} for name in REPAIRS},
    }


def make_aviary(folder: Path, *, seed: int) -> Path:
    """Make a synthetic set once and return its manifest."""
    manifest = folder / f"aviary-{seed}" / "manifest.csv"
    if manifest.exists():
        return manifest
    return fieldmark.synthesize(manifest.parent, class_count=CLASSES, items_per_medium=ITEMS, seed=seed)


def choose_rate(name: str, mended: frozenset[str], *, manifest: Path, kept: Path) -> float:
    """Choose the best learning rate for a recipe, on an aviary of another seed."""
    means = {}
    rates = RATES if SCHEDULE in mended else tuple(rate / 2 for rate in RATES)
    for rate in rates:
        found = train(manifest, build_config(mended, rate=rate, seed=0), kept=kept)
        means[rate] = -1.0 if found is None else found.mean(ALL_MEDIA)
        print(f"{name}, at a rate of {rate:g} on another aviary: {show(found)}", flush=True)
    return max(rates, key=means.__getitem__)


def read_rates(page: Path) -> dict[str, float]:
    """Return the rate of each recipe in the table of a page."""
    cells = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {each[1].strip(): float(each[2]) for each in cells if each[1].strip() in list_rows()}


def build_config(mended: frozenset[str], *, rate: float, seed: int) -> fieldmark.Config:
    """Build the released recipe at small size with some repairs."""
    options = [
        option
        for name, repair in REPAIRS.items()
        for option in (repair.repaired if name in mended else repair.released)
    ]
    overrides = [*SMALL, *options, *list_losses(mended), f"train.lr={rate}", f"seed={seed}"]
    return fieldmark.load_config("fgcrossnet_released", overrides=overrides)


def list_losses(mended: frozenset[str]) -> list[str]:
    """List the overrides for the losses and the stages that name them."""
    center = "{kind='center', weight=0.001}" if CENTERS in mended else "{kind='released_center'}"
    ranking = "{kind='ranking', weight=0.1}" if RANKING in mended else "{kind='released_ranking'}"
    center_kind = "center" if CENTERS in mended else "released_center"
    keeps = "true" if CENTERS in mended else "false"
    return [
        f"losses=[{{kind='classification'}}, {center}, {ranking}]",
        f"stages=[{{name='0', media=['image'], losses=['classification'], epochs={IMAGE_EPOCHS}}}, "
        f"{{name='c', losses=['classification', '{center_kind}']}}, {{name='r', keep_centers={keeps}}}]",
    ]


def format_table(rows: Mapping[str, Row], *, command: str) -> Iterator[str]:
    """Format all rows as Markdown; each is compared with the recipe it departs from."""
    finite = [each for row in rows.values() for each in row.found if each is not None]
    steps, chance, seeds = [each.steps for each in finite], finite[0].chance, len(next(iter(rows.values())).found)
    yield "# Repairs of the released recipe, one by one"
    yield ""
    yield f"Measured with `python benchmarks/repairs.py {command}`. An FGCrossNet of 10 layers at 84 pixels is trained"
    yield f"from scratch on a synthetic aviary; {rounds.show_counts(finite[0])}."
    yield f"Stages 0, c and r have {IMAGE_EPOCHS}, {EPOCHS} and {EPOCHS} epochs with 16 rows a step, {min(steps):,} to"
    yield f"{max(steps):,} steps in all, with SGD. Each recipe uses the learning rate of"
    yield f"{', '.join(f'{each:g}' for each in RATES)}, or half of these with the released schedule, that is best for"
    yield "it on another aviary."
    yield ""
    yield f"Results are for the test split under the strict protocol with {seeds} seeds: the mean MAP of the 12"
    yield "directions between two media, with its 95 % interval over items and seeds. The difference is paired by"
    yield "seed. It is"
    yield 'to the released recipe or, for the rows "all but ...", to all repairs.'
    yield f"A random ranking reaches {chance:.3f}. A training whose numbers did not stay finite counts as random. Bugs"
    yield "that are not options have no row (wrong labels on several GPUs, a script that does not start)."
    yield ""
    yield "| recipe | rate | MAP | 95 % interval | difference | 95 % interval | within a medium | not finite |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        origin = "all repairs" if name.startswith("all but") else "released"
        shown = " | "
        if name != origin and origin in rows:
            shown = row.show_mean(chance=chance, less=rows[origin])
        within = [each.mean_within(ALL_MEDIA) for each in row.found if each is not None]
        cells = row.show_mean(chance=chance), shown, f"{statistics.mean(within):.3f}" if within else ""
        yield f"| {name} | {row.rate:g} | {' | '.join(cells)} | {row.found.count(None) or ''} |"


if __name__ == "__main__":
    main()
