"""Contents, fingerprints and files in packages, as all encoders read them; and encoders joined along their features."""

import pytest
import torch

from fieldmark.encoders.encoder import (
    ConcatenatedEncoder,
    get_contents,
    hash_parameters,
    iterate_batches,
    locate_in_package,
)
from fieldmark.encoders.preprocessing import ImagePreprocessing
from fieldmark.errors import ConfigError, EncoderFilesError, MediumMismatchError
from fieldmark.types import Decoding, Medium, TextContent
from product_parts import lexical_text_encoder, pixel_encoder, spectrogram_encoder, transformers_text_encoder


def test_get_contents_names_the_segment_and_both_media(segments):
    mixed = [segments[Medium.TEXT][0], segments[Medium.AUDIO][0]]
    assert get_contents(mixed[:1], TextContent) == [mixed[0].content]
    with pytest.raises(MediumMismatchError, match=r"segment 1.*holds audio.*text"):
        get_contents(mixed, TextContent)


def test_iterate_batches_leaves_nothing_out():
    assert list(iterate_batches(range(5), batch_size=2)) == [range(2), range(2, 4), range(4, 5)]
    assert list(iterate_batches([], batch_size=2)) == []


def test_hash_parameters_depends_on_values_and_bytes_but_not_on_locations(tmp_path):
    first, copy, other = (tmp_path / name for name in ("first", "copy", "other"))
    first.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    base = hash_parameters({"dim": 1, "kind": "x"}, files=[first])
    assert hash_parameters({"kind": "x", "dim": 1}, files=[copy]) == base
    assert len({base, hash_parameters({"dim": 2, "kind": "x"}, files=[first])}) == 2
    assert len({base, hash_parameters({"dim": 1, "kind": "x"}, files=[other])}) == 2
    assert len({base, hash_parameters({"dim": 1, "kind": "x"}, files=[first, copy])}) == 2


def test_hash_parameters_sees_inside_dataclasses():
    pair = [hash_parameters({"preprocessing": ImagePreprocessing(resize_pixels=side)}) for side in (224, 256)]
    assert pair[0] != pair[1]


def test_locate_in_package_finds_a_file_without_importing(tmp_path, monkeypatch):
    folder = tmp_path / "carrier_of_files"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('it is not to be imported')")
    (folder / "weights.bin").write_bytes(b"1")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate_in_package("package:carrier_of_files/weights.bin", key="name") == folder / "weights.bin"
    with pytest.raises(EncoderFilesError, match=r"does not contain 'absent\.bin'.*'name'"):
        locate_in_package("package:carrier_of_files/absent.bin", key="name")


# ---------------------------------------------------------------- several encoders of one medium


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
