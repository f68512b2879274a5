"""PDF and DOCX: pages and paragraphs as passages, or a reason and what to do."""

import io
import sys
import zipfile

import docx
import pytest
from pypdf import PdfReader, PdfWriter

from fieldmark.errors import EmptyMediaError, NotProseError, TooLargeError, UnreadableMediaError
from fieldmark.media import text
from fieldmark.media.loaders import detect_medium
from fieldmark.types import Decoding, MediaLimits, Medium

PAGES = ("The veery sings a flute-like song.", "", "The wren has a cocked tail.")


def passages_of(path, *, limits=None):
    segments = text.load(path, decoding=Decoding(), limits=limits or MediaLimits())
    return [segment.content.text for segment in segments]


def make_pdf(pages):
    """A PDF of one line of text a page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for index, line in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET".encode() if line else b""
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * index} 0 R "
        objects.append(page.encode() + b"/Resources << /Font << /F1 3 0 R >> >> >>")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    file = io.BytesIO(b"%PDF-1.4\n")
    file.seek(0, io.SEEK_END)
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = file.tell()
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    file.write(b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, rows))
    file.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return file.getvalue()


@pytest.fixture
def pdf(tmp_path):
    path = tmp_path / "notes.pdf"
    path.write_bytes(make_pdf(PAGES))
    return path


@pytest.fixture
def word(tmp_path):
    document = docx.Document()
    document.add_heading("Veery")
    document.add_paragraph("A thrush with faint spots and a flute-like song.")
    document.add_paragraph("")
    document.add_paragraph("It was heard in wet woods, at dusk.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Crown", "a warm, reddish brown all over"
    document.save(tmp_path / "notes.docx")
    return tmp_path / "notes.docx"


def test_a_pdf_gives_its_pages(pdf):
    assert detect_medium(pdf) is Medium.TEXT
    assert passages_of(pdf) == [PAGES[0], PAGES[2]]


def test_a_docx_gives_its_paragraphs_and_a_heading_goes_with_the_next(word):
    assert detect_medium(word) is Medium.TEXT
    assert passages_of(word) == [
        "Veery\nA thrush with faint spots and a flute-like song.",
        "It was heard in wet woods, at dusk.",
        "Crown | a warm, reddish brown all over",
    ]


@pytest.mark.parametrize(("package", "name"), [("pypdf", "pdf"), ("docx", "word")])
def test_without_its_reader_a_document_says_what_to_do(package, name, request, monkeypatch):
    path = request.getfixturevalue(name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotProseError, match=r"its text as a \.txt file.*fieldmark\[documents\]"):
        passages_of(path)


def test_a_pdf_without_text_says_what_to_do(tmp_path):
    (tmp_path / "scan.pdf").write_bytes(make_pdf(["", ""]))
    with pytest.raises(EmptyMediaError, match=r"no text, only pictures; recognize their text"):
        passages_of(tmp_path / "scan.pdf")


def test_a_pdf_with_a_password_says_so(pdf, tmp_path):
    writer = PdfWriter(clone_from=PdfReader(pdf))
    writer.encrypt("secret", algorithm="RC4-40")
    writer.write(tmp_path / "locked.pdf")
    with pytest.raises(UnreadableMediaError, match="it needs a password"):
        passages_of(tmp_path / "locked.pdf")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", ["pdf", "word"])
def test_a_cut_off_document_is_read_or_says_what_to_do(name, share, request, tmp_path):
    data = request.getfixturevalue(name).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * share)])
    try:
        assert all(passages_of(path))
    except (NotProseError, UnreadableMediaError, EmptyMediaError) as error:
        reason = str(error)
    else:
        reason = ""
    assert not reason or ".txt file" in reason or "its files, unpacked" in reason


def test_a_document_of_too_many_characters_is_refused(pdf):
    with pytest.raises(TooLargeError, match="characters"):
        passages_of(pdf, limits=MediaLimits(max_characters=40))


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"\0" * 2_000_000)
    with pytest.raises(UnreadableMediaError, match=r"unpacks to 2,000,008 bytes, and at most 1,000,000"):
        passages_of(tmp_path / "bomb.docx", limits=MediaLimits(max_bytes=1_000_000))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office program"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(60), "an archive"),
        (b"\x1f\x8b\x08\x00" + bytes(60), "an archive"),
        (b"PK\x03\x04" + bytes(60), "an archive"),
    ],
)
def test_other_documents_are_named(content, named, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NotProseError, match=named):
        detect_medium(tmp_path / "file")


@pytest.mark.parametrize(
    ("member", "named"),
    [
        ("xl/workbook.xml", "XLSX"),
        ("content.xml", "OpenDocument"),
        ("META-INF/container.xml", "EPUB"),
        ("a.jpg", "ZIP"),
    ],
)
def test_what_an_archive_holds_is_named(member, named, tmp_path):
    with zipfile.ZipFile(tmp_path / "file.zip", "w") as archive:
        archive.writestr(member, "content")
    with pytest.raises(NotProseError, match=named):
        detect_medium(tmp_path / "file.zip")
