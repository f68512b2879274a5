"""Features of encoders that are code alone: another feature of the same text needs another fingerprint.

Where one of these tests fails since a rule or a word list was changed, raise the version in the encoder's file, and
write the new pair down here.
"""

import hashlib

import pytest

from fieldmark.encoders.field_marks import FieldMarkTextEncoder
from fieldmark.types import Segment, TextContent
from product_parts import character_encoder, lexical_text_encoder

TEXTS = (
    "A small bird with a white belly and breast; the bill is long and pointed.",
    "The red-winged blackbird has no crest, but its wings are black with white bars.",
    "Crown rufous, neither spotted nor streaked below. It lacks an eye ring!",
    "Ünknown 鳥, it\u2019s \u201cquoted\u201d \u2014 and \ufb01ne; not the song of the song sparrow",
)
PAIRS = {
    "lexical": (lexical_text_encoder(dim=64, character_count=3), "aa4af628 ed01f2d1"),
    "characters": (character_encoder(text_length=64), "2c02085d 3766c8bc"),
    "released characters": (character_encoder(text_length=64, released=True), "00352f75 10d0569f"),
    "field marks": (FieldMarkTextEncoder(), "c3b24094 ba234201"),
    "field marks of the first grammar": (FieldMarkTextEncoder(grammar=1), "84109a7d 2755e224"),
}


def digest(encoder) -> str:
    features = encoder.encode([Segment(TextContent(text)) for text in TEXTS]).double()
    counted = (features * 1000).round().long()  # the last digits are the processor's
    return f"{encoder.fingerprint[:8]} {hashlib.sha256(counted.numpy().tobytes()).hexdigest()[:8]}"


@pytest.mark.parametrize("name", PAIRS)
def test_features_and_fingerprint_belong_together(name):
    encoder, expected = PAIRS[name]
    assert digest(encoder) == expected
