import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toy_run import CLASS_COUNT, DIM, LogitsLoss, PullLoss, ToyNetwork, accumulation_of, make_batch

from fieldmark.errors import NonFiniteLossError, TrainingError
from fieldmark.models.fgcrossnet import FGCrossNet
from fieldmark.training.group import Group
from fieldmark.training.optimizer import OptimizerKind, OptimizerOptions
from fieldmark.training.step import Stepper, WeightedLoss, can_use_bf16, defer_interrupts, seed_step
from fieldmark.types import MEDIA, Batch, Medium, MediumBatch, Outputs
from product_parts import (
    center_loss,
    classification_loss,
    fgcrossnet,
    ranking_loss,
    released_ranking_loss,
    text_stem,
    trunk_of_depth,
)

SGD = OptimizerOptions(kind=OptimizerKind.SGD, lr=1.0, momentum=0.0, weight_decay=0.0, clip_norm=None)


class ScaledLogits(nn.Module):
    """The sum of the logits times a factor."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, outputs: Outputs) -> Tensor:
        return self.scale * outputs.logits.sum()


class RootOfZero(nn.Module):
    """A finite loss with an infinite gradient."""

    def forward(self, outputs: Outputs) -> Tensor:
        return (outputs.logits.sum() * 0).abs().sqrt()


class Raising(nn.Module):
    """A loss that cannot be computed."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def forward(self, outputs: Outputs) -> Tensor:
        if self.error:
            raise self.error
        return torch.empty(2**52)  # more than any machine has


def make_stepper(losses: Mapping[str, WeightedLoss], *, options: OptimizerOptions = SGD) -> Stepper:
    network = ToyNetwork().eval()  # without dropout, so that a step can be computed by hand
    return stepper_of(network, losses, options=options)


def stepper_of(
    network: nn.Module,
    losses: Mapping[str, WeightedLoss],
    *,
    options: OptimizerOptions = SGD,
    last_good: Path = Path("last.safetensors"),
) -> Stepper:
    accumulation = accumulation_of(network)
    return Stepper(
        network, accumulation=accumulation, losses=losses, options=options, group=Group(), last_good=last_good
    )


def changes(stepper: Stepper, batch: Batch, *, lr: float) -> Tensor:
    """How far each weight of the classifier moves in a step."""
    before = stepper.network.classifier.weight.detach().clone()
    stepper.take(batch, lr=lr, step=1)
    return stepper.network.classifier.weight.detach() - before


def test_stepper_total_is_the_weighted_sum() -> None:
    losses = {"a": WeightedLoss(LogitsLoss(), weight=2.0), "b": WeightedLoss(PullLoss(), weight=0.5)}
    loss = make_stepper(losses).take(make_batch(seed=0), lr=0.1, step=1)
    assert list(loss.parts) == ["a", "b"]
    assert loss.total == pytest.approx(2 * loss.parts["a"] + 0.5 * loss.parts["b"])


def test_stepper_moves_against_the_gradient_by_the_rate() -> None:
    batch = make_batch(seed=0)
    stepper = make_stepper({"a": WeightedLoss(LogitsLoss(), weight=3.0)})
    outputs = accumulation_of(stepper.network).compute(batch).outputs
    (gradient,) = torch.autograd.grad(3.0 * LogitsLoss()(outputs), [stepper.network.classifier.weight])
    torch.testing.assert_close(changes(stepper, batch, lr=0.25), -0.25 * gradient)


def test_stepper_moves_the_parameters_of_a_loss_by_their_own_rate() -> None:
    slow, fast = PullLoss(), PullLoss()
    for loss, scale in ((slow, 1.0), (fast, 10.0)):
        make_stepper({"center": WeightedLoss(loss, lr_scale=scale)}).take(make_batch(seed=0), lr=0.01, step=1)
    torch.testing.assert_close(fast.centers, 10 * slow.centers)
    assert slow.centers.abs().sum() > 0


def test_stepper_clips_the_gradient_of_the_network() -> None:
    batch = make_batch(seed=0)
    options = replace(SGD, clip_norm=0.01)
    stepper = make_stepper({"a": WeightedLoss(ScaledLogits(1000.0))}, options=options)
    before = [parameter.detach().clone() for parameter in stepper.network.parameters()]
    stepper.take(batch, lr=1.0, step=1)
    moved = [after.detach() - each for after, each in zip(stepper.network.parameters(), before, strict=True)]
    assert torch.cat([each.flatten() for each in moved]).norm() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("module", [ScaledLogits(float("nan")), ScaledLogits(float("inf")), RootOfZero()])
def test_stepper_stops_before_a_weight_turns_non_finite(module: nn.Module, tmp_path: Path) -> None:
    batch = make_batch(seed=0)
    for is_saved in (False, True):
        last = tmp_path / "last.safetensors"
        if is_saved:
            last.touch()
        network = ToyNetwork()
        before = [parameter.detach().clone() for parameter in network.parameters()]
        stepper = stepper_of(network, {"odd": WeightedLoss(module)}, last_good=last)
        with pytest.raises(NonFiniteLossError) as caught:
            stepper.take(batch, lr=0.1, step=17)
        message = str(caught.value)
        assert "step 17 (odd " in message
        assert "gradient norm" in message
        assert batch.item_ids[0] in message
        assert (str(last) in message) == is_saved
        assert "Lower 'train.lr'" in message
        assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "error",
    [None, MemoryError(), torch.OutOfMemoryError("Tried to allocate 9 GiB.\nMore."), RuntimeError("std::bad_alloc")],
)
def test_stepper_says_which_setting_to_lower_when_memory_runs_out(error: Exception | None) -> None:
    stepper = make_stepper({"large": WeightedLoss(Raising(error))})
    with pytest.raises(
        TrainingError, match=r"at step 3, with 12 rows.*Split the batch.*'train.accumulation'.*lower 'data"
    ) as caught:
        stepper.take(make_batch(seed=0), lr=0.1, step=3)
    assert "\n" not in str(caught.value)


def test_stepper_leaves_other_errors_alone() -> None:
    stepper = make_stepper({"broken": WeightedLoss(Raising(RuntimeError("shapes differ")))})
    with pytest.raises(RuntimeError, match="shapes differ"):
        stepper.take(make_batch(seed=0), lr=0.1, step=1)


LOSSES = {
    "classification": WeightedLoss(classification_loss()),
    "center": WeightedLoss(center_loss(class_count=3, dim=8), weight=0.1),
    "ranking": WeightedLoss(ranking_loss()),
    "released_ranking": WeightedLoss(released_ranking_loss()),
}


def test_stepper_takes_a_batch_of_one_class() -> None:
    parts = []
    for part in make_batch(seed=0).parts:
        own = part.label == 1
        parts.append(MediumBatch(part.medium, inputs=part.inputs[own], label=part.label[own]))
    stepper = make_stepper(LOSSES)
    loss = stepper.take(Batch(tuple(parts), item_ids=("a",)), lr=0.1, step=1)
    assert (loss.parts["ranking"], loss.parts["released_ranking"]) == (0, 0)
    assert loss.parts["classification"] > 0
    assert all(bool(parameter.isfinite().all()) for parameter in stepper.network.parameters())


@pytest.mark.parametrize("absent", list(Medium)[:2])
def test_stepper_takes_a_batch_without_a_medium(absent: Medium) -> None:
    whole = make_batch(seed=0)
    batch = replace(whole, parts=tuple(part for part in whole.parts if part.medium is not absent))
    stepper = make_stepper(LOSSES)
    line = stepper.network.lines[absent.value]
    before = line.weight.detach().clone()
    loss = stepper.take(batch, lr=0.1, step=1)
    outputs = accumulation_of(stepper.network).compute(whole).outputs
    assert loss.parts["classification"] < stepper.losses["classification"](outputs)  # a sum over the media present
    assert all(value > 0 for value in loss.parts.values())
    assert torch.equal(line.weight, before)


def test_stepper_does_nothing_without_rows() -> None:
    stepper = make_stepper(LOSSES)
    before = [parameter.detach().clone() for parameter in stepper.network.parameters()]
    assert stepper.take(Batch(parts=(), item_ids=()), lr=0.1, step=1) is None
    assert all(torch.equal(now, then) for now, then in zip(stepper.network.parameters(), before, strict=True))


def test_seed_step_follows_from_seed_epoch_and_step() -> None:
    drawn = set()
    with torch.random.fork_rng(devices=[]):
        for place in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0)]:
            for process in (0, 1):
                seed_step(place[0], epoch=place[1], step=place[2], process_index=process)
                drawn.add(float(torch.rand(())))
    assert len(drawn) == 8


def test_interrupts_after_lets_the_block_end() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), defer_interrupts():  # noqa: PT012 - the block is what is tested
        os.kill(os.getpid(), signal.SIGINT)
        done = True
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_after_does_nothing_beside_the_main_thread() -> None:
    entered = []

    def work() -> None:
        with defer_interrupts():
            entered.append(True)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [True]


# ---------------------------------------------------------------- gradient accumulation


def joint_loss(outputs: Outputs) -> torch.Tensor:
    """A loss whose terms join rows of different parts."""
    losses = [ranking_loss(), classification_loss(), center_loss(class_count=CLASS_COUNT, dim=DIM)]
    return torch.stack([loss(outputs) for loss in losses]).sum()


def gradients(network: nn.Module, batch: Batch, **execution: object) -> list[torch.Tensor]:
    """What a step gives each weight."""
    network.zero_grad()
    computed = accumulation_of(network, **execution).compute(batch)
    joint_loss(computed.outputs).backward()
    computed.backpropagate()
    return [parameter.grad.clone() for parameter in network.parameters()]


def picture_batch(rows: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    parts = []
    for medium in Medium:
        shape, high = ((rows, 32), 69) if medium is Medium.TEXT else ((rows, 3, 32, 32), 256)
        inputs = torch.randint(high, shape, generator=generator, dtype=torch.uint8)
        parts.append(MediumBatch(medium, inputs=inputs, label=torch.arange(rows)))
    return Batch(tuple(parts), item_ids=())


def small_network() -> FGCrossNet:
    torch.manual_seed(0)
    trunk = trunk_of_depth(10, base_width=8)
    return fgcrossnet(class_count=CLASS_COUNT, trunk=trunk, text=text_stem(conv_width=32))


def test_rows_carry_label_and_medium() -> None:
    batch = make_batch(seed=0)
    batch = replace(batch, parts=batch.parts[::-1])
    network = ToyNetwork().eval()
    outputs = accumulation_of(network).compute(batch).outputs
    text, image = batch.parts
    assert outputs.medium.tolist() == [MEDIA.index(Medium.TEXT)] * 6 + [MEDIA.index(Medium.IMAGE)] * 6
    assert torch.equal(outputs.label, torch.cat([text.label, image.label]))
    assert torch.equal(outputs.embedding[6:], network(image.inputs, Medium.IMAGE)[0])
    assert torch.equal(outputs.logits[:6], network(text.inputs, Medium.TEXT)[1])


@settings(max_examples=5)
@given(part_count=st.integers(1, 9))
def test_parts_give_the_gradient_of_the_whole_batch(part_count: int) -> None:
    network = ToyNetwork().eval()  # rows do not depend on their company
    whole = gradients(network, make_batch(seed=0))
    for one, other in zip(gradients(network, make_batch(seed=0), part_count=part_count), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_parts_go_through_the_second_time_as_the_first() -> None:
    """With dropout and batch norm: the gradient is that of one graph over the parts, and buffers move once."""
    batch = make_batch(seed=0)
    network, oracle = ToyNetwork(), ToyNetwork()
    torch.manual_seed(5)
    found = gradients(network, batch, part_count=2)
    torch.manual_seed(5)
    halves = [
        Batch(
            tuple(replace(p, inputs=p.inputs[own], label=p.label[own]) for p in batch.parts), item_ids=()
        )
        for own in (slice(0, 3), slice(3, 6))
    ]  # fmt: skip
    rows = [accumulation_of(oracle).compute(half).outputs for half in halves]
    names = ("embedding", "logits", "label", "medium")
    joint_loss(Outputs(*(torch.cat([getattr(each, name) for each in rows]) for name in names))).backward()
    for one, other in zip(found, oracle.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)
    for one, other in zip(network.buffers(), oracle.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_small_batches_summed_up_would_give_another_gradient() -> None:
    """What parts are not: the ranking of each part by itself."""
    network, batch = ToyNetwork().eval(), make_batch(seed=0)
    whole = gradients(network, batch)
    network.zero_grad()
    for own in (slice(0, 3), slice(3, 6)):
        parts = tuple(replace(p, inputs=p.inputs[own], label=p.label[own]) for p in batch.parts)
        (joint_loss(accumulation_of(network).compute(Batch(parts, item_ids=())).outputs) / 2).backward()
    summed = [parameter.grad for parameter in network.parameters()]
    assert any(not torch.allclose(one, other, rtol=1e-2) for one, other in zip(summed, whole, strict=True))


def test_channels_last_changes_the_memory_and_not_the_result() -> None:
    network, other = small_network().eval(), small_network().eval()
    batch = picture_batch()
    plain = accumulation_of(other).compute(batch).outputs
    found = accumulation_of(network, channels_last=True).compute(batch).outputs
    assert network.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert not other.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.embedding, plain.embedding, rtol=1e-4, atol=1e-5)
    assert torch.equal(network.conv1.weight, other.conv1.weight)


def test_bf16_keeps_weights_gradients_and_rows_in_float32() -> None:
    network = small_network().eval()  # batch norm over two rows would blow the rounding up
    plain = accumulation_of(small_network().eval()).compute(picture_batch()).outputs
    computed = accumulation_of(network, bf16=True).compute(picture_batch())
    assert (computed.outputs.embedding.dtype, computed.outputs.logits.dtype) == (torch.float32, torch.float32)
    assert not torch.equal(computed.outputs.embedding, plain.embedding)
    assert (computed.outputs.embedding * plain.embedding).sum(dim=1).min() > 0.99
    computed.outputs.logits.sum().backward()
    assert {parameter.grad.dtype for parameter in network.parameters() if parameter.grad is not None} == {torch.float32}


def test_supports_bf16_is_a_matter_of_the_chip() -> None:
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
        flags = file.read()
    assert can_use_bf16(torch.device("cpu")) == ("avx512_bf16" in flags or "amx_bf16" in flags)
    assert not can_use_bf16(torch.device("meta"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own, as it compiles
def test_a_compiled_network_gives_the_same_rows() -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on the CPU")
    network, batch = ToyNetwork().eval(), make_batch(seed=0)
    batch = replace(batch, parts=batch.parts[:1])
    with torch.no_grad():  # what a gradient needs would be compiled as well, for half a minute
        plain, found = (accumulation_of(network, is_compiled=each).compute(batch).outputs for each in (False, True))
    torch.testing.assert_close(found.embedding, plain.embedding, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.logits, plain.logits, rtol=1e-4, atol=1e-6)
