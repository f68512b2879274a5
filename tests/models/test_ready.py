"""The space without training: names and looks of items, and what two encoders have in common."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import MediumNotSupportedError
from fieldmark.models.ready import ReadySize, ReadySpace
from fieldmark.types import Medium, MediumBatch

SIZE = ReadySize(name_dim=512, look_dim=64, name_weight=0.6, score_floor=0.003, sure_mass=0.2)
PHOTO_NAMES = {"Cyanocitta cristata": 4, "Blue Jay": 4, "Catharus fuscescens": 5, "Veery": 5}
SOUND_NAMES = {"Veery": 0, "Catharus fuscescens": 0, "Aramus guarauna": 1, "Blue Jay": 2, "Cyanocitta cristata": 2}
LOOK_COUNT = 4


def make_space(media=(Medium.IMAGE, Medium.VIDEO, Medium.AUDIO, Medium.TEXT), joint=None):
    dims = {Medium.IMAGE: 6, Medium.VIDEO: 6, Medium.AUDIO: 7, Medium.TEXT: 5}
    index = {Medium.IMAGE: 0, Medium.VIDEO: 0, Medium.AUDIO: 1, Medium.TEXT: 2}
    names = {Medium.IMAGE: PHOTO_NAMES, Medium.VIDEO: PHOTO_NAMES, Medium.AUDIO: SOUND_NAMES, Medium.TEXT: {}}
    space = ReadySpace(
        input_dims={medium: dims[medium] for medium in media},
        named_counts={medium: len(set(names[medium].values())) for medium in media},
        encoder_index={medium: index[medium] for medium in media},
        joint=joint or {},
        size=SIZE,
    ).eval()
    for medium in media:
        space.fit(medium, names[medium])
    return space


def photo(look, jay, veery):
    return torch.tensor([[*look, jay**0.5, veery**0.5]])


def sound(veery, limpkin, jay, look=(1.0, 0.0, 0.0, 0.0)):
    return torch.tensor([[veery**0.5, limpkin**0.5, jay**0.5, *look]])


SPACE = make_space()
LOOK, OTHER_LOOK = (1.0, 0.0, 0.5, 0.0), (0.0, 1.0, 0.0, 0.5)


def embed(inputs, medium):
    return SPACE(inputs, medium)[0][0]


def test_the_score_of_a_photo_and_a_sound_is_the_overlap_of_their_names():
    # sqrt(.8 * .5) = .632, times .6
    score = embed(photo(LOOK, 0.8, 0.2), Medium.IMAGE) @ embed(sound(0.0, 0.5, 0.5), Medium.AUDIO)
    assert float(score) == pytest.approx(0.379, abs=0.05)


@given(st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_where_one_encoder_is_sure_the_square_of_the_overlap_is_the_probability_of_the_other(jay, scale):
    named = embed(sound(0.0, (1 - jay) * scale, jay * scale), Medium.AUDIO)
    score = embed(photo(LOOK, 1.0, 0.0), Medium.IMAGE) @ named
    length = min(1.0, scale / SIZE.sure_mass)
    assert float(score / SIZE.name_weight) == pytest.approx(length * jay**0.5, abs=0.06)


def test_embeddings_have_length_one_whatever_the_names():
    rows = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))
    rows[0] = 0.0
    rows[0, 0] = 1.0  # no name at all
    embedding, logits = SPACE(rows, Medium.IMAGE)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(20))
    assert embedding.shape == (20, SPACE.dim)
    assert logits.shape == (20, 0)


def test_photos_and_frames_of_one_encoder_are_compared_by_their_look_too():
    frame = embed(photo(LOOK, 0.5, 0.5), Medium.VIDEO)
    alike, other = (embed(photo(look, 0.5, 0.5), Medium.IMAGE) for look in (LOOK, OTHER_LOOK))
    assert float(frame @ alike) == pytest.approx(1.0, abs=1e-5)
    assert float(frame @ other) == pytest.approx(0.6, abs=0.15)
    assert float(frame @ embed(sound(0.0, 1.0, 0.0), Medium.AUDIO)) == pytest.approx(0.0, abs=0.1)


def test_scores_of_names_do_not_count_as_look():
    first, second = embed(photo(LOOK, 1.0, 0.0), Medium.IMAGE), embed(photo(LOOK, 0.0, 1.0), Medium.IMAGE)
    assert float(first @ second) == pytest.approx(0.4, abs=0.06)


def test_noise_that_hardly_resembles_any_name_is_compared_by_its_look():
    noise = embed(sound(0.004, 0.0, 0.0), Medium.AUDIO)
    assert float(noise @ embed(sound(1.0, 0.0, 0.0), Medium.AUDIO)) > 0.5  # they sound alike
    assert float(noise @ embed(photo(LOOK, 0.0, 1.0), Medium.IMAGE)) < 0.05


def test_scores_below_the_floor_count_for_nothing():
    faint = SPACE(photo(LOOK, 0.9, 0.002), Medium.IMAGE)[0]
    torch.testing.assert_close(faint, SPACE(photo(LOOK, 0.9, 0.0), Medium.IMAGE)[0], atol=1e-5, rtol=0)


def test_a_name_finds_what_is_called_so_by_any_of_its_names():
    name = SPACE.embed_name("blue jay", other_names=["Cyanocitta cristata"])
    assert float(name.norm()) == pytest.approx(1.0)
    assert float(name @ embed(photo(LOOK, 1.0, 0.0), Medium.IMAGE)) == pytest.approx(0.6, abs=1e-4)
    assert float(name @ embed(sound(0.0, 0.0, 1.0), Medium.AUDIO)) == pytest.approx(0.6, abs=1e-4)
    assert float(name @ embed(sound(1.0, 0.0, 0.0), Medium.AUDIO)) == pytest.approx(0.0, abs=0.06)


def test_the_probability_of_each_species_can_be_read_back():
    rows = torch.cat([photo(LOOK, 0.7, 0.3), photo(LOOK, 0.1, 0.9)])
    score = SPACE.score_names(SPACE(rows, Medium.IMAGE)[0], medium=Medium.IMAGE)
    torch.testing.assert_close(score, torch.tensor([[0.7, 0.3], [0.1, 0.9]]), atol=0.1, rtol=0)


def test_sureness_falls_with_the_probability_of_the_best_name():
    rows = torch.cat([sound(1.0, 0.0, 0.0), sound(0.5, 0.5, 0.0), sound(0.01, 0.0, 0.0)])
    sure, unsure, noise = SPACE.measure_sureness(SPACE(rows, Medium.AUDIO)[0], medium=Medium.AUDIO).tolist()
    assert 1.0 >= sure > unsure > noise
    assert SPACE.measure_sureness(SPACE(torch.ones(1, 5), Medium.TEXT)[0], medium=Medium.TEXT).tolist() == [1.0]


def test_media_are_comparable_by_names_or_by_their_encoder():
    assert SPACE.can_compare(Medium.AUDIO, Medium.IMAGE)
    assert SPACE.can_compare(None, Medium.VIDEO)
    assert SPACE.can_compare(Medium.TEXT, Medium.TEXT)
    assert not SPACE.can_compare(Medium.TEXT, Medium.IMAGE)
    assert not SPACE.can_compare(None, Medium.TEXT)
    assert SPACE.can_compare_looks(Medium.IMAGE, Medium.VIDEO)
    assert not SPACE.can_compare_looks(Medium.IMAGE, Medium.AUDIO)


def test_a_medium_without_an_encoder_is_refused():
    space = make_space(media=(Medium.AUDIO,))
    with pytest.raises(MediumNotSupportedError):
        space(torch.zeros(1, 6), Medium.IMAGE)
    assert not space.can_compare(Medium.IMAGE, Medium.TEXT)
    assert make_space(media=(Medium.TEXT,)).embed_name("Veery") is None


def test_it_is_the_same_from_its_own_state():
    state = SPACE.state_dict()
    other = ReadySpace(
        input_dims=ReadySpace.read_input_dims(state),
        named_counts=ReadySpace.read_named_counts(state),
        encoder_index=ReadySpace.read_encoder_index(state),
        joint=ReadySpace.read_joint(state),
        size=SIZE,
    ).eval()
    other.load_state_dict(state)
    parts = [
        MediumBatch(Medium.IMAGE, photo(LOOK, 0.6, 0.4), torch.zeros(1, dtype=torch.int64)),
        MediumBatch(Medium.AUDIO, sound(0.2, 0.3, 0.5), torch.zeros(1, dtype=torch.int64)),
    ]
    torch.testing.assert_close(other.forward_together(parts)[0], SPACE.forward_together(parts)[0])


def test_towers_of_one_model_let_a_text_without_names_find_pictures():
    space = make_space(joint={Medium.IMAGE: range(4), Medium.TEXT: range(1, 5)})
    text = torch.tensor([[9.0, *LOOK]])  # the first column is of another encoder of texts
    near, far = photo(LOOK, 0.0, 0.0), photo(OTHER_LOOK, 0.0, 0.0)
    asked = space(text, Medium.TEXT)[0][0]
    pictures = space(torch.cat([near, far]), Medium.IMAGE)[0]
    cosine = torch.cosine_similarity(torch.tensor(LOOK), torch.tensor(OTHER_LOOK), dim=0)
    # Half of a look is the joint part.
    assert (pictures @ asked).tolist() == pytest.approx([0.5, 0.5 * float(cosine)], abs=0.12)
    assert space.can_compare(Medium.TEXT, Medium.IMAGE)
    assert not space.can_compare(Medium.TEXT, Medium.AUDIO)


def test_pictures_of_one_encoder_score_the_same_with_a_tower_for_texts_beside_them():
    space = make_space(joint={Medium.IMAGE: range(4), Medium.TEXT: range(1, 5)})
    pictures = torch.cat([photo(LOOK, 0.6, 0.4), photo(LOOK, 0.6, 0.4), photo(OTHER_LOOK, 0.1, 0.0)])
    scores, plain = (each(pictures, Medium.IMAGE)[0] for each in (space, SPACE))
    assert (scores @ scores.T).diagonal().tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert float(scores[0] @ scores[1]) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(scores @ scores.T, plain @ plain.T, atol=0.15, rtol=0)


def test_a_space_with_joint_towers_is_the_same_from_its_own_state():
    space = make_space(joint={Medium.IMAGE: range(4), Medium.TEXT: range(1, 5)})
    state = space.state_dict()
    assert ReadySpace.read_joint(state) == {Medium.IMAGE: range(4), Medium.TEXT: range(1, 5)}
    assert space.dim == SPACE.dim + SIZE.look_dim
    assert ReadySpace.read_joint(SPACE.state_dict()) == {}
