from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import StepLR

from fieldmark.build import build_optimizer_options, build_schedule
from fieldmark.config import TrainConfig
from fieldmark.training.optimizer import (
    OptimizerKind,
    OptimizerOptions,
    Schedule,
    ScheduleKind,
    build_optimizer,
    read_optimizer_state,
    restore_optimizer,
    set_lr,
)


def make_schedule(kind: ScheduleKind, **changes: object) -> Schedule:
    return replace(build_schedule(TrainConfig()), kind=kind, **changes)


def make_options(kind: OptimizerKind, **changes: object) -> OptimizerOptions:
    return replace(build_optimizer_options(TrainConfig()), kind=kind, lr=0.1, **changes)


@given(
    kind=st.sampled_from(ScheduleKind),
    warmup=st.floats(0, 5),
    epochs=st.integers(1, 20),
    steps_per_epoch=st.integers(1, 30),
    cut=st.floats(0.01, 1),
)
def test_schedule_factor_lies_between_0_and_1(
    kind: ScheduleKind, warmup: float, epochs: int, steps_per_epoch: int, cut: float
) -> None:
    schedule = make_schedule(kind, warmup_epochs=warmup, step_epochs=2, step_factor=cut)
    step_count = epochs * steps_per_epoch
    for step in range(step_count):
        factor = schedule.compute_factor(step, steps_per_epoch=steps_per_epoch, step_count=step_count)
        assert 0 < factor <= 1


def test_schedule_step_is_that_of_the_paper() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    oracle = StepLR(optimizer, step_size=3, gamma=0.5)
    schedule = make_schedule(ScheduleKind.STEP)
    for epoch in range(10):
        for step in (epoch * 7, epoch * 7 + 6):
            assert schedule.compute_factor(step, steps_per_epoch=7, step_count=70) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        oracle.step()


def test_schedule_cosine_climbs_then_falls_to_its_end() -> None:
    schedule = make_schedule(ScheduleKind.COSINE, warmup_epochs=0.5)
    factors = [schedule.compute_factor(step, steps_per_epoch=8, step_count=24) for step in range(24)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert factors[14] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.01


def test_schedule_constant_stays() -> None:
    schedule = make_schedule(ScheduleKind.CONSTANT)
    assert {schedule.compute_factor(step, steps_per_epoch=3, step_count=9) for step in range(9)} == {1.0}


@pytest.mark.parametrize("kind", OptimizerKind)
def test_build_optimizer_decays_only_weight_matrices(kind: OptimizerKind) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2).requires_grad_(False))
    loss = nn.ParameterDict({"centers": torch.zeros(4, 2)})
    options = make_options(kind, weight_decay=0.5)
    optimizer = build_optimizer(network, losses=[(loss, 20.0), (nn.Identity(), 1.0)], options=options)
    set_lr(optimizer, 0.2)
    groups = {tuple(each.shape for each in group["params"]): group for group in optimizer.param_groups}
    assert {shapes: (group["lr"], group["weight_decay"]) for shapes, group in groups.items()} == {
        ((3, 2),): (0.2, 0.5),
        ((3,), (3,), (3,)): (0.2, 0.0),
        ((4, 2),): (4.0, 0.0),
    }


@pytest.mark.parametrize(
    "options",
    [
        make_options(OptimizerKind.ADAMW, weight_decay=0.1),
        make_options(OptimizerKind.SGD),
        make_options(OptimizerKind.SGD, momentum=0.0),
    ],
)
def test_restore_optimizer_goes_on_exactly(options: OptimizerOptions) -> None:
    inputs = torch.randn(12, 5, 2, generator=torch.Generator().manual_seed(0))

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(1)
        network = nn.Linear(2, 3)
        return network, build_optimizer(network, losses=[], options=options)

    def take(network: nn.Module, optimizer: torch.optim.Optimizer, rows: torch.Tensor) -> None:
        optimizer.zero_grad()
        network(rows).square().sum().backward()
        optimizer.step()

    straight, optimizer = make()
    for rows in inputs:
        take(straight, optimizer, rows)
    broken, first = make()
    for rows in inputs[:5]:
        take(broken, first, rows)
    resumed, second = make()
    resumed.load_state_dict(broken.state_dict())
    restore_optimizer(second, read_optimizer_state(first))
    for rows in inputs[5:]:
        take(resumed, second, rows)
    assert torch.equal(resumed.weight, straight.weight)
    assert torch.equal(resumed.bias, straight.bias)


def test_schedule_early_counts_an_epoch_before_it_is_trained() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1e-3)
    oracle = StepLR(optimizer, step_size=3, gamma=0.5)
    with pytest.warns(UserWarning, match=r"`lr_scheduler\.step\(\)` before `optimizer\.step\(\)`"):
        oracle.step()
    schedule = make_schedule(ScheduleKind.STEP, is_early=True)
    for epoch in range(21):
        factor = schedule.compute_factor(epoch * 7, steps_per_epoch=7, step_count=147)
        assert 1e-3 * factor == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    assert 1e-3 * factor == pytest.approx(8e-6, rel=0.03)
