r"""Ablation of the paper's argument: every subset of the three constraints, several seeds, four studies.

    python benchmarks/ablation.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml \
        --kept runs/ablation --out docs/results/ablation.md

Trains the uniform network (`tiny`) and the shared space on a synthetic aviary, and the shared space on real birds. In
"heads alone" the embedding is where the trained head puts an item, without the share of the classes that a linear
classifier beside it adds, and without what the encoders call the item: there the constraints alone decide. A finished
round is kept in the folder `--kept` and never run twice. Figures are those of the test split, strict protocol; no
setting was chosen by them.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import rounds
from rounds import ALL_MEDIA, REAL_MEDIA, Round

import fieldmark

KINDS = ("classification", "center", "ranking")
SUBSETS = tuple(kinds for size in (1, 2, 3) for kinds in combinations(KINDS, size))
REFERENCE = ("classification",)
AVIARY_CLASSES, AVIARY_ITEMS = 20, 20
Found = dict[tuple[str, ...], list[Round]]
"""The rounds of one study by the kinds of its constraints."""
HEADS_ALONE = ("model.posterior_weight=0.0", "model.name_weight=0.0")


@dataclass(frozen=True, slots=True)
class Study:
    """One table.

    Args:
        media: Whose directions are averaged.
    """

    title: str
    manifest: Path
    config: str
    media: Sequence[fieldmark.Medium]
    overrides: tuple[str, ...] = ()


def main() -> None:
    """Run all studies seed by seed and write the tables after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="of fgbirds")
    parser.add_argument("--config", required=True, help="of the shared space")
    parser.add_argument("--uniform", default="tiny", help="config of the uniform network")
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(rounds.STUDENT_T))
    parser.add_argument("--studies", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="which tables, by number")
    parser.add_argument("--kept", type=Path, required=True, help="folder of finished rounds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    studies = [list_studies(arguments)[number - 1] for number in arguments.studies]
    found: dict[str, Found] = {study.title: {kinds: [] for kinds in SUBSETS} for study in studies}
    for seed in range(arguments.seeds):
        for study in studies:
            for kinds, results in found[study.title].items():
                config = choose(study, kinds, seed=seed)
                results.append(rounds.train_once(study.manifest, config, kept=arguments.kept))
                mean = results[-1].mean(study.media)
                print(f"seed {seed}, {study.title}, {' + '.join(kinds)}: {mean:.4f}", flush=True)
        if seed:
            numbers = " ".join(str(number) for number in arguments.studies)
            command = f"--config {arguments.config} --studies {numbers} --seeds {seed + 1}"
            rounds.write_lines(format_all(studies, found, command=command), arguments.out)


def list_studies(arguments: argparse.Namespace) -> list[Study]:
    """List all studies, in the order of their numbers."""
    birds, aviary = arguments.manifest, make_aviary(arguments.kept)
    shared, uniform = arguments.config, arguments.uniform
    return [
        Study("Aviary, uniform network", aviary, uniform, ALL_MEDIA),
        Study("Real birds, shared space, heads alone", birds, shared, REAL_MEDIA, HEADS_ALONE),
        Study("Real birds, shared space", birds, shared, REAL_MEDIA),
        Study("Aviary, shared space, heads alone", aviary, shared, ALL_MEDIA, HEADS_ALONE),
        Study("Aviary, shared space", aviary, shared, ALL_MEDIA),
    ]


def make_aviary(folder: Path) -> Path:
    """Make the synthetic set once and return its manifest."""
    manifest = folder / "aviary" / "manifest.csv"
    if manifest.exists():
        return manifest
    return fieldmark.synthesize(manifest.parent, class_count=AVIARY_CLASSES, items_per_medium=AVIARY_ITEMS, seed=0)


def choose(study: Study, kinds: Sequence[str], *, seed: int) -> fieldmark.Config:
    """Return the study's configuration with some of its constraints."""
    config = fieldmark.load_config(study.config, overrides=[*study.overrides, f"seed={seed}"])
    return config.model_copy(update={"losses": tuple(loss for loss in config.losses if loss.kind in kinds)})


def format_all(studies: Sequence[Study], found: Mapping[str, Found], *, command: str) -> Iterator[str]:
    """Format all tables as Markdown."""
    yield "# The three constraints, alone and together"
    yield ""
    yield f"Measured with `python benchmarks/ablation.py MANIFEST {command}`."
    yield "Each row trains with a subset of the three constraints, at the weights of the configuration. Results are for"
    yield "the test split under the strict protocol. Columns: the mean MAP of the directions between two media and its"
    yield "95 % interval over items and seeds; the paired difference from classification alone and its interval, not"
    yield "adjusted for the number of rows; and the mean MAP of retrieval within one medium."
    yield ""
    yield '"Heads alone" means that the embedding is the output of the trained heads only. It leaves out the class'
    yield "component, the part of the embedding that is computed from class probabilities (`model.posterior_weight=0`),"
    yield "and the part for names, which says what the encoders call an item (`model.name_weight=0`)."
    yield ""
    yield "No setting was chosen with these figures."
    for study in studies:
        yield from format_table(study, found[study.title])


def format_table(study: Study, found: Found) -> Iterator[str]:
    """Format the table of one study."""
    reference, names = found[REFERENCE], rounds.directions(study.media)
    chosen = fieldmark.load_config(study.config, overrides=study.overrides)
    weights = ", ".join(f"{loss.kind} {loss.weight:g}" for loss in chosen.losses)
    overrides = "".join(f" --set {each}" for each in study.overrides)
    yield ""
    yield f"## {study.title}"
    yield ""
    yield f"`--config {study.config}{overrides}`, {len(reference)} seeds; weights: {weights}."
    yield f"{rounds.show_counts(reference[0])}; mean over {len(names)} directions."
    yield ""
    yield "| constraints | MAP | 95 % interval | difference | 95 % interval | within a medium |"
    yield "|---|---|---|---|---|---|"
    for kinds, results in found.items():
        shown = " | " if kinds == REFERENCE else rounds.show_mean_of_items(results, names, less=reference)
        within = statistics.mean(each.mean_within(study.media) for each in results)
        yield f"| {' + '.join(kinds)} | {rounds.show_mean_of_items(results, names)} | {shown} | {within:.3f} |"


if __name__ == "__main__":
    main()
