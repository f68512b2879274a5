"""Worth of every number that shapes the shared space: each changed alone, on classes seen in training and on others.

    python benchmarks/weights.py MANIFEST --config configs/fgbirds.toml --out weights.md

Only the train split is read. In each round, another quarter of it is held out by group, and the rest of six classes is
left out of training. Seen: mean MAP of the six directions between image, text and audio (strict protocol), queries of
the other classes. Unseen: queries of the six, from image and audio to image and audio; texts of unseen species find
nearly nothing. Galleries hold all classes. Differences are taken round by round, with a 95 % interval of Student's t.

A number that no training reads (`EMBEDDING_ONLY`) is changed in the checkpoint of the reference; the others train anew.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from rounds import REAL_MEDIA, STUDENT_T, directions, show_mean, write_lines
from space import hold_out

import fieldmark
from fieldmark import Medium, Split
from fieldmark.evaluation.result import SEEN, UNSEEN, Slice
from fieldmark.training.checkpoint import load_checkpoint, save_checkpoint

UNSEEN_COUNT = 6
SIX = tuple(directions(REAL_MEDIA))
OF_UNSEEN = tuple(f"{query}_to_{gallery}" for query, gallery in product((Medium.IMAGE, Medium.AUDIO), repeat=2))
REFERENCE = "as configured"
EMBEDDING_ONLY = {
    "posterior_weight": (0.0, 1.0, 6.0),
    "private_dim": (0, 32, 128),
    "name_weight": (0.4, 1.2),
}
TRAINED = {
    "model.name_weight": (0.0,),
    "model.name_dim": (64, 256),
    "model.named_weight": (0.0, 0.5),
    "model.linear_weight": (0.0, 0.7, 2.0),
    "model.scale": (8.0, 32.0),
    "model.dim": (128,),
    "model.hidden_dim": (256,),
    "model.component_count": (256,),
    "model.input_dropout": (0.0,),
    "model.dropout": (0.0,),
    "train.epochs": (30,),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Mean MAP of one model in one round."""

    seen: float
    unseen: float


def main() -> None:
    """Measure all changes in every round; the table is written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--rounds", type=int, default=3, choices=sorted(STUDENT_T))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, list[Figures]] = {}
    for round_number in range(arguments.rounds):
        items = hold_out_classes(fieldmark.read_manifest(arguments.manifest), seed=round_number)
        base = [f"seed={round_number}", "data.validation_share=0.0"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            manifest = folder / "manifest.csv"
            fieldmark.write_manifest(items, manifest)
            config = fieldmark.load_config(arguments.config, overrides=base)
            run = fieldmark.train(manifest, out=folder / "run", config=config).run
            keep(found, REFERENCE, measure(manifest, run, out=folder / "whole"))
            for key, values in EMBEDDING_ONLY.items():
                for value in values:
                    changed = change_checkpoint(run, key, value, out=folder / f"{key}-{value}.safetensors")
                    keep(found, f"{key} = {value:g}", measure(manifest, changed, out=folder / f"{key}-{value}"))
            for key, values in TRAINED.items():
                for value in values:
                    config = fieldmark.load_config(arguments.config, overrides=[*base, f"{key}={value}"])
                    own = fieldmark.train(manifest, out=folder / f"{key}-{value}", config=config).run
                    label = f"{key.removeprefix('model.')} = {value:g}"
                    keep(found, label, measure(manifest, own, out=folder / f"{key}-{value}-embedded"))
        write_lines(format_report(found, config=arguments.config, rounds=round_number + 1), arguments.out)


def hold_out_classes(items: Sequence[fieldmark.Item], *, seed: int) -> list[fieldmark.Item]:
    """Return the train split alone, a quarter of it as test items, and nothing else of the classes that are drawn."""
    divided = hold_out(items, seed=seed)
    names = sorted({item.class_name for item in divided if item.class_name is not None})
    unseen = set(np.random.default_rng([seed, 2]).permutation(names)[:UNSEEN_COUNT].tolist())
    return [item for item in divided if item.split is Split.TEST or item.class_name not in unseen]


def change_checkpoint(run: Path, key: str, value: float, *, out: Path) -> Path:
    """Write the checkpoint of a run with one number of its model changed."""
    checkpoint = load_checkpoint(run)
    config = fieldmark.Config.model_validate_json(checkpoint.provenance.config_json)
    changed = config.model_copy(update={"model": config.model.model_copy(update={key: value})})
    save_checkpoint(out, replace(checkpoint, provenance=replace(checkpoint.provenance, config_json=changed.to_json())))
    return out


def measure(manifest: Path, checkpoint: Path, *, out: Path) -> Figures:
    """Embed the held-out items, and return the figures of seen and of unseen classes."""
    fieldmark.embed(manifest, checkpoint=checkpoint, out=out, split=Split.TEST)
    evaluation = fieldmark.evaluate(out)
    by_name = {
        each.name: {name: mean.mean_average_precision for name, mean in each.by_slice[Slice.TRAINING].items()}
        for each in (*evaluation.directions, *evaluation.same_medium)
    }
    return Figures(
        seen=statistics.mean(by_name[name][SEEN] for name in SIX),
        unseen=statistics.mean(by_name[name][UNSEEN] for name in OF_UNSEEN),
    )


def keep(found: dict[str, list[Figures]], label: str, figures: Figures) -> None:
    """Add the figures of a round, and print them."""
    found.setdefault(label, []).append(figures)
    print(f"{label}: seen {figures.seen:.4f}, unseen {figures.unseen:.4f}", flush=True)


def format_report(found: dict[str, list[Figures]], *, config: str, rounds: int) -> list[str]:
    """Format the table as Markdown, with the command that made it."""
    lines = [
        f"Measured with `python benchmarks/weights.py MANIFEST --config {config} --rounds {rounds}`.",
        "",
        "| | seen | difference | 95 % interval | unseen | difference | 95 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    reference = found[REFERENCE]
    for label, results in found.items():
        cells = []
        for of in (lambda each: each.seen, lambda each: each.unseen):
            gaps = [of(each) - of(other) for each, other in zip(results, reference, strict=True)]
            shown = " | " if label == REFERENCE or len(gaps) < 2 else show_mean(gaps, signed=True)
            cells.append(f"{statistics.mean(map(of, results)):.3f} | {shown}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
