"""Ours beside the released code of He et al., ACM MM 2019, which is run as it is: logits, losses, MAPs, learning rates.

    python benchmarks/released.py CHECKOUT [--python INTERPRETER] [--out docs/results/released.md]

CHECKOUT is a clone of github.com/PKU-ICST-MIPL/FGCrossNet_ACMMM2019; INTERPRETER can run it (its README names Python
3.6 and torch 1.0; by default it is this one, with today's torch). Both sides get the same tensors, so that decoders of
pictures and sounds play no part. Nothing of the checkout is kept.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import rounds
import torch

from fieldmark import load_config
from fieldmark.build import build_losses, build_schedule
from fieldmark.build_networks import NetworkInputs, build_network
from fieldmark.evaluation.measurement import evaluate
from fieldmark.evaluation.protocol import PAPER
from fieldmark.models.weights import complete_counters, read_released_size, read_weights
from fieldmark.training.step import WeightedLoss
from fieldmark.types import MEDIA, Embeddings, Item, Medium, Outputs

CLASS_COUNT = 200
SCALES = (1, 2, 4, 8, 16)
NO_INPUTS = NetworkInputs({}, {}, {})
MAP_COUNTS = {Medium.IMAGE: 290, Medium.TEXT: 200, Medium.AUDIO: 300, Medium.VIDEO: 284}
"""A twentieth of the test counts of PKU FG-XMedia."""
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32).reshape(3, 1, 1)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32).reshape(3, 1, 1)
_PICTURES = (Medium.IMAGE, Medium.VIDEO, Medium.AUDIO)
_LOSS_ORDER = (Medium.IMAGE, Medium.VIDEO, Medium.AUDIO, Medium.TEXT)
"""Of the released forward pass."""


def main() -> None:
    """Make the inputs, run both sides and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", default=sys.executable, help="interpreter that can run the checkout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        inputs, pixels = make_inputs(arguments.seed, work=work)
        side = Path(__file__).with_name("released_side.py")
        subprocess.run([arguments.python, str(side), str(arguments.checkout), name], check=True)
        with np.load(work / "theirs.npz") as file:
            theirs = {key: file[key] for key in file.files}
        notes = (work / "notes.txt").read_text().splitlines()
        rounds.write_lines(format_comparison(inputs, pixels, theirs, notes, work=work), arguments.out)


def make_inputs(seed: int, *, work: Path) -> tuple[dict[str, np.ndarray], dict[Medium, torch.Tensor]]:
    """Write the inputs of both sides, with a random network; return them, and the pictures as bytes."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pixels = {
        medium: torch.from_numpy(generator.integers(0, 256, (2, 3, 448, 448), dtype=np.uint8)) for medium in _PICTURES
    }
    symbols = generator.integers(0, 69, (2, 448))
    network = build_network(load_config("fgcrossnet_released").model, class_count=CLASS_COUNT, inputs=NO_INPUTS)
    texts = torch.from_numpy(symbols.astype(np.uint8))
    with torch.no_grad():
        network.train()(texts, Medium.TEXT)  # statistics other than 0 and 1
        network.fc.weight.mul_(2)
    state = OrderedDict((f"module.{name}", each) for name, each in network.state_dict().items())
    torch.save(state, work / "model_parallel.pkl", _use_new_zipfile_serialization=False)
    torch.save(network.state_dict(), work / "model.pkl", _use_new_zipfile_serialization=False)
    inputs = {
        **{f"pixels_{m}": ((pixels[m].numpy() / np.float32(255)) - _MEAN) / _STD for m in _PICTURES},
        "symbols": symbols,
        "loss_logits": generator.normal(size=(16, CLASS_COUNT)).astype(np.float32),
        "loss_labels": np.concatenate([generator.permutation(4) for _ in range(4)]),
        "centers": generator.normal(size=(CLASS_COUNT, CLASS_COUNT)).astype(np.float32),
        "scales": np.array(SCALES, dtype=np.float64),
    }
    for medium, count in MAP_COUNTS.items():
        label = np.sort(np.arange(count) % 50)  # class-sorted, as the lists are
        logits = generator.normal(size=(count, CLASS_COUNT))
        logits[np.arange(count), label] += 1.5
        inputs[f"map_logits_{medium}"] = logits.astype(np.float32)
        inputs[f"map_labels_{medium}"] = label
    np.savez(work / "inputs.npz", **inputs)
    return inputs, pixels


def format_comparison(
    inputs: Mapping[str, np.ndarray],
    pixels: Mapping[Medium, torch.Tensor],
    theirs: Mapping[str, np.ndarray],
    notes: list[str],
    *,
    work: Path,
) -> Iterator[str]:
    """Format all comparisons as Markdown."""
    yield "# Beside the released code"
    yield ""
    yield "Made by `python benchmarks/released.py CHECKOUT`: the code of github.com/PKU-ICST-MIPL/FGCrossNet_ACMMM2019"
    yield f"runs beside ours on the same tensors. Theirs: {notes[0]}; ours: torch {torch.__version__}."
    yield f"Changes to theirs, so that it runs here: {'; '.join(dict.fromkeys(notes[1:])) or 'none'}."
    yield ""
    yield from format_logits(inputs, pixels, theirs, work=work)
    yield from format_losses(inputs, theirs)
    yield from format_maps(inputs, theirs)
    yield from format_rates(theirs)


def format_logits(
    inputs: Mapping[str, np.ndarray],
    pixels: Mapping[Medium, torch.Tensor],
    theirs: Mapping[str, np.ndarray],
    *,
    work: Path,
) -> Iterator[str]:
    """Compare the logits of the network that the state saved by DataParallel gives us."""
    state = read_weights(work / "model_parallel.pkl")
    size = read_released_size(state, path=work / "model_parallel.pkl")
    network = build_network(load_config("fgcrossnet_released").model, class_count=size.class_count, inputs=NO_INPUTS)
    network.load_state_dict(complete_counters(state, list(size.names_and_shapes())))
    network.eval()
    yield "## Logits: a random ResNet-50, two rows of each medium"
    yield ""
    yield "| medium | largest logit | largest difference |"
    yield "|---|---|---|"
    for medium in MEDIA:
        given = pixels[medium] if medium in pixels else torch.from_numpy(inputs["symbols"].astype(np.uint8))
        with torch.no_grad():
            logits = network(given, medium)[1].numpy()
        other = theirs[f"logits_{medium}"]
        yield f"| {medium} | {np.abs(other).max():.2f} | {np.abs(logits - other).max():.1e} |"
    yield ""


def format_losses(inputs: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Compare the three losses and their gradients by the logits."""
    config = load_config("fgcrossnet_released")
    network = build_network(config.model, class_count=CLASS_COUNT, inputs=NO_INPUTS)
    losses = build_losses(config.losses, network=network)
    medium = torch.tensor([MEDIA.index(each) for each in _LOSS_ORDER]).repeat_interleave(4)
    yield "## Losses: 4 rows of each medium, with their weights"
    yield ""
    yield "| loss | theirs | ours | largest gradient by a logit | largest difference |"
    yield "|---|---|---|---|---|"
    for name, weighted in zip(("classification", "center", "ranking"), losses.values(), strict=True):
        value, gradient = compute_loss(weighted, inputs, medium)
        other = theirs[f"gradient_{name}"]
        gap = np.abs(gradient - other).max()
        yield f"| {name} | {float(theirs[f'loss_{name}']):.6f} | {value:.6f} | {np.abs(other).max():.1e} | {gap:.1e} |"
    centers = losses["released_center"]
    compute_loss(centers, inputs, medium)
    [parameter] = centers.module.parameters()
    assert parameter.grad is not None
    moved, other = parameter.grad.numpy() * centers.lr_scale, theirs["gradient_centers"]
    yield f"| center, by its centers x 1000 | | | {np.abs(other).max():.1e} | {np.abs(moved - other).max():.1e} |"
    yield ""


def compute_loss(
    weighted: WeightedLoss, inputs: Mapping[str, np.ndarray], medium: torch.Tensor
) -> tuple[float, np.ndarray]:
    """Return a weighted loss and its gradient by the logits."""
    logits = torch.from_numpy(inputs["loss_logits"]).requires_grad_()
    for parameter in weighted.module.parameters():
        parameter.grad = None
        parameter.data.copy_(torch.from_numpy(inputs["centers"]))
    label = torch.from_numpy(inputs["loss_labels"])
    outputs = Outputs(torch.nn.functional.normalize(logits), logits, label, medium)
    value = weighted.weight * weighted.module(outputs)
    value.backward()
    assert logits.grad is not None
    return value.item(), logits.grad.numpy()


def format_maps(inputs: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Compare the 16 MAPs at each scale of the logits."""
    counts = ", ".join(f"{count} {medium}" for medium, count in MAP_COUNTS.items())
    yield "## 16 MAPs, protocol paper"
    yield ""
    yield f"Random logits with a hint of the class, in galleries sorted by class ({counts}; 50 classes), times a"
    yield "scale, then softmax. The script sorts by NumPy's default, which is not stable: where distances are equal as"
    yield "doubles, its MAP depends on the processor. The column 'stable' is the script with `argsort(kind='stable')`."
    yield ""
    yield "| scale | mean of 12, theirs | ours | mean of 4, theirs | ours | largest difference | from stable |"
    yield "|---|---|---|---|---|---|---|"
    for scale in SCALES:
        ours = compute_maps(inputs, scale)
        other = {key: float(theirs[f"map_{scale:g}_{key}"]) for key in ours}
        gap = max(abs(ours[key] - other[key]) for key in ours)
        means = [
            np.mean([values[key] for key in ours if key.endswith("_all") == is_multi])
            for is_multi in (False, True)
            for values in (other, ours)
        ]
        exact = max(abs(ours[key] - float(theirs[f"stable_{scale:g}_{key}"])) for key in ours)
        yield f"| {scale} | {' | '.join(f'{mean:.6f}' for mean in means)} | {gap:.1e} | {exact:.1e} |"
    yield ""


def compute_maps(inputs: Mapping[str, np.ndarray], scale: float) -> dict[str, float]:
    """Return our 16 MAPs."""
    logits = np.concatenate([inputs[f"map_logits_{medium}"] for medium in MAP_COUNTS]) * np.float32(scale)
    items = tuple(
        Item(f"{medium}-{row}", medium, class_name=f"class {label:03}")
        for medium in MAP_COUNTS
        for row, label in enumerate(inputs[f"map_labels_{medium}"])
    )
    no_time = np.full(len(items), np.nan)
    found = evaluate(Embeddings(items, no_time, no_time, logits, logits), protocol=PAPER, split=None)
    return {
        f"{each.query_medium}_to_{each.gallery_medium or 'all'}": each.mean_average_precision
        for each in found.directions
    }


def format_rates(theirs: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Compare the learning rates by epoch."""
    train = load_config("fgcrossnet_released").train
    schedule = build_schedule(train)
    ours = [train.lr * schedule.compute_factor(epoch, steps_per_epoch=1, step_count=50) for epoch in range(50)]
    yield "## Learning rates"
    yield ""
    yield "Epochs are counted from 0. Torch 1.0 and today's torch run the same line differently; ours is that of torch"
    yield "1.0, which the script names."
    yield ""
    yield "| epoch | theirs, under the torch above | ours |"
    yield "|---|---|---|"
    for epoch in (0, 1, 2, 3, 5, 6, 9, 20, 49):
        yield f"| {epoch} | {theirs['rates'][epoch]:.3e} | {ours[epoch]:.3e} |"
    same = float(np.mean(np.isclose(theirs["rates"], ours)))
    early = float(np.mean(np.isclose(theirs["rates"][:-1], ours[1:])))
    yield ""
    yield f"In {same:.0%} of the epochs both have the same rate. In {early:.0%}, theirs is ours of the next epoch."


if __name__ == "__main__":
    main()
