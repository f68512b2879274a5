"""Our repairs of the released recipe one by one, at small size and equal steps, on a synthetic aviary.

    python benchmarks/repairs.py --kept runs/repairs --out docs/results/repairs.md

Trains the recipe of the released code (`fgcrossnet_released`: its stages, losses, batches and schedule), then with each
repair alone, with all of them, and with all but one. All rows share size, learning rate, epochs and the rows of a step.
At small size there is no pretrained trunk to start from, and the released rate of 1e-3 moves nothing in so few steps;
the rate of all rows is the one of a few that is best for the released recipe itself, on an aviary of another seed.
A finished round is kept in the folder `--kept` and never run twice. Test split, strict protocol.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rounds
from rounds import ALL_MEDIA, Round

import fieldmark

CLASSES, ITEMS = 12, 16
IMAGE_EPOCHS, EPOCHS = 6, 10
"""Of stage 0, and of the stages c and r each."""
RATES = (0.003, 0.01, 0.03, 0.1)
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
    "schedule that trains": Repair(repaired=("train.schedule='cosine'",)),
    "statistics of each medium, sizes of their own": Repair(
        ("model.statistics_per_medium=false", "model.text_length=84", "model.text_width=84"),
        ("model.statistics_per_medium=true", "model.text_length=448", "model.text_width=32"),
    ),
    "whole texts": Repair(("model.released_text=true",), ("model.released_text=false",)),
    "uncut spectrograms": Repair(("model.crop_spectrograms=true",), ("model.crop_spectrograms=false",)),
    "features as the embedding": Repair(("model.embedding='logits'",), ("model.embedding='features'",)),
}
"""In the order of the table; the two losses are put together by `list_losses`."""


def main() -> None:
    """Finds the rate, runs every row seed by seed, and writes the table after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(rounds.STUDENT_T))
    parser.add_argument("--kept", type=Path, required=True, help="folder of finished rounds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    manifest = make_aviary(arguments.kept, seed=0)
    rate = choose_rate(arguments.kept)
    found: dict[str, list[Round]] = {name: [] for name in list_rows()}
    for seed in range(arguments.seeds):
        for name, mended in list_rows().items():
            config = build_config(mended, rate=rate, seed=seed)
            found[name].append(rounds.train_once(manifest, config, kept=arguments.kept))
            print(f"seed {seed}, {name}: {found[name][-1].mean(ALL_MEDIA):.4f}", flush=True)
        if seed:
            lines = format_table(found, rate=rate, command=f"--seeds {seed + 1}")
            rounds.write_lines(lines, arguments.out)


def list_rows() -> dict[str, frozenset[str]]:
    """The repairs of each row."""
    everything = frozenset(REPAIRS)
    return {
        "released": frozenset(),
        **{f"released + {name}": frozenset({name}) for name in REPAIRS},
        "all repairs": everything,
        **{f"all but {name}": everything - {name} for name in REPAIRS},
    }


def make_aviary(folder: Path, *, seed: int) -> Path:
    """The manifest of a synthetic set, made once."""
    manifest = folder / f"aviary-{seed}" / "manifest.csv"
    if manifest.exists():
        return manifest
    return fieldmark.synthesize(manifest.parent, class_count=CLASSES, items_per_medium=ITEMS, seed=seed)


def choose_rate(kept: Path) -> float:
    """The learning rate that is best for the released recipe, on an aviary of another seed."""
    manifest = make_aviary(kept, seed=1)
    means = {}
    for rate in RATES:
        config = build_config(frozenset(), rate=rate, seed=0)
        means[rate] = rounds.train_once(manifest, config, kept=kept).mean(ALL_MEDIA)
        print(f"released at a rate of {rate:g}, another aviary: {means[rate]:.4f}", flush=True)
    return max(RATES, key=means.__getitem__)


def build_config(mended: frozenset[str], *, rate: float, seed: int) -> fieldmark.Config:
    """The released recipe at small size with some repairs."""
    options = [
        option
        for name, repair in REPAIRS.items()
        for option in (repair.repaired if name in mended else repair.released)
    ]
    overrides = [*SMALL, *options, *list_losses(mended), f"train.lr={rate}", f"seed={seed}"]
    return fieldmark.load_config("fgcrossnet_released", overrides=overrides)


def list_losses(mended: frozenset[str]) -> list[str]:
    """Overrides for the losses and the stages that name them."""
    center = "{kind='center', weight=0.001}" if CENTERS in mended else "{kind='released_center'}"
    ranking = "{kind='ranking', weight=0.1}" if RANKING in mended else "{kind='released_ranking'}"
    center_kind = "center" if CENTERS in mended else "released_center"
    keeps = "true" if CENTERS in mended else "false"
    return [
        f"losses=[{{kind='classification'}}, {center}, {ranking}]",
        f"stages=[{{name='0', media=['image'], losses=['classification'], epochs={IMAGE_EPOCHS}}}, "
        f"{{name='c', losses=['classification', '{center_kind}']}}, {{name='r', keep_centers={keeps}}}]",
    ]


def format_table(found: Mapping[str, Sequence[Round]], *, rate: float, command: str) -> Iterator[str]:
    """All rows as Markdown; each is compared with the recipe it departs from."""
    first = found["released"][0]
    steps = [each.steps for results in found.values() for each in results]
    seeds = len(found["released"])
    yield "# Our repairs of the released recipe, one by one"
    yield ""
    rates = ", ".join(f"{each:g}" for each in RATES)
    yield f"Made by `python benchmarks/repairs.py {command}`: FGCrossNet of 10 layers at 84 pixels,"
    yield f"trained from nothing on a synthetic aviary; {rounds.show_counts(first)}."
    yield f"Stages 0, c and r of {IMAGE_EPOCHS}, {EPOCHS} and {EPOCHS} epochs, 16 rows a step, {min(steps):,} to"
    yield f"{max(steps):,} steps, SGD at a rate of {rate:g}, the best of {rates} for the released recipe on another"
    yield f"aviary. Test split, strict protocol, {seeds} seeds; mean MAP of the 12 directions between two media with"
    yield "its 95 % interval over the seeds; the difference is from the released recipe, below 'all repairs' from all"
    yield f"repairs, paired by seed. A random ranking reaches {first.chance:.3f}."
    yield "Faults that are no option (wrong labels on several GPUs, a script that does not start) no row has."
    yield ""
    yield "| recipe | MAP | 95 % interval | difference | 95 % interval |"
    yield "|---|---|---|---|---|"
    for name, results in found.items():
        origin = "all repairs" if name.startswith("all but") else "released"
        means = [each.mean(ALL_MEDIA) for each in results]
        gaps = [mean - other.mean(ALL_MEDIA) for mean, other in zip(means, found[origin], strict=True)]
        shown = " | " if name == origin else rounds.show_mean(gaps, signed=True)
        yield f"| {name} | {rounds.show_mean(means)} | {shown} |"


if __name__ == "__main__":
    main()
