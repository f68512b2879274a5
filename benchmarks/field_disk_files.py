"""Files of the kinds that lie on the disks of field workers, whole and faulty, each with what it must give."""

import io
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import docx
import imagecodecs
import numpy as np
import pillow_heif
from field_disk_sounds import SOUND_MAKERS
from field_disk_truth import Maker, Truth, draw, name_of
from PIL import Image
from tiff_files import describe, write_raw_photo, write_samples, write_tiff

from fieldmark.types import Medium

PICTURE = Truth(Medium.IMAGE, shows_corners=True)

# ---------------------------------------------------------------- pictures

_STORED = {
    1: lambda upright: upright,
    3: lambda upright: np.rot90(upright, 2),
    6: lambda upright: np.rot90(upright, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def photo(suffix: str, *, format_name: str | None = None) -> Maker:
    """Pictures in any orientation, as cameras and phones store them."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        pillow_heif.register_heif_opener()
        orientation = int(rng.choice(list(_STORED)))
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation](draw(rng))))
        stored.save(name_of(path, suffix), format=format_name, quality=95, exif=exif.tobytes())
        return PICTURE

    return make


def jpeg_xl(path: Path, rng: np.random.Generator) -> Truth:
    """A JPEG XL."""
    name_of(path, ".jxl").write_bytes(imagecodecs.jpegxl_encode(draw(rng), level=95))
    return PICTURE


def pages(suffix: str) -> Maker:
    """A blank first frame or page."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        blank, shown = Image.new("RGB", (96, 64), "white"), Image.fromarray(draw(rng))
        blank.save(name_of(path, suffix), save_all=True, append_images=[shown, shown])
        return PICTURE

    return make


def thumbnail_first(path: Path, rng: np.random.Generator) -> Truth:
    """A TIFF whose first page is a small copy of the second, as some scanners write."""
    small, whole = np.full((8, 12, 3), 90, np.uint8), draw(rng)
    small[:, :6] = 200
    both = [(describe(small, t254=("I", [1])), small.tobytes(), ()), (describe(whole), whole.tobytes(), ())]
    write_tiff(name_of(path, ".tif"), both)
    return PICTURE


def dark_tiff(path: Path, rng: np.random.Generator) -> Truth:
    """A scan that uses 10 to 16 of its 16 bits."""
    bits = int(rng.choice([10, 12, 14, 16]))
    write_samples(name_of(path, ".tif"), (draw(rng) / 255 * (2**bits - 1)).astype(np.uint16))
    return PICTURE


def dark_png(path: Path, rng: np.random.Generator) -> Truth:
    """Colors of 12 bits in the 16 of a PNG."""
    samples = (draw(rng) / 255 * 4095).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    name_of(path, ".png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    return PICTURE


def float_tiff(path: Path, rng: np.random.Generator) -> Truth:
    """Colors as floating-point numbers."""
    write_samples(name_of(path, ".tiff"), (draw(rng) / 255).astype(np.float32))
    return PICTURE


def raw_photo(path: Path, rng: np.random.Generator) -> Truth:
    """A raw photo with the large preview of its camera."""
    write_raw_photo(name_of(path, str(rng.choice([".dng", ".NEF"]))), preview=draw(rng, width=720, height=480))
    return PICTURE


def raw_thumbnail(path: Path, _: np.random.Generator) -> Truth:
    """A raw photo with nothing but a thumbnail."""
    write_raw_photo(name_of(path, ".dng"), preview=None)
    return Truth(refused="thumbnail")


def damaged_raw(path: Path, rng: np.random.Generator) -> Truth:
    """A raw photo whose card was damaged."""
    heads = {".cr2": b"II*\0\x10\0\0\0CR\2\0", ".cr3": b"\0\0\0\x18ftypcrx \0\0\0\1", ".raf": b"FUJIFILMCCD-RAW 0201"}
    suffix = str(rng.choice(list(heads)))
    name_of(path, suffix).write_bytes(heads[suffix] + rng.bytes(900))
    return Truth(refused="raw photo")


def cut_photo(suffix: str) -> Maker:
    """The copy of a photo that ended too early."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        whole = io.BytesIO()
        noise = Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
        pillow_heif.register_heif_opener()
        noise.save(whole, format="HEIF" if suffix == ".heic" else Image.registered_extensions()[suffix])
        data = whole.getvalue()
        name_of(path, suffix).write_bytes(data[: int(len(data) * rng.uniform(0.2, 0.8))])
        return Truth(refused="cannot be decoded")

    return make


def photo_with_junk(path: Path, rng: np.random.Generator) -> Truth:
    """A photo with a block of zeros behind it."""
    whole = io.BytesIO()
    Image.fromarray(draw(rng)).save(whole, "JPEG", quality=95)
    name_of(path, ".jpg").write_bytes(whole.getvalue() + bytes(5_000))
    return PICTURE


def empty_file(path: Path, rng: np.random.Generator) -> Truth:
    """A file that was begun and never written."""
    name_of(path, str(rng.choice([".jpg", ".wav", ".txt", ".heic"]))).touch()
    return Truth(refused="zero bytes")


# ---------------------------------------------------------------- texts

_NOTES = {
    "en": "A small brown bird with a cocked tail sang from the wire near the pond, number {}.",
    "de": "Die Kohlmeise hat weiße Wangen; sie ist größer als die Blaumeise und häufig, Nummer {}.",
    "cs": "Strakapoud velký: černobílý s červeným podocasím, buší do kmenů, číslo {}.",
    "fr": "Mésange à tête noire, vue près du lac; chant répété, très clair, numéro {}.",
    "ru": "Большая синица: птица семейства синицевых, живёт в лесах, песня звонкая, номер {}.",
    "ja": "シジュウカラは日本の森や公園でよく見られる小さな鳥です。頭は黒く、頬は白い。番号{}。",
    "zh": "Pycnonotus sinensis 白头鹎, adult, singing from wire near the pond; white patch, number {}.",
    "short": "Синица большая {}",
}


def note(language: str, encoding: str, truth: Truth, *, suffix: str = ".txt") -> Maker:
    """A note in an encoding."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        text = _NOTES[language].format(rng.integers(1_000_000))
        name_of(path, suffix).write_bytes(text.encode(encoding))
        return truth if truth.medium is None else Truth(truth.medium, text=text, warning=truth.warning)

    return make


_TEXT, _DECODED = Truth(Medium.TEXT), Truth(Medium.TEXT, warning="encoding")


def stray_byte(path: Path, rng: np.random.Generator) -> Truth:
    """A note in UTF-8 with one byte that is not."""
    text = _NOTES["de"].format(rng.integers(1_000_000)).replace(";", "\ufffd")
    name_of(path, ".txt").write_bytes(text.encode().replace("\ufffd".encode(), b"\xff"))
    return Truth(Medium.TEXT, text=text, warning="encoding")


def word_document(path: Path, rng: np.random.Generator) -> Truth:
    """A DOCX of one paragraph."""
    text = _NOTES["de"].format(rng.integers(1_000_000))
    document = docx.Document()
    document.add_paragraph(text)
    document.save(name_of(path, ".docx"))
    return Truth(Medium.TEXT, text=text)


def make_pdf(line: str) -> bytes:
    """A PDF of one page with a line of text; without one it is a scan."""
    stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET".encode() if line else b""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R "
        b"/Resources << /Font << /F1 3 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    table = b"xref\n0 6\n0000000000 65535 f \n" + rows
    return content + table + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(content)


def pdf(path: Path, rng: np.random.Generator) -> Truth:
    """A PDF of one page."""
    text = f"The veery sings at dusk, page {rng.integers(1_000_000)}."
    name_of(path, ".pdf").write_bytes(make_pdf(text))
    return Truth(Medium.TEXT, text=text)


def scanned_pdf(path: Path, _: np.random.Generator) -> Truth:
    """A PDF of a picture of a page."""
    name_of(path, ".pdf").write_bytes(make_pdf(""))
    return Truth(refused="no text, only pictures")


def other(suffix: str, content: bytes, named: str) -> Maker:
    """A file that is no note."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        name_of(path, suffix).write_bytes(content.replace(b"NUMBER", str(rng.integers(1_000_000)).encode()))
        return Truth(refused=named)

    return make


def archive(path: Path, rng: np.random.Generator) -> Truth:
    """A ZIP of photos."""
    with zipfile.ZipFile(name_of(path, ".zip"), "w") as packed:
        packed.writestr("photo.jpg", rng.bytes(100))
    return Truth(refused="an archive")


# ---------------------------------------------------------------- folders, names, links


def in_folder(folder: str, reason: str, *, name: str | None = None) -> Maker:
    """A good photo where machines put copies."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        inside = path.parent / folder / path.name
        inside.parent.mkdir(parents=True, exist_ok=True)
        target = inside.with_name(f"{inside.name}{name or '.jpg'}")
        Image.fromarray(draw(rng)).save(target, "JPEG")
        return Truth(passed_over=reason)

    return make


def named_apart(form: str) -> Maker:
    """A note under a name with accents, composed or not."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        text = _NOTES["fr"].format(rng.integers(1_000_000))
        folder = path.parent / unicodedata.normalize(form, "Mésange bleutée")
        name_of(folder / path.name, ".txt").write_text(text, encoding="utf-8")
        return Truth(Medium.TEXT, text=text)

    return make


def link_outside(path: Path, _: np.random.Generator) -> Truth:
    """A link to the note of somebody else."""
    outside = path.parents[1].with_name("outside.txt")
    outside.write_text("A note of somebody else.")
    path.parent.mkdir(parents=True, exist_ok=True)
    name_of(path, ".txt").symlink_to(outside)
    return Truth(refused="out of the folder")


def broken_link(path: Path, _: np.random.Generator) -> Truth:
    """A link to a photo that is gone."""
    name_of(path, ".jpg").symlink_to(path.with_name("nowhere.jpg"))
    return Truth(refused="a link that leads nowhere")


MAKERS: Mapping[str, Maker] = {
    "JPEG, any orientation": photo(".jpg"),
    "PNG": photo(".png"),
    "WebP, any orientation": photo(".webp"),
    "AVIF, any orientation": photo(".avif"),
    "HEIC, any orientation": photo(".heic", format_name="HEIF"),
    "HEIC named .JPG": photo(".JPG", format_name="HEIF"),
    "JPEG XL": jpeg_xl,
    "TIFF": photo(".tif", format_name="TIFF"),
    "GIF with a blank first frame": pages(".gif"),
    "TIFF with a blank first page": pages(".tif"),
    "TIFF with its thumbnail first": thumbnail_first,
    "TIFF, 10 to 16 bits in 16": dark_tiff,
    "PNG, 12 bits in 16": dark_png,
    "TIFF of floats": float_tiff,
    "raw photo with a preview": raw_photo,
    "raw photo with a thumbnail alone": raw_thumbnail,
    "raw photo, damaged": damaged_raw,
    "JPEG cut off": cut_photo(".jpg"),
    "PNG cut off": cut_photo(".png"),
    "HEIC cut off": cut_photo(".heic"),
    "JPEG with junk at its end": photo_with_junk,
    "empty file": empty_file,
    "note in UTF-8": note("de", "utf-8", _TEXT),
    "note in Markdown": note("en", "utf-8", _TEXT, suffix=".md"),
    "note named .jpg": note("en", "utf-8", _TEXT, suffix=".jpg"),
    "note in UTF-16 with its mark": note("de", "utf-16", _TEXT),
    "note in UTF-16 without a mark": note("de", "utf-16-le", Truth(refused="UTF-16 without a byte-order mark")),
    "note in UTF-8 with a stray byte": stray_byte,
    "note in cp1252": note("de", "cp1252", _DECODED),
    "note in cp1252, French": note("fr", "cp1252", _DECODED),
    "note in cp1250, Czech": note("cs", "cp1250", _DECODED),
    "note in cp1251, Russian": note("ru", "cp1251", _DECODED),
    "note in KOI8-R, Russian": note("ru", "koi8_r", _DECODED),
    "note in Shift-JIS": note("ja", "cp932", _DECODED),
    "note in GBK, one Chinese name": note("zh", "gb18030", Truth(refused="GBK")),
    "note in KOI8-R, two words": note("short", "koi8_r", Truth(refused="KOI8-R")),
    "PDF": pdf,
    "PDF without text": scanned_pdf,
    "DOCX": word_document,
    "RTF": other(".rtf", rb"{\rtf1\ansi A thrush NUMBER.\par}", "RTF"),
    "HTML named .txt": other(".txt", b"<!DOCTYPE html><html><body>NUMBER</body></html>", "HTML"),
    "XMP": other(".xmp", b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/">NUMBER</x:xmpmeta>', "XMP"),
    "GPX": other(".gpx", b'<?xml version="1.0"?>\n<gpx><trk>NUMBER</trk></gpx>', "GPX"),
    "JSON": other(".json", b'{"count": NUMBER}', "JSON"),
    "desktop.ini": other(".ini", "[.ShellClassInfo]\r\nIconResource=C:\\x.dll,3\r\n".encode("utf-16"), "settings"),
    "settings of a recorder": other(
        ".TXT", b"Device ID   : NUMBER\nFirmware    : 1.8\nSample rate : 48000\n", "settings"
    ),
    "table of Raven": other(".txt", b"Selection\tView\tChannel\n1\tSpectrogram 1\tNUMBER\n", "Raven"),
    "old Word document": other(".doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Office program"),
    "archive": archive,
    "program": other(".bin", bytes(range(256)) * 20, "not an image, text, video or sound"),
    **SOUND_MAKERS,
    "copy in @eaDir": in_folder("@eaDir", "machine"),
    "photo in the bin": in_folder("$RECYCLE.BIN", "machine"),
    "photo in lost+found": in_folder("lost+found", "machine"),
    "hidden copy": in_folder(".thumbnails", "machine"),
    "thumbnail of a camera": in_folder("", "machine", name=".THM"),
    "excluded by .fieldmarkignore": in_folder("rejects", "excluded"),
    "name in NFC": named_apart("NFC"),
    "name in NFD": named_apart("NFD"),
    "link out of the folder": link_outside,
    "link that leads nowhere": broken_link,
}
"""Every kind, by what it is."""
