"""FGCrossNet against a plain definition of the released network, and that it learns; the parts of its trunk."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from torch import nn

from fieldmark.models.backbone import MediumNorm
from fieldmark.models.fgcrossnet import (
    EmbeddingSource,
    TextStem,
    TrunkSize,
    TrunkStage,
    initialize_convolutions,
)
from fieldmark.types import MEDIA, Medium, MediumBatch, Outputs
from product_parts import classification_loss, fgcrossnet, ranking_loss, text_stem, trunk_of_depth

BLOCKS_OF_50 = (3, 4, 6, 3)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny convolutions are done before a second thread has woken up, and far sooner on a busy machine."""
    thread_count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(thread_count)


def released_names():
    """Every name in the state of the released network (ResNet-50)."""
    names = {"embed.weight", "conv1.weight"}
    names |= {f"{layer}.{part}" for layer in ("conv01", "conv02", "conv0", "fc") for part in ("weight", "bias")}
    norms = ["bn1"]
    for stage, block_count in enumerate(BLOCKS_OF_50, start=1):
        for block in range(block_count):
            place = f"layer{stage}.{block}"
            names |= {f"{place}.conv{number}.weight" for number in (1, 2, 3)}
            norms += [f"{place}.bn{number}" for number in (1, 2, 3)]
            if block == 0:
                names.add(f"{place}.downsample.0.weight")
                norms.append(f"{place}.downsample.1")
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return names | {f"{norm}.{part}" for norm in norms for part in parts}


def released_logits(state, inputs, medium):
    """The released network in evaluation, step by step."""

    def norm(planes, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        planes = (planes - mean.view(-1, 1, 1)) / torch.sqrt(var.view(-1, 1, 1) + 1e-5)
        return planes * state[f"{name}.weight"].view(-1, 1, 1) + state[f"{name}.bias"].view(-1, 1, 1)

    if medium is Medium.TEXT:
        vectors = state["embed.weight"][inputs.long()].permute(0, 2, 1)
        vectors = F.conv1d(vectors, state["conv01.weight"], state["conv01.bias"], padding=1).clamp(min=0)
        vectors = F.conv1d(vectors, state["conv02.weight"], state["conv02.bias"], padding=1)
        planes = F.conv2d(vectors.reshape(-1, 1, 448, 448), state["conv0.weight"], state["conv0.bias"], padding=1)
    else:
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        planes = (inputs.float() / 255 - mean) / std
    planes = norm(F.conv2d(planes, state["conv1.weight"], stride=2, padding=3), "bn1").clamp(min=0)
    planes = F.max_pool2d(planes, kernel_size=3, stride=2, padding=1)
    for stage, block_count in enumerate(BLOCKS_OF_50, start=1):
        for block in range(block_count):
            place, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            inner = norm(F.conv2d(planes, state[f"{place}.conv1.weight"]), f"{place}.bn1").clamp(min=0)
            inner = F.conv2d(inner, state[f"{place}.conv2.weight"], stride=stride, padding=1)
            inner = norm(inner, f"{place}.bn2").clamp(min=0)
            inner = norm(F.conv2d(inner, state[f"{place}.conv3.weight"]), f"{place}.bn3")
            if block == 0:
                planes = F.conv2d(planes, state[f"{place}.downsample.0.weight"], stride=stride)
                planes = norm(planes, f"{place}.downsample.1")
            planes = (planes + inner).clamp(min=0)
    features = F.avg_pool2d(planes, 14, stride=1).flatten(1)
    return features @ state["fc.weight"].T + state["fc.bias"]


def random_inputs(medium, *, rows, side, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if medium is Medium.TEXT:
        return torch.randint(0, 70, (rows, length), generator=generator, dtype=torch.uint8)
    return torch.randint(0, 256, (rows, 3, side, side), generator=generator, dtype=torch.uint8)


def tiny(**changes):
    torch.manual_seed(0)
    sizes = {"trunk": trunk_of_depth(10, base_width=8), "text": text_stem(conv_width=32), "class_count": 2}
    return fgcrossnet(**sizes | changes)


def test_fgcrossnet_state_has_the_released_names_and_shapes():
    with torch.device("meta"):
        state = fgcrossnet(class_count=200, statistics_per_medium=False).state_dict()
    assert set(state) == released_names()
    assert state["embed.weight"].shape == (70, 16)
    assert state["conv01.weight"].shape == (224, 16, 3)
    assert state["conv02.weight"].shape == (448, 224, 3)
    assert state["conv0.weight"].shape == (3, 1, 3, 3)
    assert state["fc.weight"].shape == (200, 2048)
    assert state["bn1.running_mean"].shape == (64,)


@pytest.mark.slow
def test_fgcrossnet_equals_the_released_network():
    torch.manual_seed(0)
    network = fgcrossnet(class_count=200, statistics_per_medium=False, embedding=EmbeddingSource.LOGITS).eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
        elif value.dim() == 1 and value.is_floating_point():
            value.uniform_(0.2, 0.6)
    state = network.state_dict()
    with torch.inference_mode():
        for medium in MEDIA:
            inputs = random_inputs(medium, rows=1, side=448, length=448)
            embedding, logits = network(inputs, medium)
            expected = released_logits(state, inputs, medium)
            assert expected.std() > 0.01
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(embedding, expected / expected.norm(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize(("space", "dim"), [(EmbeddingSource.FEATURES, 64), (EmbeddingSource.LOGITS, 5)])
def test_fgcrossnet_keeps_the_network_contract(medium, space, dim):
    network = tiny(class_count=5, embedding=space)
    assert (network.dim, network.class_count) == (dim, 5)
    embedding, logits = network(random_inputs(medium, rows=3, side=40, length=50), medium)
    assert (embedding.shape, logits.shape) == ((3, dim), (3, 5))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(("side", "length"), [(32, 7), (33, 100), (70, 448)])
def test_fgcrossnet_takes_inputs_of_any_size(side, length):
    network = tiny().eval()
    for medium in (Medium.AUDIO, Medium.TEXT):
        embedding, _ = network(random_inputs(medium, rows=2, side=side, length=length), medium)
        assert embedding.isfinite().all()


def test_fgcrossnet_rows_do_not_depend_on_their_batch_in_evaluation():
    network = tiny().eval()
    inputs = random_inputs(Medium.VIDEO, rows=4, side=32, length=0)
    together, _ = network(inputs, Medium.VIDEO)
    torch.testing.assert_close(together[2:3], network(inputs[2:3], Medium.VIDEO)[0])


def test_fgcrossnet_gives_the_same_in_channels_last():
    network = tiny().eval()
    inputs = random_inputs(Medium.IMAGE, rows=2, side=32, length=0)
    plain = network(inputs, Medium.IMAGE)
    last = network.to(memory_format=torch.channels_last)(
        inputs.contiguous(memory_format=torch.channels_last), Medium.IMAGE
    )
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_medium", [True, False])
def test_fgcrossnet_together_is_apart_in_evaluation(per_medium):
    network = tiny(statistics_per_medium=per_medium).eval()
    parts = [
        MediumBatch(medium, random_inputs(medium, rows=2, side=32, length=32), torch.zeros(2, dtype=torch.int64))
        for medium in MEDIA
    ]
    together, logits = network.forward_together(parts)
    apart = [network(part.inputs, part.medium) for part in parts]
    torch.testing.assert_close(together, torch.cat([embedding for embedding, _ in apart]))
    torch.testing.assert_close(logits, torch.cat([scores for _, scores in apart]))


@pytest.mark.parametrize("per_medium", [True, False])
def test_fgcrossnet_overfits_eight_items(per_medium):
    network = tiny(statistics_per_medium=per_medium)
    parts = [
        MediumBatch(medium, random_inputs(medium, rows=2, side=32, length=32, seed=seed), torch.tensor([0, 1]))
        for seed, medium in enumerate(MEDIA)
    ]
    label = torch.tensor([0, 1] * 4)
    medium = torch.arange(4).repeat_interleave(2)
    losses = (classification_loss(), ranking_loss())
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(50):
        outputs = Outputs(*network.forward_together(parts), label, medium)
        loss = sum(constraint(outputs) for constraint in losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    embedding, logits = network.forward_together(parts)
    assert logits.argmax(dim=1).tolist() == label.tolist()
    score = (embedding @ embedding.T).fill_diagonal_(2.0)
    same = label.unsqueeze(1) == label
    assert (score.masked_fill(~same, 2.0).amin(dim=1) > score.masked_fill(same, -2.0).amax(dim=1)).all()  # MAP is 1


# ---------------------------------------------------------------- the residual trunk


@pytest.mark.parametrize(
    ("depth", "layers", "dim"),
    [(10, 10, 512), (18, 18, 512), (34, 34, 512), (50, 50, 2048), (101, 101, 2048), (152, 152, 2048)],
)
def test_trunk_size_has_the_layers_of_its_name(depth, layers, dim):
    size = trunk_of_depth(depth)
    in_block = 3 if size.block == "bottleneck" else 2
    assert 2 + in_block * sum(size.stage_blocks) == layers  # the first convolution and the classifier
    assert size.dim == dim


def test_trunk_size_follows_its_base_width():
    assert trunk_of_depth(10, base_width=16).stage_channels == (16, 32, 64, 128)
    assert trunk_of_depth(50, base_width=16).stage_channels == (64, 128, 256, 512)


def test_medium_norm_with_common_statistics_is_batch_norm():
    ours, reference = MediumNorm(5), nn.BatchNorm2d(5)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in reference.state_dict().items()
    }
    generator = torch.Generator().manual_seed(0)
    for medium in (Medium.IMAGE, Medium.TEXT, Medium.AUDIO):
        planes = torch.randn(3, 5, 4, 6, generator=generator) + 2
        torch.testing.assert_close(ours(planes, medium), reference(planes))
    torch.testing.assert_close(ours.state_dict(), reference.state_dict(), check_dtype=True)
    planes = torch.randn(3, 5, 4, 6, generator=generator)
    torch.testing.assert_close(ours.eval()(planes, Medium.VIDEO), reference.eval()(planes))


def test_medium_norm_keeps_the_statistics_of_media_apart():
    norm = MediumNorm(2, per_medium=True)
    alone = {medium: nn.BatchNorm2d(2) for medium in MEDIA}
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for place, medium in enumerate(MEDIA):
            planes = torch.randn(4, 2, 3, 3, generator=generator) * (place + 1) + place
            norm(planes, medium)
            alone[medium](planes)
    norm.eval()
    planes = torch.randn(4, 2, 3, 3, generator=generator)
    for medium in MEDIA:
        torch.testing.assert_close(norm(planes, medium), alone[medium].eval()(planes))


def test_medium_norm_names_its_state_alike_in_both_forms():
    assert MediumNorm(2).state_dict().keys() == MediumNorm(2, per_medium=True).state_dict().keys()


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_stage_gives_the_channels_and_size_of_its_place(block, place):
    size = TrunkSize(block=block, stage_blocks=(2, 1, 2, 1), base_width=4, stem_stride=2)
    stage = TrunkStage(size, index=place, per_medium=False)
    channels = 4 if place == 0 else size.stage_channels[place - 1]
    planes = stage(torch.randn(2, channels, 8, 12), Medium.IMAGE)
    side = 1 if place == 0 else 2
    assert planes.shape == (2, size.stage_channels[place], 8 // side, 12 // side)
    assert len(stage) == size.stage_blocks[place]


def test_initialize_convolutions_draws_by_fan_out():
    convolution = nn.Conv2d(64, 128, 3)
    torch.manual_seed(0)
    initialize_convolutions(nn.Sequential(convolution))
    assert convolution.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_training_texts_get_an_even_number_of_zeros_where_asked():
    torch.manual_seed(0)
    text = TextStem(conv_width=32, shifts_in_training=True)
    network = fgcrossnet(class_count=3, trunk=trunk_of_depth(10, base_width=4), text=text)
    seen: list[torch.Tensor] = []
    network.embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    texts = torch.arange(1, 33, dtype=torch.uint8).expand(100, 32)
    network.train()(texts, Medium.TEXT)
    counts = (seen[0] == 0).sum(dim=1)
    assert set(counts.tolist()) == {0, 2, 4, 6, 8}
    for row, count in zip(seen[0], counts.tolist(), strict=True):
        assert row.tolist() == [0] * count + list(range(1, 33 - count))
    network.eval()(texts, Medium.TEXT)
    assert torch.equal(seen[1], texts.int())
