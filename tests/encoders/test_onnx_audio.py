"""The encoder of sound in an ONNX file: layouts of released models, on small graphs with random weights."""

import pytest
import torch

from fieldmark.errors import EncoderFilesError
from fieldmark.types import AudioContent, Decoding, Segment
from product_parts import onnx_audio_encoder

pytest.importorskip("onnxruntime")


def make_encoder(path, **changed):
    chosen = {
        "labels": path.with_name("labels.csv"),
        "sample_rate_hz": 8_000,
        "window_seconds": 2.0,
        "hop_seconds": 1.0,
    }
    return onnx_audio_encoder(path, **{**chosen, **changed})


def sound(*values):
    return Segment(AudioContent(torch.tensor(values), 8_000))


def test_features_have_length_1_and_scores_follow_as_square_roots_of_probabilities(make_sound_file, tmp_path):
    encoder = make_encoder(make_sound_file(tmp_path, samples=16_000))
    [row] = encoder.encode([sound(0.5, -0.5)])
    # The graph gives the most, the mean and the length of the window.
    raw = torch.tensor([0.5, 0.0, 0.5**0.5])
    torch.testing.assert_close(row[:3], raw / raw.norm())
    assert float(row[3:].square().sum()) == pytest.approx(1.0, abs=1e-5)
    assert encoder.named_scores["Blue Jay"] == encoder.named_scores["Cyanocitta cristata"] == 3


def test_a_graph_that_holds_probabilities_is_read_as_it_is(make_sound_file, tmp_path):
    path = make_sound_file(tmp_path, samples="samples", outputs=("embeddings", "predictions"), holds_probabilities=True)
    chosen = {"output": "embeddings", "logits": "predictions", "activation": "none"}
    encoder = make_encoder(path, **chosen)
    plain = make_encoder(path, **{**chosen, "labels": None, "output": "predictions"})
    scores = encoder.encode([sound(0.5, -0.25)])[0, 3:]
    direction = plain.encode([sound(0.5, -0.25)])[0]
    torch.testing.assert_close(scores.square() / scores.square().norm(), direction)


def test_a_short_sound_is_padded_and_a_long_one_cut_to_the_window(make_sound_file, tmp_path):
    encoder = make_encoder(make_sound_file(tmp_path, samples=16_000))
    assert encoder.decoding == Decoding(sample_rate_hz=8_000, segment_seconds=2.0, hop_seconds=1.0)
    long = Segment(AudioContent(torch.cat([torch.full((16_000,), 0.1), torch.ones(5)]), 8_000))
    cut = Segment(AudioContent(torch.full((16_000,), 0.1), 8_000))
    torch.testing.assert_close(encoder.encode([long]), encoder.encode([cut]))


def test_a_graph_of_another_window_is_refused(make_sound_file, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"does not take windows of 8,000 samples"):
        make_encoder(make_sound_file(tmp_path, samples=16_000), window_seconds=1.0)


def test_a_graph_of_pictures_is_refused(make_classifier_file, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"allowed is \(batch, samples\)"):
        make_encoder(make_classifier_file(tmp_path / "m"), output="features", labels=None)


def test_labels_of_another_count_are_refused(make_sound_file, tmp_path):
    path = make_sound_file(tmp_path, samples=16_000, labels="Blue Jay\nVeery\n")
    with pytest.raises(EncoderFilesError, match=r"names 2 classes, but the classifier has 5"):
        make_encoder(path)
