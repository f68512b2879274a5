"""Files of characters that are no notes, and notes that look a little like them."""

import pytest

from fieldmark.errors import NotProseError
from fieldmark.media import text
from fieldmark.media.loaders import detect_medium
from fieldmark.media.writing.prose import find_other_kind
from fieldmark.types import Decoding, MediaLimits, Medium

OTHERS = {
    "note.rtf": rb"{\rtf1\ansi\deff0 {\fonttbl {\f0 Times;}}\f0 A thrush with faint spots.\par}",
    "page.txt": b"<!-- saved -->\n<!DOCTYPE html><html><body>A thrush</body></html>",
    "part.txt": b'<div class="note"><p>A thrush</p></div>',
    "IMG_1.xmp": '<?xpacket begin="\ufeff" id="W5M0"?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>'.encode(),
    "walk.gpx": b'<?xml version="1.0"?>\n<gpx version="1.1"><trk/></gpx>',
    "walk.txt": b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\n",
    "facts.txt": b'{"species": "Veery", "count": 2}',
    "lines.txt": b'{"species": "Veery"}\n{"species": "Robin"}\n',
    "list.txt": b"[1, 2, 3]",
    "desktop.ini": "[.ShellClassInfo]\r\nIconResource=C:\\x.dll,3\r\n".encode("utf-16"),
    "settings.txt": b"[General]\nrate=48000\ngain=2\n",
    "environment": b"RATE=48000\nGAIN=2\nCHANNELS=1\n",
    "CONFIG.TXT": b"Device ID                       : 0000\nFirmware                        : AudioMoth (1.8.1)\n\n"
    b"Sample rate (Hz)                : 48000\n",
    "summary.txt": b"Filename: 20210501_060000.wav\nSample Rate: 48000\nGain: 12 dB\nTemperature: 12 C\n",
    "raven.txt": b"Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\n",
    "selections.txt": b"1\tSpectrogram 1\t1\t0.5\t1.2\n2\tSpectrogram 1\t1\t2.5\t3.2\n",
    "labels.txt": b"0.500000\t1.200000\twren\n",
    "meter.txt": b"DATE,TIME,LAT,,LON,,POWER(V),TEMP(C),#FILES\n2021-May-01,06:00:00,32.2,N,110.9,W,5.1,12.0,1\n" * 2,
    "table.csv": b"species,count\nVeery,2\n",
    "words.srt": b"1\n00:00:01,000 --> 00:00:02,000\nA veery sings\n",
    "run.log": b"nothing to see",
    "tool.py": b"print('a bird')",
    "settings.yaml.txt": b"sample_rate: 48000\ngain: 30\nstart_time: 06:00\nduration: 60\n",
    "mail.txt": b"Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\nSubject: wren\n\nA wren sang.\n",
    "paper.txt": b"% a draft\n\\documentclass{article}\n\\begin{document}\nA wren sang.\n\\end{document}\n",
    "script.txt": b"# counts\nimport csv\nfrom pathlib import Path\n\nprint(Path.cwd())\n",
    "script_r.txt": b"library(warbleR)\nx <- 3\n",
    "script_js.txt": b"const wren = 3;\nconsole.log(wren);\n",
    "changes.txt": b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-wren\n+robin\n",
    "guano.txt": b"GUANO|Version: 1.0\nTimestamp: 2024-05-03T06:10:00\nLength: 5.0\n",
    "tiers.txt": b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n',
    "photo.txt": b'Sidecar = {\nDate = "2024",\nItems = {\n},\n}\n',
    "recorder.txt": b"03/05/2024 06:10:01 BAR-LT firmware 3.1\n03/05/2024 06:10:02 SD card 1 mounted\n"
    b"03/05/2024 06:10:03 Recording started 48000 Hz\n03/05/2024 06:20:03 Recording stopped\n",
    "sums.txt": b"d41d8cd98f00b204e9800998ecf8427e  a.wav\n0cc175b9c0f1b6a831c399e269772661  b.wav\n",
    "names.txt": b"IMG_0001.JPG\nIMG_0002.JPG\nIMG_0003.JPG\n",
    "numbers.txt": b"0.12 0.33 0.44\n0.55 0.66 0.77\n0.88 0.99 0.11\n",
    "coded.txt": b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg==\n" * 4,
    "code.txt": b"#include <stdio.h>\nint main() { return 0; }\n",
}
NOTES = [
    "Species: Cactus wren\nDate: 2021-05-01\nLocation: Tucson\nNotes: low chugging series",
    "Date: 2021-05-01\nTime: 06:30\nLatitude: 32.2\nLongitude: -110.9\nSpecies: Cactus wren\nNotes: a song.",
    "[Song] begins at dawn, with two calls in between.",
    "- wren\n- veery\n- robin",
    "wren\nveery\nrobin",
    "2024-05-03 06:10 wren singing\n2024-05-03 06:14 a robin, two of them\n2024-05-03 06:40 blackbird: alarm call",
    "\u6e05\u6668,\u9e6a\u9e69\u5728\u6eaa\u8fb9\u6b4c\u5531,\u522b\u7684\u9e1f\u56de\u7b54\u3002\n" * 4,
    "Red crown, white belly, long tail.\nBlack cap, yellow vent, short bill.\nGray back, buff flanks, pale eye.",
    "Cactus wren, singing, Tucson\nVeery, calling, Vermont\nRobin, silent, Maine",
    "<5 birds seen near the <unclear> pond",
    "06:30 wren singing\n06:40 veery calling\n06:50 silence",
    "The interval = 3 s.\nIt sang = loudly",
    "# Veery\n\n*Catharus fuscescens*, a thrush with faint spots; see [the list](birds.html).",
    "Cactus wren, low chugging series of notes.",
]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_note_is_refused_by_every_command(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(OTHERS[name])
    with pytest.raises(NotProseError, match=r"not a note in plain text\. Give its text as a \.txt file") as detected:
        detect_medium(path)
    with pytest.raises(NotProseError) as loaded:
        list(text.load(path, decoding=Decoding(), limits=MediaLimits()))
    assert str(detected.value) == str(loaded.value)
    assert detected.value.kind == "not_prose"


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("name", ["note.txt", "note.md", "NOTE", "note.jpg"])
def test_a_note_is_a_note(note, name, tmp_path):
    (tmp_path / name).write_text(note, encoding="utf-8")
    assert detect_medium(tmp_path / name) is Medium.TEXT
    [segment] = text.load(tmp_path / name, decoding=Decoding(), limits=MediaLimits())
    assert segment.content.text == note


def test_a_long_table_is_told_by_its_beginning():
    assert find_other_kind("time\tspecies\tcount\n" * 100_000, suffix=".txt") is not None
    assert find_other_kind("A wren sang, and a veery.\n" * 100_000, suffix=".txt") is None
