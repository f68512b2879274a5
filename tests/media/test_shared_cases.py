"""The pictures, texts and folders that went wrong once; what each must give stands in the README beside them."""

import os
from pathlib import Path

import numpy as np
import pytest

from fieldmark.data.folder import list_folder
from fieldmark.datasets.importers.folders import import_folders
from fieldmark.errors import UnreadableMediaError
from fieldmark.media import image, text
from fieldmark.types import Decoding, MediaLimits, Medium

_SHARED = Path(os.environ.get("FIELDMARK_TEST_SHARED", Path(__file__).parents[2].parent / "shared"))
CASES = _SHARED / "cases" / "media"

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not CASES.is_dir(), reason=f"needs the shared cases in {CASES}")]


def read_text(name):
    [segment] = text.load(CASES / "text_encodings" / name, decoding=Decoding(), limits=MediaLimits())
    return segment.content.text, [warning.message for warning in segment.warnings]


def test_utf8_with_a_stray_byte():
    read, [warning] = read_text("utf8_one_bad.txt")
    assert read == "Mönchsgrasmücke singt im Gebüsch, kräftiger Überschlag \ufffd am Ende."
    assert "1 byte" in warning


def test_czech_in_its_own_encoding():
    read, [warning] = read_text("cp1250.txt")
    assert read.startswith("Strakapoud velký (Dendrocopos major): černobílý s červeným podocasím, buší do kmenů")
    assert "cp1250" in warning


def test_a_chinese_name_in_english_notes():
    with pytest.raises(UnreadableMediaError, match="GBK"):
        read_text("gbk_mixed.txt")


def test_only_the_note_is_a_text(tmp_path):
    content = list_folder(CASES / "not_prose")
    assert [(item.item_id, item.medium) for item in content.items] == [("wren.txt", Medium.TEXT)]
    reasons = {failure.item_id: failure.message for failure in content.failures}
    assert "RTF" in reasons["note.rtf"]
    assert ".txt file" in reasons["note.rtf"]
    assert ".txt file" in reasons["plain.pdf"]
    assert {"CONFIG.TXT", "IMG_1.xmp", "desktop.ini"} < reasons.keys()
    imported = import_folders(CASES / "not_prose", out=tmp_path / "m.csv")
    assert imported.items == content.items
    assert imported.left == content.failures


@pytest.mark.parametrize("name", ["phone.heic", "heic_named.JPG"])
def test_the_photo_of_a_phone_is_upright(name):
    [segment] = image.load(CASES / "phone_photos" / name, decoding=Decoding(), limits=MediaLimits())
    pixels = segment.content.pixels.numpy()
    assert pixels.shape == (3, 240, 480)
    corners = [pixels[:, 5, 5], pixels[:, 5, -5], pixels[:, -5, 5]]
    assert [int(np.argmax(corner)) for corner in corners] == [0, 1, 2]


def test_machine_folders_are_passed_over_and_said():
    content = list_folder(CASES / "machine_folders" / "in")
    assert [item.item_id for item in content.items] == ["Robin/b.jpg", "Veery/a.jpg"]
    [passed] = content.passed_over
    assert (passed.reason, passed.file_count) == ("machine", 3)
    assert set(passed.examples) == {"#recycle", "lost+found", "Veery/@eaDir"}
