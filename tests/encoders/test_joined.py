"""Encoders joined along their features."""

import pytest
import torch

from fieldmark.encoders.joined import ConcatenatedEncoder
from fieldmark.errors import ConfigError
from fieldmark.types import Decoding, Medium
from product_parts import lexical_text_encoder, pixel_encoder, spectrogram_encoder, transformers_text_encoder


def test_concatenated_encoder_puts_features_side_by_side(segments):
    first, second = lexical_text_encoder(dim=8), lexical_text_encoder(dim=16)
    joined = ConcatenatedEncoder([first, second])
    texts = segments[Medium.TEXT]
    expected = torch.cat([first.encode(texts), second.encode(texts)], dim=1)
    torch.testing.assert_close(joined.encode(texts), expected)


def test_concatenated_encoder_is_costly_where_one_of_them_is(make_text_folder, tmp_path):
    pytest.importorskip("transformers")

    costly = transformers_text_encoder(str(make_text_folder(tmp_path)))
    assert not ConcatenatedEncoder([lexical_text_encoder()]).is_costly
    assert ConcatenatedEncoder([lexical_text_encoder(), costly]).is_costly


def test_concatenated_encoder_fingerprint_knows_the_order():
    first, second = lexical_text_encoder(dim=8), lexical_text_encoder(dim=16)
    there, back = ConcatenatedEncoder([first, second]), ConcatenatedEncoder([second, first])
    assert there.fingerprint != back.fingerprint


class NamingEncoder:
    """Knows some classes by name."""

    fingerprint, decoding, is_costly = "naming", Decoding(), False

    def __init__(self, shape, named_scores):
        self.shape, self.named_scores = (shape,), named_scores

    def encode(self, segments):
        return torch.zeros(len(segments), *self.shape)


def test_concatenated_encoder_moves_named_scores_to_their_indices():
    encoders = [
        NamingEncoder(4, {"Veery": 3}),
        lexical_text_encoder(dim=8),
        NamingEncoder(5, {"Veery": 0, "Gadwall": 2}),
    ]
    assert ConcatenatedEncoder(encoders).named_scores == {"Veery": 3, "Gadwall": 4 + 8 + 2}


@pytest.mark.parametrize(
    ("encoders", "reason"),
    [
        ([], "no encoder"),
        ([lexical_text_encoder(), spectrogram_encoder(sample_rate_hz=8000)], "sample_rate_hz=8000"),
        ([pixel_encoder(Medium.IMAGE)], r"\(3, 448, 448\)"),
    ],
)
def test_concatenated_encoder_refuses_what_cannot_stand_side_by_side(encoders, reason):
    with pytest.raises(ConfigError, match=reason):
        ConcatenatedEncoder(encoders)
