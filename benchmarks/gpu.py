"""Training, embedding and ranking on the CPU and on a GPU side by side, with the ratio of their times.

    python benchmarks/gpu.py --steps 20

Two presets are trained on random inputs of the shape that their encoders give: `fieldmark` (fitting of the heads, then
steps) and `fgcrossnet` (steps at a smaller picture). Needs a GPU, and refuses without one. It was written on machines
that have none: no figure of it is published here.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import fieldmark
from fieldmark.build import build_execution, build_losses, build_optimizer_options
from fieldmark.config import Config, FGCrossNetConfig
from fieldmark.embedding import embed_segments
from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.ranking import Compute, LabeledRows, Ranking
from fieldmark.evaluation.sorted_keys import Relevance
from fieldmark.models.fgcrossnet import EmbeddingSource, FGCrossNet, TextStem, TrunkSize
from fieldmark.models.network import Network
from fieldmark.models.shared_space import SharedSpace, SharedSpaceSize
from fieldmark.training.group import Group
from fieldmark.training.step import GradientAccumulation, Stepper
from fieldmark.types import MEDIA, Batch, Medium, MediumBatch

CLASS_COUNT = 200
FEATURE_DIMS = {Medium.IMAGE: 2245, Medium.TEXT: 4500, Medium.AUDIO: 7546}
"""About those of configs/fgbirds.toml."""
FITTED_ROWS = 4000
PIXELS = 224
Timed = dict[str, float]


def main() -> None:
    """Measure both devices and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000, help="of the gallery that is ranked")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no GPU that torch can use here (torch.cuda.is_available() is False). Run this where one is.")
    found = {name: measure(torch.device(name), steps=arguments.steps, rows=arguments.rows) for name in ("cpu", "cuda")}
    print(f"CPU with {torch.get_num_threads()} threads; {torch.cuda.get_device_name()}; torch {torch.__version__}\n")
    print("| | CPU, s | GPU, s | ratio |\n|---|---|---|---|")
    for name, on_cpu in found["cpu"].items():
        on_gpu = found["cuda"][name]
        print(f"| {name} | {on_cpu:.3f} | {on_gpu:.3f} | {on_cpu / on_gpu:.1f} |")


def measure(device: torch.device, *, steps: int, rows: int) -> Timed:
    """Return the seconds of every task on a device."""
    timed: Timed = {}
    config = fieldmark.load_config("fieldmark")
    space, inputs = make_shared_space(config, device=device), make_features(16)
    timed["fieldmark: fitting the heads"] = time_call(lambda: fit(space), device=device, count=1)
    step = make_step(space, config, inputs=inputs, device=device)
    timed["fieldmark: a training step"] = time_call(step, device=device, count=steps)
    features = make_features(1024)[Medium.IMAGE]
    timed["fieldmark: 1,024 photos embedded"] = time_call(
        lambda: embed_segments(features, medium=Medium.IMAGE, network=space), device=device, count=3
    )
    config = fieldmark.load_config("fgcrossnet")
    step = make_step(make_fgcrossnet(config).to(device), config, inputs=make_pixels(4), device=device)
    timed["fgcrossnet: a training step"] = time_call(step, device=device, count=max(1, steps // 5))
    timed[f"ranking of {rows:,} rows by 1,000"] = time_call(lambda: rank(rows, device=device), device=device, count=1)
    return timed


def time_call(call: Callable[[], object], *, device: torch.device, count: int) -> float:
    """Return the mean seconds of a call, after one that is not counted."""
    call()
    wait(device)
    started = time.perf_counter()
    for _ in range(count):
        call()
    wait(device)
    return (time.perf_counter() - started) / count


def wait(device: torch.device) -> None:
    """Wait until the device has computed what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_shared_space(config: Config, *, device: torch.device) -> SharedSpace:
    """Return the preset's network for features of three media."""
    keys = SharedSpaceSize.__dataclass_fields__
    size = SharedSpaceSize(**{key: getattr(config.model, key) for key in keys})
    torch.manual_seed(0)
    network = SharedSpace(input_dims=FEATURE_DIMS, class_count=CLASS_COUNT, named_counts=None, size=size)
    return network.to(device)


def make_fgcrossnet(config: Config) -> FGCrossNet:
    """Return the preset's network."""
    model = config.model
    assert isinstance(model, FGCrossNetConfig)
    torch.manual_seed(0)
    return FGCrossNet(
        class_count=CLASS_COUNT,
        trunk=TrunkSize.of_depth(model.depth, base_width=model.base_width, stem_stride=model.stem_stride),
        text=TextStem(conv_width=model.text_width),
        embedding=EmbeddingSource(model.embedding),
        statistics_per_medium=model.statistics_per_medium,
    )


def fit(network: SharedSpace) -> None:
    """Fit the head of every medium, as before training: rows on the CPU, weights on the device."""
    label = torch.arange(FITTED_ROWS) % CLASS_COUNT
    for medium, features in make_features(FITTED_ROWS).items():
        network.fit(medium, features, label)


def make_features(count: int) -> dict[Medium, Tensor]:
    """Return features of each medium."""
    generator = torch.Generator().manual_seed(0)
    return {medium: torch.rand(count, dim, generator=generator) for medium, dim in FEATURE_DIMS.items()}


def make_pixels(count: int) -> dict[Medium, Tensor]:
    """Return pictures, spectrograms and texts as FGCrossNet reads them."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, PIXELS, PIXELS), generator=generator, dtype=torch.uint8)
    text = torch.randint(0, 60, (count, 448), generator=generator, dtype=torch.uint8)
    return {medium: text if medium is Medium.TEXT else pixels for medium in MEDIA}


def make_step(
    network: Network, config: Config, *, inputs: dict[Medium, Tensor], device: torch.device
) -> Callable[[], object]:
    """Return a call that takes one training step by the preset's recipe."""
    count = len(next(iter(inputs.values())))
    label = torch.arange(count) // 2
    batch = Batch(
        tuple(MediumBatch(medium, each, label) for medium, each in inputs.items()),
        tuple(f"{medium}/{row}" for medium in inputs for row in range(count)),
    )
    losses = build_losses(config.losses, network=network)
    for each in losses.values():
        each.module.to(device)
    stepper = Stepper(
        network.train(),
        accumulation=GradientAccumulation(
            network,
            forward=network.forward_together,
            execution=build_execution(config.train, device=device),
            device=device,
        ),
        losses=losses,
        options=build_optimizer_options(config.train),
        group=Group(),
        last_good=Path("last.safetensors"),
    )
    return lambda: stepper.take(batch, lr=1e-4, step=1)


def rank(rows: int, *, device: torch.device) -> None:
    """Rank a random gallery by a thousand queries of it."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(rows, 256)).astype(np.float32)
    gallery = LabeledRows(vectors, generator.integers(CLASS_COUNT, size=rows), np.arange(rows))
    query = LabeledRows(vectors[:1000], gallery.label[:1000], np.arange(1000))
    ranking = Ranking(
        gallery, part=np.zeros(rows, dtype=int), part_count=1, ties=Ties.EXPECTED, compute=Compute(device=device)
    )
    for _ in ranking.rank(query, relevance=[Relevance(query.label, gallery.label)], exclude_self=True):
        pass


if __name__ == "__main__":
    main()
