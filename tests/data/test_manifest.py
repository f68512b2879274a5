"""The manifest: read strictly or with its faults, written losslessly, or made from a bare folder."""

from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data.manifest import read_manifest, read_rows, write_manifest
from fieldmark.errors import ManifestError
from fieldmark.types import Item, Medium, Split


@pytest.fixture
def manifest(tmp_path: Path):
    def write(text: str, *, encoding: str = "utf-8") -> Path:
        path = tmp_path / "manifest.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError, match="bad rows") as caught:
        read_manifest(path)
    problems = read_rows(path).problems
    assert [problem for problem in problems[:20] if problem not in str(caught.value)] == []
    return problems


# ---------------------------------------------------------------- good manifests


def test_read_manifest_needs_only_path_and_medium(manifest, tmp_path):
    [item] = read_manifest(manifest("path,medium\nimage/a.jpg,image\n"))
    assert item == Item(item_id="image/a.jpg", medium=Medium.IMAGE, path=tmp_path / "image/a.jpg")


def test_read_manifest_reads_every_column(manifest, tmp_path):
    text = (
        "item_id,path,medium,class_name,split,group,start_seconds,end_seconds,source,license,caption_of,origin,note\n"
        "1,s/a.ogg,audio,Veery,test,rec 7,0.5,4,xc.example/7,CC0,img-3,field,\n"
    )
    [item] = read_manifest(manifest(text))
    assert item == Item(
        item_id="1",
        medium=Medium.AUDIO,
        path=tmp_path / "s/a.ogg",
        class_name="Veery",
        split=Split.TEST,
        group="rec 7",
        start_seconds=0.5,
        end_seconds=4.0,
        source="xc.example/7",
        license="CC0",
        caption_of="img-3",
        extra=(("origin", "field"), ("note", "")),
    )


def test_read_manifest_reads_texts_in_place(manifest):
    [first, second] = read_manifest(manifest('text,medium\n"A gull, grey above",text\n"Two\nlines",text\n'))
    assert (first.text, first.path) == ("A gull, grey above", None)
    assert second.text == "Two\nlines"
    assert first.item_id.startswith("text-")
    assert first.item_id != second.item_id


def test_read_manifest_gives_ids_that_do_not_depend_on_the_order(manifest):
    rows = ["a.jpg,,image,,", ",a gull,text,,", "s.wav,,audio,0,2", "s.wav,,audio,2,4"]
    header = "path,text,medium,start_seconds,end_seconds\n"
    forward = {item.item_id for item in read_manifest(manifest(header + "\n".join(rows)))}
    backward = {item.item_id for item in read_manifest(manifest(header + "\n".join(rows[::-1])))}
    assert forward == backward
    assert "s.wav#t=2,4" in forward


def test_read_manifest_tells_repeats_of_one_text_apart(manifest):
    items = read_manifest(manifest("text,medium,class_name\na bird,text,Gull\na bird,text,Tern\na bird,text,Wren\n"))
    assert len({item.item_id for item in items}) == 3


def test_read_manifest_tells_apart_clips_that_are_cut_at_their_end_alone(manifest):
    clips = read_manifest(manifest("path,medium,end_seconds\ns.wav,audio,2\ns.wav,audio,4\n"))
    assert [item.item_id for item in clips] == ["s.wav#t=,2", "s.wav#t=,4"]


def test_read_manifest_reads_groups_without_the_spaces_around_them(manifest):
    items = read_manifest(manifest("path,medium,group\na.wav,audio,tape 7\nb.wav,audio, tape 7 \n"))
    assert {item.group for item in items} == {"tape 7"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_read_manifest_takes_a_byte_order_mark(manifest, encoding):
    [item] = read_manifest(manifest("path,medium,class_name\nä.jpg,image,Möwe\n", encoding=encoding))
    assert item.class_name == "Möwe"


def test_read_manifest_forgives_letter_case_and_surrounding_spaces(manifest):
    [item] = read_manifest(manifest("Path, Medium,Class_Name ,SPLIT\na.jpg, IMAGE , Veery ,Train\n"))
    assert (item.medium, item.class_name, item.split) == (Medium.IMAGE, "Veery", Split.TRAIN)


def test_read_manifest_passes_over_what_spreadsheets_leave_behind(manifest):
    items = read_manifest(manifest("path,medium,,\r\na.jpg,image,,\r\n\r\n,,,\r\nb.jpg,image,,\r\n"))
    assert [item.item_id for item in items] == ["a.jpg", "b.jpg"]
    assert items[0].extra == ()


def test_read_manifest_allows_paths_outside_its_folder(manifest, tmp_path):
    up, absolute = read_manifest(manifest("path,medium\n../a.jpg,image\n/data/b.jpg,image\n"))
    assert up.path == tmp_path / "../a.jpg"
    assert absolute.path == Path("/data/b.jpg")


def test_read_manifest_finds_files_from_any_working_folder(manifest, tmp_path, monkeypatch):
    manifest("path,medium\na.jpg,image\n")
    monkeypatch.chdir(tmp_path)
    assert read_manifest(Path("manifest.csv"))[0].path == tmp_path / "a.jpg"


def test_read_manifest_without_rows_gives_nothing(manifest):
    assert read_manifest(manifest("path,medium\n")) == ()


def test_read_manifest_reads_parquet_of_any_column_types(tmp_path):
    table = pa.table(
        {
            "path": ["a.wav", "b.jpg", None],
            "text": pa.array([None, None, "a gull"], type=pa.large_string()),
            "medium": pa.array(["audio", "image", "text"]).dictionary_encode(),
            "start_seconds": pa.array([0, None, None], type=pa.int32()),
            "end_seconds": [2.5, None, float("nan")],
            "year": [2019, None, 2020],
        }
    )
    folder = tmp_path / "split=train"  # not to be taken for a partition column
    folder.mkdir()
    pq.write_table(table, folder / "m.parquet")
    sound, image, text = read_manifest(folder / "m.parquet")
    assert (sound.start_seconds, sound.end_seconds, sound.extra) == (0.0, 2.5, (("year", "2019"),))
    assert (image.start_seconds, image.end_seconds, image.extra) == (None, None, (("year", ""),))
    assert (text.text, text.path, text.split) == ("a gull", None, None)


# ---------------------------------------------------------------- bad rows

FAULTS = [
    ("a.jpg,,imge,,,", "unknown medium 'imge'; allowed: image, text, video, audio. Did you mean 'image'?"),
    ("a.jpg,,,,,", "no medium; allowed: image, text, video, audio"),
    (",,image,,,", "neither path nor text; give one"),
    ("a.txt,a gull,text,,,", "both path and text; give one"),
    (",a gull,audio,,,", "a text is given, but the medium is audio; give a path, or the medium text"),
    ("a.jpg,,image,trian,,", "unknown split 'trian'; allowed: train, validation, test. Did you mean 'train'?"),
    ("a.wav,,audio,,zero,", "start_seconds is 'zero'; give seconds as a number of 0 or more, such as 2.5"),
    ("a.wav,,audio,,-1,", "start_seconds is '-1'; give seconds as a number of 0 or more, such as 2.5"),
    ("a.wav,,audio,,,inf", "end_seconds is 'inf'; give seconds as a number of 0 or more, such as 2.5"),
    ("a.wav,,audio,,,nan", "end_seconds is 'nan'; give seconds as a number of 0 or more, such as 2.5"),
    ("a.wav,,audio,,4,4", "end_seconds is 4 and start_seconds 4; the end must come later"),
    ("a.wav,,audio,,,0", "end_seconds is 0 and start_seconds 0; the end must come later"),
    ("a.jpg,,image,,1,2", "start_seconds or end_seconds for image, which has no time; leave them empty"),
    ("a.\0jpg,,image,,,", "the path contains a NUL character, which no file name can have"),
    ("a.jpg,,image", "3 cells under 6 columns; quote cells with commas"),
    ("a.jpg,,image,,,,surplus", "7 cells under 6 columns; quote cells with commas"),
]


@pytest.mark.parametrize(("row", "problem"), FAULTS)
def test_read_manifest_names_the_fault_of_a_row(manifest, row, problem):
    text = f"path,text,medium,split,start_seconds,end_seconds\n{row}\n"
    assert problems_of(manifest(text)) == (f"line 2: {problem}",)


def test_read_manifest_reports_all_bad_rows_at_once(manifest):
    header = "path,text,medium,split,start_seconds,end_seconds\n"
    rows = [row.replace("a.", f"{number}.") for number, (row, _) in enumerate(FAULTS)]
    path = manifest(header + "\n".join(rows))
    problems = problems_of(path)
    assert [problem.split(":")[0] for problem in problems] == [f"line {line}" for line in range(2, 2 + len(rows))]
    with pytest.raises(ManifestError, match=f"{len(rows)} bad rows"):
        read_manifest(path)


def test_read_manifest_reports_every_fault_of_one_row(manifest):
    path = manifest("path,medium,split,start_seconds\n,sound,dev,x\n")
    assert len(problems_of(path)) == 4


def test_read_manifest_reports_a_repeated_item_id(manifest):
    path = manifest("item_id,path,medium\n1,a.jpg,image\n2,b.jpg,image\n1,c.jpg,image\n")
    assert problems_of(path) == ("line 4: the item_id '1' is already used in line 2",)


def test_read_manifest_reports_a_path_listed_twice_without_ids(manifest):
    path = manifest("path,medium\na.jpg,image\n./a.jpg,image\n")
    assert problems_of(path) == ("line 3: the item_id 'a.jpg' is already used in line 2",)


def test_read_manifest_counts_lines_past_texts_of_several_lines(manifest):
    path = manifest('text,medium\n"one\ntwo\nthree",text\nfour,txt\n')
    assert problems_of(path)[0].startswith("line 5: unknown medium 'txt'")


def test_read_manifest_counts_rows_of_parquet(tmp_path):
    pq.write_table(pa.table({"path": ["a", "b"], "medium": ["image", "smell"]}), tmp_path / "m.parquet")
    assert problems_of(tmp_path / "m.parquet")[0].startswith("row 2: unknown medium 'smell'")


def test_read_rows_gives_the_good_rows_beside_the_faults(manifest):
    rows = read_rows(manifest("path,medium\na.jpg,image\nb.jpg,photo\nc.jpg,image\n"))
    assert [item.item_id for item in rows.items] == ["a.jpg", "c.jpg"]
    assert len(rows.problems) == 1


# ---------------------------------------------------------------- files that are no manifests


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no header"),
        (b"path,medium\na.jpg,image\n\xe4.jpg,image\n", "line 3 is not UTF-8"),
        ("path,medium\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b'path,medium\na.jpg,image\n"b.jpg,image\nc.jpg,image\n', "from line 3 on it is not CSV"),
        (b"path,medium,path\n", "the column 'path' appears 2 times"),
        (b"path,medium,note,note\n", "the column 'note' appears 2 times"),
        (b"path,,medium\n", "column 2 has no name"),
        (b"PAR1 and nothing behind it", "damaged Parquet"),
        (b"text,medium\n" + b"a" * 200_000 + b",text\n", "field larger than field limit"),
    ],
)
def test_read_manifest_says_why_a_file_is_no_manifest(tmp_path, content, reason):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=reason):
        read_manifest(tmp_path / "m.csv")


def test_read_manifest_of_a_missing_file_and_of_a_folder_is_a_manifest_error(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(ManifestError, match="cannot be read as a manifest"):
            read_manifest(path)


@pytest.mark.parametrize(
    ("header", "missing"),
    [("path,class_name", "missing: medium"), ("medium,label", r"missing: path \(or text\)"), ("path;medium", "medium")],
)
def test_read_manifest_names_missing_columns(manifest, header, missing):
    with pytest.raises(ManifestError, match=missing):
        read_manifest(manifest(f"{header}\nx,y\n"))


@given(st.binary(max_size=60) | st.text(alphabet='path,medium"\n\rimage;', max_size=80).map(str.encode))
def test_read_manifest_answers_any_bytes_with_items_or_a_manifest_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "m.csv"
    for header in (b"", b"path,medium\n"):
        path.write_bytes(header + content)
        with suppress(ManifestError):
            read_manifest(path)


# ---------------------------------------------------------------- writing

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = words.map(str.strip).filter(bool)
file_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in {".", ".."})
seconds = st.floats(0, 1e6)


@st.composite
def rows(draw):
    """The fields of an item that a manifest can hold, its path as parts."""
    medium = draw(st.sampled_from(Medium))
    is_timed = medium in {Medium.VIDEO, Medium.AUDIO}
    start = draw(st.none() | seconds) if is_timed else None
    length = draw(st.none() | st.floats(0.001, 1e6)) if is_timed else None
    text = draw(st.none() | words) if medium is Medium.TEXT else None
    return {
        "medium": medium,
        "path": None if text else draw(st.lists(file_names, min_size=1, max_size=3)),
        "text": text,
        "class_name": draw(st.none() | names),
        "split": draw(st.none() | st.sampled_from(Split)),
        "group": draw(st.none() | names),
        "start_seconds": start,
        "end_seconds": None if length is None else (start or 0.0) + length,
        "source": draw(st.none() | words),
        "license": draw(st.none() | words),
        "caption_of": draw(st.none() | words),
    }


@given(st.dictionaries(words, rows(), max_size=5), st.lists(names, unique=True, max_size=3), st.data())
def test_write_manifest_loses_nothing(tmp_path_factory, row_by_item_id, columns, data):
    folder = tmp_path_factory.mktemp("manifest")
    items = []
    for item_id, row in row_by_item_id.items():
        path = folder.joinpath(*row["path"]) if row["path"] else None
        extra = tuple((f"x {column}", data.draw(st.just("") | words)) for column in columns)
        items.append(Item(item_id=item_id, extra=extra, **{**row, "path": path}))
    for name in ("m.csv", "m.parquet"):
        write_manifest(items, folder / name)
        assert read_manifest(folder / name) == tuple(items)


def test_write_manifest_writes_paths_that_move_with_the_folder(make_item, tmp_path):
    write_manifest([make_item(path=tmp_path / "set" / "images" / "a.jpg")], tmp_path / "set" / "m.csv")
    (tmp_path / "set").rename(tmp_path / "elsewhere")
    [item] = read_manifest(tmp_path / "elsewhere" / "m.csv")
    assert item.path == tmp_path / "elsewhere" / "images" / "a.jpg"


def test_write_manifest_reaches_files_outside_its_folder_through_links(make_item, tmp_path):
    (tmp_path / "a.txt").write_text("a gull")
    (tmp_path / "deep" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "real")
    write_manifest([make_item(Medium.TEXT, path=tmp_path / "a.txt")], tmp_path / "link" / "m.csv")
    [item] = read_manifest(tmp_path / "link" / "m.csv")
    assert item.path.read_text() == "a gull"
    assert "/deep" not in (tmp_path / "link" / "m.csv").read_text()


def test_write_manifest_makes_the_folder_and_leaves_no_other_file(make_item, tmp_path):
    path = tmp_path / "new" / "m.csv"
    write_manifest([make_item()], path)
    write_manifest([make_item(), make_item()], path)
    assert len(read_manifest(path)) == 2
    assert list(path.parent.iterdir()) == [path]


def test_write_manifest_that_fails_keeps_the_old_file(make_item, tmp_path):
    path = tmp_path / "m.csv"
    write_manifest([make_item()], path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_manifest([make_item(), make_item(class_name="\ud800")], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_manifest_joins_unlike_extra_columns(make_item, tmp_path):
    write_manifest([make_item(extra=(("a", "1"),)), make_item(extra=(("b", "2"),))], tmp_path / "m.csv")
    first, second = read_manifest(tmp_path / "m.csv")
    assert first.extra == (("a", "1"), ("b", ""))
    assert second.extra == (("a", ""), ("b", "2"))


def test_write_manifest_refuses_an_extra_column_with_a_known_name(make_item, tmp_path):
    with pytest.raises(ManifestError, match="'split' appears 2 times"):
        write_manifest([make_item(extra=(("Split", "x"),))], tmp_path / "m.csv")


def test_write_manifest_of_nothing_can_be_read(tmp_path):
    for name in ("m.csv", "m.parquet"):
        write_manifest([], tmp_path / name)
        assert read_manifest(tmp_path / name) == ()


# ---------------------------------------------------------------- bare folders


def test_manifests_are_read_and_written_by_a_path_as_text(make_item, tmp_path):
    write_manifest([make_item(Medium.TEXT, path=tmp_path / "a.txt")], str(tmp_path / "m.csv"))
    assert read_manifest(str(tmp_path / "m.csv")) == read_manifest(tmp_path / "m.csv")
