"""The image encoder in an ONNX file."""

import numpy as np
import pytest
import torch

from fieldmark.encoders.preprocessing import ImagePreprocessing, read_preprocessing
from fieldmark.errors import EncoderFilesError
from fieldmark.types import Decoding, ImageContent, Medium, Segment, VideoContent
from product_parts import onnx_image_encoder

pytest.importorskip("onnxruntime")

WHOLE = ImagePreprocessing(resize_pixels=None, crop_pixels=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)


def test_onnx_image_encoder_gives_what_the_graph_computes(make_onnx_file, tmp_path):
    encoder = onnx_image_encoder(make_onnx_file(tmp_path, seed=3), preprocessing=WHOLE, threads=1)
    levels = torch.tensor([51, 102, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)
    weight = np.random.default_rng(3).standard_normal((3, 5)).astype(np.float32)
    expected = np.array([0.2, 0.4, 1.0], dtype=np.float32) @ weight
    np.testing.assert_allclose(encoder.encode([Segment(ImageContent(levels))])[0], expected, rtol=1e-5)


def test_onnx_image_encoder_averages_the_frames_of_a_video_segment(make_onnx_file, tmp_path, segments):
    encoder = onnx_image_encoder(make_onnx_file(tmp_path), threads=1)
    video = segments[Medium.VIDEO][1]
    assert isinstance(video.content, VideoContent)
    frames = encoder.encode([Segment(ImageContent(frame)) for frame in video.content.frames])
    torch.testing.assert_close(encoder.encode([video])[0], frames.mean(dim=0))


def test_onnx_image_encoder_reads_the_preprocessor_file_beside_it(make_onnx_file, tmp_path):
    path = make_onnx_file(tmp_path)
    given = onnx_image_encoder(
        path, preprocessing=read_preprocessing(tmp_path / "preprocessor_config.json", key="path")
    )
    assert onnx_image_encoder(path).fingerprint == given.fingerprint


def test_onnx_image_encoder_asks_for_frames_as_told(make_onnx_file, tmp_path):
    encoder = onnx_image_encoder(make_onnx_file(tmp_path), segment_seconds=2.5, frames_per_segment=3)
    assert encoder.decoding == Decoding(side_pixels=12, segment_seconds=2.5, frames_per_segment=3)


def test_onnx_image_encoder_fingerprint_changes_with_the_weights(make_onnx_file, tmp_path):
    first = onnx_image_encoder(make_onnx_file(tmp_path / "first", seed=0))
    second = onnx_image_encoder(make_onnx_file(tmp_path / "second", seed=1))
    copy = onnx_image_encoder(make_onnx_file(tmp_path / "copy", seed=0))
    assert first.fingerprint == copy.fingerprint != second.fingerprint


def test_onnx_image_encoder_runs_a_graph_that_takes_one_picture(make_onnx_file, tmp_path, segments):
    free = onnx_image_encoder(make_onnx_file(tmp_path / "free"))
    one = onnx_image_encoder(make_onnx_file(tmp_path / "one", batch=1))
    torch.testing.assert_close(one.encode(segments[Medium.IMAGE]), free.encode(segments[Medium.IMAGE]))


def test_onnx_image_encoder_of_no_segments_is_empty(make_onnx_file, tmp_path):
    assert onnx_image_encoder(make_onnx_file(tmp_path)).encode([]).shape == (0, 5)


def test_onnx_image_encoder_names_a_missing_file_and_the_key(tmp_path):
    with pytest.raises(EncoderFilesError, match=r"absent\.onnx.*there is no such file.*'path'"):
        onnx_image_encoder(tmp_path / "absent.onnx")


def test_onnx_image_encoder_refuses_a_file_of_another_kind(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("not a graph", encoding="utf-8")
    with pytest.raises(EncoderFilesError, match="ONNX Runtime refuses it"):
        onnx_image_encoder(path, preprocessing=WHOLE)


def test_onnx_image_encoder_offers_the_outputs_there_are(make_onnx_file, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"no output 'feature', only features, logits.*'features'.*'output'"):
        onnx_image_encoder(make_onnx_file(tmp_path), output="feature")


def test_onnx_image_encoder_refuses_a_size_the_graph_does_not_take(make_onnx_file, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"does not take pictures of \(9, 9\) pixels"):
        onnx_image_encoder(make_onnx_file(tmp_path), preprocessing=ImagePreprocessing(crop_pixels=(9, 9)))


def test_onnx_image_encoder_refuses_a_graph_for_batches_of_four(make_onnx_file, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"\[4, 3, 8, 8\]; allowed is"):
        onnx_image_encoder(make_onnx_file(tmp_path, batch=4))


def test_onnx_image_encoder_says_that_the_preprocessor_file_is_missing(make_onnx_file, tmp_path):
    path = make_onnx_file(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderFilesError, match=r"preprocessor_config\.json.*is missing"):
        onnx_image_encoder(path)


@pytest.mark.shared
def test_onnx_image_encoder_has_golden_features(shared_folder):
    folder = shared_folder / "models"
    preprocessing = read_preprocessing(folder / "inat_bird_mobilenet_v2" / "preprocessor_config.json", key="path")
    encoder = onnx_image_encoder(folder / "inat_bird_mobilenet_v2.onnx", preprocessing=preprocessing, threads=1)
    ramp = torch.arange(256, dtype=torch.uint8)
    pixels = torch.stack([ramp.expand(256, 256), ramp.view(-1, 1).expand(256, 256), ramp.flip(0).expand(256, 256)])
    features = encoder.encode([Segment(ImageContent(pixels))])[0]
    golden = torch.tensor([2.2192, 1.6062, 1.5380, 1.5223])
    torch.testing.assert_close(features[[963, 305, 1107, 85]], golden, rtol=1e-3, atol=1e-3)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text(
        "Cardinalis cardinalis (Northern Cardinal)\nDodo\nbackground\nAves (a) (b)\nDodo\n", encoding="utf-8"
    )
    return path


def test_onnx_image_encoder_puts_the_scores_of_its_classifier_beside_the_features(
    make_onnx_file, tmp_path, segments, labels
):
    path = make_onnx_file(tmp_path)
    plain, named = onnx_image_encoder(path), onnx_image_encoder(path, labels=labels)
    features = plain.encode(segments[Medium.IMAGE])
    expected = torch.cat([features, features.tanh().softmax(dim=1).sqrt()], dim=1)
    torch.testing.assert_close(named.encode(segments[Medium.IMAGE]), expected)
    assert named.shape == (10,)
    assert named.named_scores == {
        "Cardinalis cardinalis": 5,
        "Northern Cardinal": 5,
        "Dodo": 6,
        "Aves": 8,
        "a) (b": 8,
    }
    assert plain.named_scores == {}


def test_onnx_image_encoder_reads_scores_by_the_activation_that_it_is_told(make_onnx_file, tmp_path, segments, labels):
    path = make_onnx_file(tmp_path)
    logits = onnx_image_encoder(path).encode(segments[Medium.IMAGE]).tanh()
    encoders = {
        each: onnx_image_encoder(path, labels=labels, activation=each) for each in ("softmax", "sigmoid", "none")
    }
    expected = {"softmax": logits.softmax(dim=1), "sigmoid": logits.sigmoid(), "none": logits.clamp(0, 1)}
    for each, encoder in encoders.items():
        scores = encoder.encode(segments[Medium.IMAGE])[:, 5:]
        torch.testing.assert_close(scores.square(), expected[each], atol=1e-6, rtol=1e-4)
    assert len({encoder.fingerprint for encoder in encoders.values()}) == 3


def test_onnx_image_encoder_fingerprint_changes_with_the_labels(make_onnx_file, tmp_path, labels):
    path = make_onnx_file(tmp_path)
    first = onnx_image_encoder(path, labels=labels).fingerprint
    labels.write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    assert len({first, onnx_image_encoder(path, labels=labels).fingerprint, onnx_image_encoder(path).fingerprint}) == 3


def test_onnx_image_encoder_refuses_labels_of_another_classifier(make_onnx_file, tmp_path, labels):
    labels.write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(EncoderFilesError, match=r"names 2 classes, but the classifier has 5.*'labels'"):
        onnx_image_encoder(make_onnx_file(tmp_path), labels=labels)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_onnx_image_encoder_names_labels_that_cannot_be_read(make_onnx_file, tmp_path, labels, content):
    labels.unlink()
    if content is not None:
        labels.write_bytes(content)
    with pytest.raises(EncoderFilesError, match=r"labels\.txt.*it cannot be read.*'labels'"):
        onnx_image_encoder(make_onnx_file(tmp_path), labels=labels)


def test_onnx_image_encoder_offers_the_classifiers_there_are(make_onnx_file, tmp_path, labels):
    with pytest.raises(EncoderFilesError, match=r"no output 'scores', only features, logits.*'logits'"):
        onnx_image_encoder(make_onnx_file(tmp_path), labels=labels, logits="scores")
