import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_run import CLASS_COUNT, DIM, ToyNetwork, accumulation_of, make_batch

from fieldmark.models.fgcrossnet import FGCrossNet
from fieldmark.training.accumulation import can_use_bf16
from fieldmark.types import MEDIA, Batch, Medium, MediumBatch, Outputs
from product_parts import center_loss, classification_loss, fgcrossnet, ranking_loss, text_stem, trunk_of_depth


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
