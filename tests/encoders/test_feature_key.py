"""The keys of the feature cache: what makes a new one, and how it is explained."""

from importlib.metadata import version

import pytest

from fieldmark.encoders.encoder import ConcatenatedEncoder, FeatureFacts
from fieldmark.encoders.feature_key import describe_key, explain_new_key
from fieldmark.media.versions import list_decoder_versions, read_major_version
from fieldmark.types import Form, Medium
from product_parts import lexical_text_encoder

KNOWN = {"kind": "'a'", "medium": "image", "form": "", "the label list": "1" * 64, "the version of pillow": "12"}


def encoder_of(**changed):
    return lexical_text_encoder(**{"dim": 64, "character_count": 0, **changed})


def test_a_key_changes_with_the_encoder_and_with_versions_only():
    encoder = encoder_of()
    assert describe_key(encoder, Medium.TEXT) == describe_key(encoder_of(), Medium.TEXT)
    assert describe_key(encoder, Medium.TEXT).key != encoder.fingerprint, "the loaders of before read less"
    assert describe_key(encoder_of(dim=32), Medium.TEXT).key != describe_key(encoder, Medium.TEXT).key
    encoder.facts = FeatureFacts(encoder.facts.parameters, packages=("hypothesis",))
    assert describe_key(encoder, Medium.TEXT).key != describe_key(encoder_of(), Medium.TEXT).key
    facts = describe_key(ConcatenatedEncoder([encoder, encoder_of(dim=32)]), Medium.TEXT).facts
    assert facts["the version of hypothesis"] == version("hypothesis").split(".")[0]
    assert (facts["dim of encoder 1"], facts["dim of encoder 2"]) == ("64", "32")


@pytest.mark.parametrize(
    ("medium", "form", "packages"),
    [
        (Medium.IMAGE, None, {"pillow", "pillow-heif", "rawpy", "libjxl"}),
        (Medium.TEXT, None, {"charset-normalizer", "pypdf", "python-docx"}),
        (Medium.VIDEO, None, {"av", "libavcodec"}),
        (Medium.VIDEO, Form.FRAMES, {"pillow", "pillow-heif", "rawpy", "libjxl"}),
        (Medium.AUDIO, None, {"av", "libavcodec", "soxr"}),
        (Medium.AUDIO, Form.SPECTROGRAM, {"pillow", "pillow-heif", "rawpy", "libjxl"}),
    ],
)
def test_the_decoders_of_a_medium_are_known_by_their_major_versions(medium, form, packages):
    versions = list_decoder_versions(medium, form=form)
    assert versions.keys() == packages | {"decoding"}
    assert all(number.isdigit() or number.startswith("0.") for number in versions.values())


def test_read_major_version():
    assert read_major_version("pillow") == version("pillow").split(".")[0]
    assert read_major_version("no-such-package") == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"the version of pillow": "13"}, "the version of pillow (12, now 13)"),
        ({"the label list": "2" * 64}, "the label list"),
        ({"new": "1", "the version of pillow": "13"}, "the version of pillow (12, now 13), new"),
        ({"medium": "video"}, ""),
        ({"kind": "'b'"}, ""),
    ],
)
def test_explain_new_key_names_what_differs_from_the_nearest(changed, told):
    far = {**KNOWN, "the label list": "3" * 64, "the version of pillow": "11"}
    assert explain_new_key({**KNOWN, **changed}, [far, KNOWN]) == told
    assert explain_new_key({**KNOWN, **changed}, []) == ""
