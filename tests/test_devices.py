"""What moves tensors runs on a device that is not the CPU, and gives what the CPU gives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark import config
from fieldmark.build import build_execution, build_losses
from fieldmark.embedding import embed_segments
from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.ranking import Compute, LabeledRows, Ranking
from fieldmark.evaluation.sorted_keys import Relevance
from fieldmark.models.fgcrossnet import FGCrossNet
from fieldmark.models.network import Network
from fieldmark.models.shared_space import SharedSpace
from fieldmark.training.group import Group
from fieldmark.training.optimizer import OptimizerKind, OptimizerOptions
from fieldmark.training.step import GradientAccumulation, Stepper
from fieldmark.types import MEDIA, Batch, Medium, MediumBatch
from pretended_device import DeviceTensor, MixedDevicesError, pretended_device
from product_parts import fgcrossnet, shared_space_size, text_stem, trunk_of_depth

NAMES = {f"bird {letter}": column for column, letter in enumerate("abcdef")}
WIDTHS = {Medium.IMAGE: 8, Medium.TEXT: 6, Medium.AUDIO: 8}
LABEL = torch.arange(36) % 4
GROUP = torch.arange(36) // 4
SGD = OptimizerOptions(kind=OptimizerKind.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, clip_norm=1.0)
ADAMW = OptimizerOptions(kind=OptimizerKind.ADAMW, lr=0.01, momentum=0.9, weight_decay=0.01, clip_norm=None)


@pytest.fixture
def device() -> Iterator[torch.device]:
    with pretended_device() as device:
        yield device


# ---------------------------------------------------------------- the device itself


def test_the_device_refuses_what_a_gpu_refuses(device):
    there, here = torch.ones(3, device=device), torch.ones(3)
    for mixed in (
        lambda: there + here,
        lambda: torch.cat([there, here]),
        lambda: torch.where(there > 0, there, here),
        lambda: here[torch.tensor([1], device=device)],
        lambda: there.index_add_(0, torch.tensor([0]), torch.ones(1, device=device)),
        lambda: torch.stack([here, there]),
        lambda: torch.nn.functional.cross_entropy(there[None], torch.tensor([1])),
    ):
        with pytest.raises(MixedDevicesError):
            mixed()
    with pytest.raises(MixedDevicesError, match=r"call cpu\(\) first"):
        there.numpy()


def test_the_device_takes_what_a_gpu_takes(device):
    there = torch.arange(3.0, device=device)
    there[torch.tensor([0])] = 5.0  # indices may be on the CPU
    there[1] = torch.tensor(7.0)
    there[1:].copy_(torch.tensor([8.0, 9.0]))
    assert (there * torch.tensor(2.0)).tolist() == [10.0, 16.0, 18.0]
    assert there.device == torch.zeros_like(there).device == device
    assert type(there.cpu()) is torch.Tensor


# ---------------------------------------------------------------- models


def features_of(medium: Medium) -> torch.Tensor:
    generator = torch.Generator().manual_seed(MEDIA.index(medium))
    rows = torch.rand(36, WIDTHS[medium], generator=generator)
    rows[torch.arange(36), LABEL] += 1.0
    return rows / rows.norm(dim=1, keepdim=True)


def make_shared_space(*, uniform_trunk: bool = False) -> SharedSpace:
    torch.manual_seed(0)
    return SharedSpace(
        input_dims=WIDTHS,
        class_count=5,
        named_counts={Medium.IMAGE: len(NAMES)},
        size=shared_space_size(
            dim=16, hidden_dim=32, component_count=8, name_dim=16, uniform_trunk=uniform_trunk, dropout=0.0
        ),
    )


def fit(network: SharedSpace, *, device: torch.device | str) -> None:
    """Fit all media as training does: the encoder of images names four classes of five, one of them without rows."""
    species = [["bird a"], ["bird b"], [], ["bird d"], ["bird e"]]
    for medium in WIDTHS:
        named = NAMES if medium is Medium.IMAGE else None
        rows, label, group = (each.to(device) for each in (features_of(medium), LABEL, GROUP))
        network.fit(medium, rows, label, group=group, class_species=species, named_scores=named)


@pytest.mark.parametrize(
    ("uniform_trunk", "rows_are_there"), [(False, False), (True, True)], ids=["rows_on_the_cpu", "rows_on_the_device"]
)
def test_the_shared_space_is_fitted_and_used_on_its_device(device, uniform_trunk, rows_are_there):
    here, there = (make_shared_space(uniform_trunk=uniform_trunk) for _ in range(2))
    fit(here, device="cpu")
    there.to(device)
    fit(there, device=device if rows_are_there else "cpu")
    for name, value in there.state_dict().items():
        assert isinstance(value, DeviceTensor), name
        torch.testing.assert_close(value.cpu(), here.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)
    here.eval(), there.eval()
    for medium in WIDTHS:
        embedding, logits = here(features_of(medium), medium)
        got, got_logits = there(features_of(medium).to(device), medium)
        torch.testing.assert_close(got.detach().cpu(), embedding.detach(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(got_logits.detach().cpu(), logits.detach(), rtol=1e-3, atol=1e-3)
        sure = there.measure_sureness(got.detach(), medium=medium)
        torch.testing.assert_close(sure.cpu(), here.measure_sureness(embedding.detach(), medium=medium))
        for label in (None, 1):
            torch.testing.assert_close(
                there.embed_name("bird b", label=label).cpu(), here.embed_name("bird b", label=label)
            )
        np.testing.assert_allclose(
            embed_segments(features_of(medium), medium=medium, network=there)[0],
            embed_segments(features_of(medium), medium=medium, network=here)[0],
            rtol=1e-3,
            atol=1e-4,
        )


# ---------------------------------------------------------------- a training step


def make_fgcrossnet() -> FGCrossNet:
    torch.manual_seed(0)
    return fgcrossnet(class_count=5, trunk=trunk_of_depth(10, base_width=4), text=text_stem(conv_width=8))


def make_batch(network: Network) -> Batch:
    generator = torch.Generator().manual_seed(1)
    label = torch.tensor([0, 0, 1, 1, 4, 4])
    if isinstance(network, SharedSpace):
        inputs = {medium: features_of(medium)[:6] for medium in WIDTHS}
    else:
        pixels = torch.randint(0, 256, (6, 3, 32, 32), generator=generator, dtype=torch.uint8)
        inputs = {
            Medium.IMAGE: pixels,
            Medium.VIDEO: pixels.flip(0),
            Medium.AUDIO: pixels.flip(1),
            Medium.TEXT: torch.randint(0, 60, (6, 64), generator=generator, dtype=torch.uint8),
        }
    return Batch(
        tuple(MediumBatch(medium, each, label) for medium, each in inputs.items()),
        tuple(f"{medium}/{row}" for medium in inputs for row in range(6)),
    )


PRESETS = {
    "fieldmark": (
        make_shared_space,
        (
            config.ClassificationConfig(kind="classification"),
            config.CenterConfig(kind="center"),
            config.RankingConfig(kind="ranking"),
        ),
        ADAMW,
    ),
    "fgcrossnet": (
        make_fgcrossnet,
        (
            config.ClassificationConfig(kind="classification"),
            config.CenterConfig(kind="center", space="logits"),
            config.RankingConfig(kind="ranking", cross_media=True),
        ),
        SGD,
    ),
    "released": (
        make_fgcrossnet,
        (
            config.ClassificationConfig(kind="classification"),
            config.ReleasedCenterConfig(kind="released_center"),
            config.ReleasedRankingConfig(kind="released_ranking"),
        ),
        SGD,
    ),
}


def train_two_steps(preset: str, device: torch.device, *, parts: int) -> tuple[Stepper, list[float]]:
    make, losses, options = PRESETS[preset]
    network = make().to(device).train()
    execution = build_execution(
        config.TrainConfig(accumulation=parts, channels_last=preset != "fieldmark"), device=device
    )
    built = build_losses(losses, network=network)
    for each in built.values():
        each.module.to(device)
    stepper = Stepper(
        network,
        accumulation=GradientAccumulation(
            network, forward=network.forward_together, execution=execution, device=device
        ),
        losses=built,
        options=options,
        group=Group(),
        last_good=Path("last.safetensors"),
    )
    torch.manual_seed(0)
    found = [stepper.take(make_batch(network), lr=0.01, step=step) for step in (1, 2)]
    return stepper, [each.total for each in found if each is not None]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_training_step_runs_on_the_device(device, preset, parts):
    _, expected = train_two_steps(preset, torch.device("cpu"), parts=parts)
    stepper, total = train_two_steps(preset, device, parts=parts)
    assert total == pytest.approx(expected, rel=1e-3)
    for module in (stepper.network, stepper.losses):
        for name, value in module.state_dict().items():
            assert isinstance(value, DeviceTensor), name


# ---------------------------------------------------------------- ranking


@pytest.mark.parametrize("ties", Ties)
def test_a_ranking_runs_on_the_device(device, ties):
    generator = np.random.default_rng(0)
    rows = LabeledRows(generator.normal(size=(20, 5)).astype(np.float32), generator.integers(3, size=20), np.arange(20))
    found = []
    for each in (torch.device("cpu"), device):
        ranking = Ranking(rows, part=np.arange(20) % 2, part_count=2, ties=ties, compute=Compute(device=each))
        chunks = list(ranking.rank(rows, relevance=[Relevance(rows.label, rows.label)], exclude_self=True))
        nearest = ranking.find_nearest(rows, k=3, exclude_self=True)
        found.append((chunks, nearest))
    (here, near_here), (there, near_there) = found
    for one, other in zip(here, there, strict=True):
        for mine, its in zip(one.blocks[0], other.blocks[0], strict=True):
            np.testing.assert_array_equal(mine.better_count, its.better_count)
    for one, other in zip(near_here, near_there, strict=True):
        np.testing.assert_array_equal(one.gallery, other.gallery)
