"""Damaged and hostile files of every medium as queries: a clear answer, nothing left behind, nothing opened or run."""

import asyncio
import io
import random
import struct
import zipfile
import zlib

import pytest

from fieldmark import Medium

MUTATIONS = 25
"""Damaged copies of each medium's file."""


pytestmark = pytest.mark.usefixtures("upload_folder")


def ask(client, content: bytes, name: str = "query"):
    answer = client.post("/v1/search", files=[("file", (name, content))])
    assert answer.status_code == 200 or set(answer.json()) == {"kind", "message"}
    assert len(answer.text) < 1000 or answer.status_code == 200
    return answer


def damage(content: bytes, chance: random.Random) -> bytes:
    """One of the ways in which files break: bits, runs, cuts, repeats, and sizes that lie."""
    data = bytearray(content)
    offset = chance.randrange(len(data))
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randrange(1, 30)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            data[offset : offset + chance.randrange(1, 400)] = chance.randbytes(chance.randrange(1, 400))
        case 2:
            del data[offset:]
        case 3:
            data[offset:offset] = data[: chance.randrange(1, 2_000)]
        case 4:
            offset = chance.randrange(min(200, len(data)))
            data[offset : offset + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
        case _:
            del data[offset : offset + chance.randrange(1, 400)]
    return bytes(data)


@pytest.mark.parametrize("medium", list(Medium))
def test_damaged_files_are_read_or_refused(client, toy_items, medium):
    path = next(item.path for item in toy_items if item.medium is medium)
    chance = random.Random(f"hostile {medium}")  # noqa: S311 - the same damage every time
    statuses = [ask(client, damage(path.read_bytes(), chance), path.name).status_code for _ in range(MUTATIONS)]
    assert set(statuses) <= {200, 413, 422}
    assert client.get("/v1/health").status_code == 200


def png(width: int, height: int) -> bytes:
    """A picture of a few kilobytes that says it is large, and is: a bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(min(1 + (width + 7) // 8, 8_000))
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(min(height, 4_000))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bird.jpg", bytes(20_000_000))
    return file.getvalue()


def wav(*, said_bytes: int, rate: int = 16_000) -> bytes:
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        said_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        rate * 2 % 2**32,
        2,
        16,
        b"data",
        said_bytes,
    )
    return header + bytes(2_000)


@pytest.mark.parametrize(
    ("content", "name", "statuses"),
    [
        (png(60_000, 60_000), "bomb.png", {413}),
        (png(2**31 - 1, 2**31 - 1), "bomb.png", {413, 422}),
        (png(8_000, 6_249), "short.png", {200, 422}),
        (zip_bomb(), "bomb.zip", {422}),
        (wav(said_bytes=2**32 - 1), "long.wav", {200, 422}),
        (wav(said_bytes=100, rate=2**31), "fast.wav", {422}),
        (b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\x00\x00" + bytes(60), "bomb.gif", {413, 422}),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n", "run.eps", {200, 422}),
        (b"\x00\x00\x00\x18ftypmp42" + b"\xff" * 400, "damaged.mp4", {422}),
        (b"\x1aE\xdf\xa3" + b"\x00" * 400, "damaged.webm", {422}),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(100), "tag.mp3", {422}),
        (bytes(5_000), "zeros.bin", {422}),
        (b"\x7fELF" + bytes(200), "program", {422}),
        (b"\x80\x04\x95cos\nsystem\n(S'touch /tmp/owned'\ntR.", "model.pkl", {200, 422}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_files_are_refused(client, content, name, statuses):
    assert ask(client, content, name).status_code in statuses


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '/etc/passwd'\n",
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        "<script>alert(1)</script>",
    ],
)
def test_what_names_other_files_is_no_text_and_opens_none(client, text):
    answer = ask(client, text.encode(), "playlist.m3u8")
    assert (answer.status_code, answer.json()["kind"]) == (422, "not_prose")
    assert "root:" not in answer.text


def test_a_file_that_pretends_to_be_another_is_told_by_its_content(client, toy_items):
    song = next(item.path for item in toy_items if item.medium is Medium.AUDIO)
    assert ask(client, song.read_bytes(), "photo.jpg").json()["query"]["medium"] == "audio"


def test_too_long_a_sound_is_refused(serve, toy_items):
    song = next(item.path for item in toy_items if item.medium is Medium.AUDIO)
    answer = ask(serve(max_query_seconds=0.5), song.read_bytes())
    assert (answer.status_code, answer.json()["kind"]) == (413, "too_long")


def test_a_full_server_refuses_at_once_and_says_when_to_try_again(serve, toy_items):
    client = serve(search_places=2, retry_seconds=7)
    limiter = client.app.state.service.search_pool.limiter

    async def fill() -> None:
        for _ in range(2):
            limiter.acquire()

    asyncio.run(fill())
    answer = client.post("/v1/search", json={"queries": [{"text": "a bird"}]})
    assert (answer.status_code, answer.json()["kind"], answer.headers["retry-after"]) == (503, "overloaded", "7")
    limiter.release()
    assert client.post("/v1/search", json={"queries": [{"text": "a bird"}]}).status_code == 200
    assert "fieldmark_search_refused_total 1.0\n" in client.get("/v1/metrics").text
