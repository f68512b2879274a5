r"""Common spaces of the literature beside ours, on the same features of real birds.

    python benchmarks/baselines.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml \
        --kept runs/baselines --out docs/results/baselines.md

Every method reads what the pretrained encoders of the configuration give. The baselines take one row for each item, the
mean of its segments', along the principal components that our heads are given. Their settings are the best of a small
grid on items held out from train, a quarter by group, in two draws; the test split is read once by what was chosen.
Strict protocol; a round is a seed. A finished round is kept in the folder `--kept` and never run twice.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import rounds
import torch
from methods.acmr import ACMR
from methods.baseline import Baseline, LabeledFeatures
from methods.cca import CCA
from methods.dscmr import DSCMR
from methods.semantic_matching import SemanticMatching
from rounds import REAL_MEDIA
from space import hold_out
from torch import Tensor

import fieldmark
from fieldmark import Item, Medium, Split
from fieldmark.build import create_model
from fieldmark.embedding import encode_items
from fieldmark.evaluation.measurement import EvaluationContext
from fieldmark.evaluation.measurement import measure as measure_embeddings
from fieldmark.evaluation.protocol import STRICT
from fieldmark.leakage import find_leaks_of_items, link_contents
from fieldmark.models.fitted import Standardization
from fieldmark.types import Embeddings, Failure

COMPONENTS = 512
TUNING_DRAWS = 2
METHODS: dict[str, tuple[Baseline, ...]] = {
    "CCA, class-paired": tuple(CCA(dim=dim, ridge=ridge) for dim in (10, 25) for ridge in (0.01, 0.1, 1.0, 10.0)),
    "Semantic matching": tuple(SemanticMatching(temperature=value) for value in (0.5, 1.0, 2.0, 4.0)),
    "ACMR": tuple(
        ACMR(label_weight=label, adversary_weight=adversary) for label in (1.0, 10.0) for adversary in (0.03, 0.3)
    ),
    "DSCMR": tuple(
        DSCMR(likelihood_weight=likelihood, invariance_weight=invariance)
        for likelihood in (0.1, 1.0, 10.0)
        for invariance in (0.01, 0.1)
    ),
}
"""Each method with the settings that are tried."""


@dataclass(frozen=True, slots=True)
class Table:
    """The items with the mean features of each.

    Args:
        facts: What the features stand on, and the draw of the items that are held out.
    """

    facts: tuple[str, ...]
    items: tuple[Item, ...]
    features: Mapping[str, Tensor]
    class_names: tuple[str, ...]


def main() -> None:
    """Choose settings, evaluate every method on the test split, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(rounds.STUDENT_T))
    parser.add_argument("--kept", type=Path, required=True, help="folder of finished rounds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    config = fieldmark.load_config(arguments.config)
    table = read_features(arguments.manifest, config)
    chosen = {name: choose(name, grid, table, kept=arguments.kept) for name, grid in METHODS.items()}
    found = {}
    for name, baseline in chosen.items():
        found[name] = [measure(table, baseline, seed=seed, kept=arguments.kept) for seed in range(arguments.seeds)]
        print(f"{name}: {statistics.mean(each.mean(REAL_MEDIA) for each in found[name]):.4f} on test", flush=True)
    found["Ours, shared space"] = [
        rounds.train_once(arguments.manifest, config.model_copy(update={"seed": seed}), kept=arguments.kept)
        for seed in range(arguments.seeds)
    ]
    command = f"--config {arguments.config} --seeds {arguments.seeds}"
    rounds.write_lines(format_table(found, chosen, command=command), arguments.out)


def read_features(manifest: Path, config: fieldmark.Config) -> Table:
    """Return the features of all labeled items of train and test, one row each."""
    items = [item for item in fieldmark.read_manifest(manifest) if item.class_name is not None]
    class_names = tuple(sorted({item.class_name for item in items if item.split is Split.TRAIN}))
    media = {item.medium for item in items}
    model = create_model(config, class_names=class_names, media=media, device=torch.device("cpu"))
    kept, features = [], {}
    for encoded in encode_items(items, model=model, runtime=fieldmark.Runtime.from_environment(), task="features"):
        if not isinstance(encoded, Failure):
            kept.append(encoded.item)
            features[encoded.item.item_id] = encoded.inputs.mean(dim=0)
    facts = (rounds.hash_file(manifest), config.to_json())
    return Table(facts, tuple(kept), features, class_names)


def choose(name: str, grid: Sequence[Baseline], table: Table, *, kept: Path) -> Baseline:
    """Return the settings that are best on held-out items."""
    draws = [
        replace(table, facts=(*table.facts, f"draw {seed}"), items=tuple(hold_out(table.items, seed=seed)))
        for seed in range(TUNING_DRAWS)
    ]
    means = []
    for baseline in grid:
        results = [measure(draw, baseline, seed=seed, kept=kept) for seed, draw in enumerate(draws)]
        means.append(statistics.mean(each.mean(REAL_MEDIA) for each in results))
        print(f"{name}, {baseline}: {means[-1]:.4f} held out", flush=True)
    return grid[int(np.argmax(means))]


def measure(table: Table, baseline: Baseline, *, seed: int, kept: Path) -> rounds.Round:
    """Evaluate the method on the table's test split; a round in `kept` is not run again."""
    facts = (*table.facts, str(baseline), f"seed {seed}")
    return rounds.keep(kept, facts, lambda: fit_and_evaluate(table, baseline, seed=seed))


def fit_and_evaluate(table: Table, baseline: Baseline, *, seed: int) -> rounds.Round:
    """Fit the method to the training items and evaluate it on the test split."""
    training, ways = {}, {}
    for medium in Medium:
        own = [item for item in table.items if item.medium is medium and item.split is Split.TRAIN]
        if own:
            rows = torch.stack([table.features[item.item_id] for item in own])
            ways[medium] = Standardization(rows.shape[1], component_count=min(COMPONENTS, rows.shape[1]))
            ways[medium].fit(rows)
            label = torch.tensor([table.class_names.index(item.class_name or "") for item in own])
            training[medium] = LabeledFeatures(ways[medium](rows), label)
    space = baseline.fit(training, seed=seed)
    tested = tuple(item for item in table.items if item.split is Split.TEST and item.medium in training)
    vectors = [space.project(ways[item.medium](table.features[item.item_id][None]), item.medium) for item in tested]
    no_time = np.full(len(tested), np.nan)
    measurement = measure_embeddings(
        Embeddings(tested, no_time, no_time, torch.cat(vectors).numpy().astype(np.float32)),
        protocol=STRICT,
        context=EvaluationContext(leaks=tuple(find_leaks_of_items(table.items, link_contents(table.items)))),
    )
    return rounds.summarize(measurement, steps=0, seconds=0.0)


def format_table(
    found: Mapping[str, Sequence[rounds.Round]], chosen: Mapping[str, Baseline], *, command: str
) -> Iterator[str]:
    """Format all methods as Markdown, ours last."""
    ours = list(found.values())[-1]
    names = rounds.directions(REAL_MEDIA)
    yield "# Published methods on the same features"
    yield ""
    yield f"Measured with `python benchmarks/baselines.py MANIFEST {command}` on fgbirds:"
    yield f"{rounds.show_counts(ours[0])}. Strict protocol, {len(ours)} seeds."
    yield ""
    yield "Each method learns a common space for the same features. MAP is the mean over the six directions between"
    yield "image, text and audio, with its 95 % interval over items and seeds. The difference is to our method, paired"
    yield "by item and seed; differences are not adjusted for the number of methods. Settings were chosen on items held"
    yield "out of the train split by group."
    yield ""
    yield "The figures published for these methods were measured on other data and other features, so they cannot be"
    yield "compared with these."
    yield ""
    yield "| method | MAP | 95 % interval | difference | 95 % interval | I→T | I→A | T→I | T→A | A→I | A→T |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for name, results in found.items():
        shown = rounds.show_mean_of_items(results, names, less=ours) if name in chosen else " | "
        cells = [statistics.mean(each.average_precision[direction] for each in results) for direction in names]
        yield (
            f"| {name} | {rounds.show_mean_of_items(results, names)} | {shown} | "
            f"{' | '.join(f'{cell:.3f}' for cell in cells)} |"
        )
    yield ""
    yield "Chosen settings:"
    yield ""
    for name, baseline in chosen.items():
        settings = ", ".join(f"{each.name} {getattr(baseline, each.name):g}" for each in fields(baseline))
        yield f"- {name}: {settings}"


if __name__ == "__main__":
    main()
