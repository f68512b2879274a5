"""Streams without a length, cut between two of their packets: what is told of the missing end.

    python benchmarks/stream_cuts.py --cuts 60

The files are made by the `ffmpeg` program; a cut in the middle of a packet is always seen, and was left out.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from fieldmark.errors import MediaError
from fieldmark.media import video
from fieldmark.types import Decoding, MediaLimits

PICTURES = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=6")
SOUND = ("-f", "lavfi", "-i", "sine=440:d=6")
FILES = {
    "H.264 without B-frames in TS": ("a.ts", "-c:v libx264 -bf 0 -g 25 -an"),
    "H.264 and AAC in TS": ("b.ts", "-c:v libx264 -bf 2 -g 25 -c:a aac"),
    "MPEG-2 and MP2 in TS": ("c.ts", "-c:v mpeg2video -bf 2 -b:v 800k -c:a mp2"),
    "MPEG-1 and MP2 in PS": ("d.mpg", "-c:v mpeg1video -b:v 800k -c:a mp2"),
    "MPEG-2 and MP2 in PS": ("e.mpg", "-c:v mpeg2video -bf 2 -b:v 800k -c:a mp2"),
    "MPEG-2 without sound in PS": ("f.mpg", "-c:v mpeg2video -bf 0 -b:v 800k -an"),
    "MPEG-2 and AC-3 in VOB": ("g.vob", "-c:v mpeg2video -b:v 800k -c:a ac3 -f dvd"),
    "H.264 and MP2 in VOB": ("h.vob", "-c:v libx264 -bf 2 -c:a mp2 -f vob"),
}
PACK, PACKET_BYTES = b"\0\0\1\xba", 188


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=60)
    arguments = parser.parse_args()
    generator = random.Random(0)
    print("| stream | cuts | told as cut off | as missing pictures | as a damaged packet | not told |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (file_name, options) in FILES.items():
            path = Path(folder) / file_name
            command = ["ffmpeg", "-v", "error", "-y", *PICTURES, *SOUND, *options.split(), str(path)]
            subprocess.run(command, check=True)
            data, told = path.read_bytes(), Counter()
            assert tell(path) == "nothing", name
            for _ in range(arguments.cuts):
                path.write_bytes(data[: choose_cut(data, generator, is_transport=path.suffix == ".ts")])
                told[tell(path)] += 1
            kinds = ("cut off", "missing", "packet", "nothing")
            print(f"| {name} | {arguments.cuts} | " + " | ".join(str(told[kind]) for kind in kinds) + " |", flush=True)


def choose_cut(data: bytes, generator: random.Random, *, is_transport: bool) -> int:
    """A place between two packets, behind the first third."""
    if is_transport:
        return generator.randrange(len(data) // PACKET_BYTES // 3, len(data) // PACKET_BYTES) * PACKET_BYTES
    return data.index(PACK, generator.randrange(len(data) // 3, data.rindex(PACK)))


def tell(path: Path) -> str:
    """The gist of the warnings of a file."""
    decoding = Decoding(side_pixels=32, segment_seconds=1.0, frames_per_segment=2)
    try:
        *_, last = video.load(path, decoding=decoding, limits=MediaLimits())
    except MediaError:
        return "cut off"
    said = " ".join(each.message for each in last.warnings)
    if "cut off" in said:
        return "cut off"
    if "packets" in said:
        return "packet"
    return "missing" if said else "nothing"


if __name__ == "__main__":
    sys.exit(main())
