"""The default network."""

from dataclasses import replace

import pytest
import torch
from toy_features import random

from fieldmark.errors import MediumNotSupportedError
from fieldmark.models.shared_space import SharedSpace
from fieldmark.types import Medium
from product_parts import shared_space_size

SMALL = shared_space_size(dim=16, hidden_dim=32, component_count=8, input_dropout=0.1, dropout=0.1)
DIMS = {Medium.IMAGE: 12, Medium.TEXT: 30, Medium.AUDIO: 5}


@pytest.fixture(params=[False, True], ids=["own_heads", "uniform_trunk"])
def size(request):
    return replace(SMALL, uniform_trunk=request.param)


@pytest.fixture
def network(size):
    torch.manual_seed(0)
    return SharedSpace(input_dims=DIMS, class_count=4, size=size)


def test_uniform_trunk_is_trained_by_every_medium(network, size):
    """With heads of its own a medium trains nothing of the others'."""
    network.train()
    network(random(6, 12), Medium.IMAGE)[1].sum().backward()
    text = [each.grad for name, each in network.named_parameters() if name.startswith("_heads.text.layers.")]
    trunk = [each.grad for name, each in network.named_parameters() if name.startswith("_trunk.")]
    assert (len(text), len(trunk)) == ((0, 4) if size.uniform_trunk else (4, 0))
    assert all(each is None for each in text)
    assert all(each.abs().sum() > 0 for each in trunk)


def labels(count):
    return torch.arange(count) % 4


@pytest.mark.parametrize("medium", DIMS)
@pytest.mark.parametrize("is_training", [True, False])
def test_shared_space_gives_unit_embeddings_and_logits_of_every_medium(network, medium, is_training):
    embedding, logits = network.train(is_training)(random(6, DIMS[medium]), medium)
    assert network.training_dim == 16
    assert network.dim == 16 + len(DIMS) * SMALL.private_dim
    assert embedding.shape == (6, network.training_dim if is_training else network.dim)
    assert logits.shape == (6, network.class_count) == (6, 4)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(6))


def test_shared_space_embeds_a_row_the_same_whatever_else_is_in_the_batch(network):
    rows = random(6, 12)
    network.eval()
    together = network(rows, Medium.IMAGE)[0]
    alone = torch.cat([network(row[None], Medium.IMAGE)[0] for row in rows])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_shared_space_names_the_media_it_takes(network):
    with pytest.raises(MediumNotSupportedError, match="does not support video; it supports image, text, audio"):
        network(random(2, 12), Medium.VIDEO)
    with pytest.raises(MediumNotSupportedError, match="video"):
        network.fit(Medium.VIDEO, random(2, 12), torch.arange(2))


def test_shared_space_does_not_mind_scale_and_offset_of_fitted_features(network):
    rows = random(40, 30)
    network.eval()
    network.fit(Medium.TEXT, rows, labels(40))
    before = network(rows, Medium.TEXT)[0]
    network.fit(Medium.TEXT, 100 * rows + 7, labels(40))
    torch.testing.assert_close(network(100 * rows + 7, Medium.TEXT)[0], before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("row_count", [1, 3, 9, 50])
def test_shared_space_takes_statistics_of_any_number_of_rows(network, row_count):
    network.fit(Medium.TEXT, random(row_count, 30), labels(row_count))
    embedding, logits = network.eval()(random(4, 30, seed=2), Medium.TEXT)
    assert torch.isfinite(embedding).all()
    assert torch.isfinite(logits).all()


def test_shared_space_takes_features_that_do_not_vary(network):
    rows = torch.ones(20, 30)
    network.fit(Medium.TEXT, rows, labels(20))
    assert torch.isfinite(network.eval()(rows, Medium.TEXT)[0]).all()


def test_shared_space_keeps_the_directions_of_largest_variance():
    # Two strong directions in thirty features; whoever keeps two components loses next to nothing.
    strong = random(60, 2) @ random(2, 30, seed=2) + 1e-3 * random(60, 30, seed=3)
    size = shared_space_size(dim=16, component_count=2, input_dropout=0.0, dropout=0.0)
    torch.manual_seed(0)
    network = SharedSpace(input_dims={Medium.TEXT: 30}, class_count=4, size=size).eval()
    network.fit(Medium.TEXT, strong, labels(60))
    moved = network(strong + 1e-3 * random(60, 30, seed=4), Medium.TEXT)[0]
    torch.testing.assert_close(moved, network(strong, Medium.TEXT)[0], rtol=0, atol=0.05)
    other = network(strong.flip(0), Medium.TEXT)[0]
    assert (other - network(strong, Medium.TEXT)[0]).norm(dim=1).mean() > 0.3


def test_shared_space_statistics_are_part_of_its_state(network, size):
    network.fit(Medium.TEXT, 5 + random(40, 30), labels(40))
    torch.manual_seed(9)
    other = SharedSpace(input_dims=DIMS, class_count=4, size=size)
    other.load_state_dict(network.state_dict())
    rows = random(4, 30, seed=2)
    torch.testing.assert_close(other.eval()(rows, Medium.TEXT), network.eval()(rows, Medium.TEXT))


def test_shared_space_moves_an_item_to_the_prototypes_by_its_class_probabilities():
    rows = random(40, 12)
    pair = []
    for weight in (0.0, 1e6):
        torch.manual_seed(0)
        size = shared_space_size(dim=16, posterior_weight=weight, private_dim=0)
        pair.append(SharedSpace(input_dims=DIMS, class_count=4, size=size).eval())
        pair[-1].fit(Medium.IMAGE, rows, labels(40))
    own, likely = (network(rows, Medium.IMAGE) for network in pair)
    prototypes = next(values for values in pair[0].state_dict().values() if values.shape == (4, 16))
    prototypes = torch.nn.functional.normalize(prototypes, dim=1)
    in_training, logits = pair[0].train()(rows, Medium.IMAGE)
    torch.testing.assert_close(16.0 * in_training @ prototypes.T, logits)
    torch.testing.assert_close(own[1], likely[1])
    expected = torch.nn.functional.normalize(own[1].softmax(dim=1) @ prototypes, dim=1)
    torch.testing.assert_close(likely[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("query", DIMS)
def test_the_private_part_leaves_the_order_of_other_media_as_it_is(query):
    rows = {medium: random(7, dim, seed=dim) for medium, dim in DIMS.items()}
    scores = []
    for width in (0, 4):
        torch.manual_seed(0)
        size = shared_space_size(dim=16, component_count=8, private_dim=width)
        network = SharedSpace(input_dims=DIMS, class_count=4, size=size).eval()
        for medium, features in rows.items():
            network.fit(medium, features, labels(7))
        placed = {medium: network(features, medium)[0] for medium, features in rows.items()}
        scores.append({medium: placed[query] @ embedding.T for medium, embedding in placed.items()})
    without, with_it = scores
    for medium in DIMS:
        scaled = with_it[medium] * 1.25
        if medium != query:
            torch.testing.assert_close(scaled, without[medium])
        else:
            assert not torch.allclose(scaled - 0.25, without[medium], atol=0.05)


def test_the_private_part_has_its_place_whatever_the_order_of_the_media():
    places = []
    for dims in (DIMS, dict(reversed(DIMS.items()))):
        network = SharedSpace(input_dims=dims, class_count=4, size=SMALL).eval()
        private = network(random(5, 30), Medium.TEXT)[0][:, 16:].abs().sum(dim=0)
        places.append(private.reshape(len(DIMS), -1).sum(dim=1) > 0)
    assert places[0].tolist() == places[1].tolist() == [False, True, False]


def test_the_private_part_is_near_where_features_are():
    size = shared_space_size(dim=16, component_count=8, private_dim=4)
    network = SharedSpace(input_dims={Medium.TEXT: 30}, class_count=4, size=size).eval()
    rows = random(20, 30)
    network.fit(Medium.TEXT, rows, labels(20))
    own, again = (network(each, Medium.TEXT)[0][:, 16:] for each in (rows, rows + 1e-3 * random(20, 30, seed=2)))
    assert ((own @ again.T).argmax(dim=1) == torch.arange(20)).all()


def test_shared_space_overfits_eight_items_of_two_media(network):
    rows = {Medium.IMAGE: random(8, 12), Medium.TEXT: random(8, 30, seed=2)}
    label = torch.arange(8) % 4
    for medium, features in rows.items():
        network.fit(medium, features, label)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        logits = [network.train()(features, medium)[1] for medium, features in rows.items()]
        loss = sum(torch.nn.functional.cross_entropy(each, label) for each in logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    image, text = (network.eval()(features, medium)[0] for medium, features in rows.items())
    nearest = (image @ text.T).topk(2, dim=1).indices
    assert (label[nearest] == label[:, None]).all()


def test_a_class_place_is_that_of_all_its_recordings_in_equal_parts():
    # The encoder gives the first recording, which has nearly all rows, another name than the second.
    named = {"bird a": 0, "bird b": 1, "bird c": 2}
    size = shared_space_size(dim=16, component_count=3, name_dim=128)
    network = SharedSpace(
        input_dims={Medium.AUDIO: 3, Medium.TEXT: 5}, class_count=2, named_counts={Medium.AUDIO: 3}, size=size
    ).eval()
    rows = torch.eye(3)[torch.tensor([0] * 6000 + [1] * 3000 + [2] * 9)]
    label = torch.tensor([0] * 9000 + [1] * 9)
    network.fit(Medium.AUDIO, rows, label, group=torch.tensor([0] * 6000 + [1] * 3000 + [2] * 9), named_scores=named)
    part = network.embed_name("", label=0)[-128:]
    first, second = (network.embed_name(name)[-128:] for name in ("bird a", "bird b"))
    assert float(part @ first) == pytest.approx(float(part @ second), rel=0.01)


def test_every_class_is_recognized_whatever_the_order_and_the_number_of_rows():
    generator = torch.Generator().manual_seed(0)
    center = torch.randn(40, 24, generator=generator)
    sizes = {"round robin": [160] * 40, "one of ten hours": [20_000] + [30] * 39}
    for name, size in sizes.items():
        label = torch.arange(40).repeat_interleave(torch.tensor(size))
        if name == "round robin":
            label = torch.arange(6400) % 40
        rows = center[label] + 0.5 * torch.randn(len(label), 24, generator=generator)
        network = SharedSpace(
            input_dims={Medium.AUDIO: 24}, class_count=40, size=shared_space_size(dim=8, component_count=24)
        ).eval()
        network.fit(Medium.AUDIO, rows, label)
        asked = torch.arange(400) % 40
        _, logits = network(center[asked] + 0.5 * torch.randn(400, 24, generator=generator), Medium.AUDIO)
        is_right = (logits.argmax(dim=1) == asked).float().view(10, 40).mean(dim=0)
        assert is_right.min() >= 0.8, name


def test_a_row_is_sure_where_it_shows_one_class_or_one_named_species():
    named = {f"bird {letter}": column for column, letter in enumerate("abcdefgh")}
    torch.manual_seed(0)
    size = shared_space_size(dim=64, component_count=8, posterior_weight=3.0, name_weight=1.0)
    network = SharedSpace(input_dims={Medium.IMAGE: 8}, class_count=6, named_counts={Medium.IMAGE: 8}, size=size).eval()
    label = torch.arange(60) % 6
    rows = torch.full((60, 8), 0.1)
    rows[torch.arange(60), label] = 0.9
    species = [[name] for name in list(named)[:6]]
    network.fit(Medium.IMAGE, rows, label, class_species=species, named_scores=named)
    of_class, of_species, of_none = torch.eye(8)[0], torch.eye(8)[7], torch.full((8,), 8**-0.5)
    embedding = network(torch.stack([of_class, of_species, of_none]), Medium.IMAGE)[0]
    sure, named_only, unsure = network.measure_sureness(embedding, medium=Medium.IMAGE).tolist()
    assert min(sure, named_only) > 0.95
    assert unsure < 0.8
