"""The command line: help as committed, exit codes, the keys of its JSON, and what its start loads."""

import csv
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from fieldmark import Medium, Split, read_manifest, write_manifest
from fieldmark.cli.app import app, main
from fieldmark.cli.terminal import TerminalReporter
from fieldmark.data.shards import read_embeddings
from product_parts import fgcrossnet, text_stem, trunk_of_depth

HELP_FOLDER = Path(__file__).with_name("help")
"""What `--help` prints at 100 columns; written anew where the variable FIELDMARK_WRITE_HELP is set."""

COMMANDS = [
    "",
    "demo",
    "data",
    "data import",
    "data import pku",
    "data import folders",
    "data import csv",
    "data fetch",
    "data join",
    "data check",
    "data split",
    "data describe",
    "data build",
    "data synthesize",
    "train",
    "embed",
    "evaluate",
    "compare",
    "verify",
    "index",
    "search",
    "serve",
    "checkpoint",
    "checkpoint import",
    "models",
    "models get",
    "models add",
    "checkpoint export",
    "marks",
    "marks save",
    "marks list",
    "marks undo",
    "gallery",
    "gallery describe",
    "gallery check",
    "gallery compact",
    "gallery move",
]


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FIELDMARK_DEVICE", "cpu")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the whole command line in this process: exit code, stdout, stderr."""

    def run_main(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fieldmark", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run_main


def run_process(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    code = "from fieldmark.cli.app import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **(environment or {})}
    )


# ---------------------------------------------------------------- help and start


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_as_committed(command):
    result = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=100, prog_name="fieldmark")
    file = HELP_FOLDER / f"{command.replace(' ', '-') or 'fieldmark'}.txt"
    if os.environ.get("FIELDMARK_WRITE_HELP"):
        file.write_text(result.stdout, encoding="utf-8")
    assert result.exit_code == 0
    assert result.stdout == file.read_text(encoding="utf-8")


def test_help_names_both_variables_of_the_environment():
    text = (HELP_FOLDER / "fieldmark.txt").read_text(encoding="utf-8")
    assert "FIELDMARK_CACHE" in text
    assert "FIELDMARK_DEVICE" in text


def test_help_loads_no_heavy_library():
    code = (
        "import sys\nimport fieldmark.cli.app\nsys.argv = ['fieldmark', 'train', '--help']\n"
        "try:\n    fieldmark.cli.app.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'lancedb', 'transformers', 'PIL', 'av'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert result.stdout.splitlines()[-1] == "loaded: []"


def test_python_runs_the_package_as_the_command_does():
    from fieldmark import __version__

    command = [sys.executable, "-m", "fieldmark"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    assert version.stdout == f"fieldmark {__version__}\n"
    wrong = subprocess.run([*command, "serch"], capture_output=True, text=True, check=False)  # noqa: S603
    assert (wrong.returncode, "Usage: fieldmark" in wrong.stderr) == (2, True)


def test_version(run):
    from fieldmark import __version__

    assert run("--version") == (0, f"fieldmark {__version__}\n", "")


# ---------------------------------------------------------------- wrong usage and errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["search", "x", "--gallery", "g", "--medium", "picture"],
            "'picture' is not a list of media. Give image, text",
        ),
        (["search", "x", "--gallery", "g", "--medium", ","], "separated by commas"),
        (["search", "x", "--gallery", "g", "-k", "0"], "-k"),
        (["search", "x"], "--gallery"),
        (["search", "--gallery", "g"], "--item"),
        (
            ["search", "x", "--gallery", "g", "--export", "xml=a.xml"],
            "'xml=a.xml' is not an export. Give FORMAT=FILE with one of the formats csv, raven, audacity, inaturalist,",
        ),
        (["evaluate", "e", "--protocol", "loose"], "'loose'"),
        (["embed", "m", "--checkpoint", "c", "--out", "o", "--split", "dev"], "'dev'"),
        (["train", "m"], "--out"),
        (["data", "synthesize", "--out", "o", "--classes", "1"], "--classes"),
        (["serch", "x"], "serch"),
        (["search", "x", "--gallery", "g", "--modality", "image"], "--modality"),
    ],
)
def test_wrong_usage_exits_2(arguments, expected, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2
    assert expected in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_a_command_is_needed(run):
    code, out, err = run()
    assert code == 2
    assert "Usage: fieldmark" in out + err


def test_an_error_is_one_message_and_exit_1(run, tmp_path):
    code, out, err = run("search", "a red cap", "--gallery", tmp_path / "nowhere")
    assert (code, out) == (1, "")
    assert err.startswith("fieldmark: There is no gallery at")
    assert len(err.splitlines()) == 1


def test_an_error_in_a_process_shows_a_traceback_only_when_asked(tmp_path):
    arguments = ("evaluate", str(tmp_path / "nowhere"))
    with ThreadPoolExecutor(2) as pool:
        plain, debug = pool.map(lambda options: run_process(*options, *arguments), ((), ("--debug",)))
    assert plain.returncode == debug.returncode == 1
    assert plain.stdout == ""
    assert plain.stderr.startswith("fieldmark: The embeddings in")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert "EmbeddingsError" in debug.stderr


def test_an_error_of_the_file_system_is_one_message(run, tmp_path):
    (tmp_path / "taken").touch()
    code, _, err = run("data", "synthesize", "--out", tmp_path / "taken" / "under", "--classes", 2, "--quiet")
    assert code == 1
    assert err.startswith("fieldmark: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--config", "tinny"], "Did you mean 'tiny'?"),
        (["--config", "tiny", "--set", "train.epoch=3"], "unknown key 'train.epoch'. Did you mean 'epochs'?"),
        (["--config", "tiny", "--set", "train.lr=fast"], "'train.lr': input should be a valid number"),
        (["--config", "tiny", "--set", "train.lr"], "--set takes key=value"),
        (["--config", "tiny", "--set", "model.kind=resnet"], "'shared_space', 'ready', 'fgcrossnet'"),
    ],
)
def test_a_wrong_configuration_exits_1_with_a_hint(options, expected, run, toy_manifest, tmp_path):
    code, _, err = run("train", toy_manifest, "--out", tmp_path / "run", *options)
    assert code == 1
    assert expected in err
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- results


def test_data_check_of_a_sound_set_exits_0(run, toy_manifest):
    code, out, err = run("data", "check", toy_manifest, "--workers", 1, "--json")
    result = json.loads(out)
    assert code == 0
    assert err.startswith("check 1/72, ")
    assert result.keys() >= {"item_count", "problems", "counts"}
    assert result["item_count"] == 72
    assert result["counts"].keys() == set(Medium)
    assert result["counts"]["image"].keys() == {"train", "test"}


def test_data_check_with_errors_exits_1(run, toy_manifest, tmp_path):
    items = read_manifest(toy_manifest)[:4]
    write_manifest(items, tmp_path / "broken.csv")
    with (tmp_path / "broken.csv").open("a") as file:
        file.write("x,nowhere.jpg,image\n")
    code, out, _ = run("data", "check", tmp_path / "broken.csv", "--workers", 1, "--json")
    result = json.loads(out)
    assert code == 1
    assert result["item_count"] == 4
    [problem] = [problem for problem in result["problems"] if problem["severity"] == "error"]
    assert problem.keys() >= {"kind", "severity", "item_ids", "detail"}
    assert problem["kind"] == "bad_row"
    code, out, _ = run("data", "check", tmp_path / "broken.csv", "--workers", 1, "--quiet")
    assert code == 1
    assert "error: bad_row, 1" in out


def test_a_share_of_unusable_items_may_be_allowed(run, toy_manifest, tmp_path):
    rows = [*read_manifest(toy_manifest)][:20]
    write_manifest([replace(rows[0], path=tmp_path / "gone.jpg"), *rows[1:]], tmp_path / "gone.csv")
    check = ("data", "check", tmp_path / "gone.csv", "--workers", 1, "--quiet", "--failure-share")
    assert [run(*check, share)[0] for share in (0.04, 0.05)] == [1, 0]


def test_a_folder_is_indexed_as_far_as_it_can_be_and_the_share_decides_the_exit(run, toy_run, tmp_path):
    folder = tmp_path / "disk"
    for name in ("a.txt", "b.txt", "raw/c.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"A wren, in {name}.")
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (tmp_path / "outside.txt").write_text("A veery.")
    (folder / "linked.txt").symlink_to(tmp_path / "outside.txt")
    options = ("--gallery", tmp_path / "gallery", "--exclude", "raw/", "--quiet", "--json")
    code, out, err = run("index", folder, "--checkpoint", toy_run, *options, "--failure-share", 0.25)
    report = json.loads(out)
    assert (code, report["item_count"]) == (1, 2)
    assert "2 of 4 items could not be used; at most 25% may fail" in err
    assert "--failure-share" in err
    assert {each["item_id"]: each["kind"] for each in report["failures"]} == {
        "1.jpg": "unreadable",
        "2.jpg": "unreadable",
        "linked.txt": "link_outside",
    }
    assert report["passed_over"] == [{"reason": "excluded", "file_count": 1, "examples": ["raw"]}]
    code, out, _ = run("index", folder, *options, "--follow-links")
    assert (code, json.loads(out)["item_count"]) == (0, 3)


def test_data_synthesize_prints_the_manifest(run, tmp_path):
    code, out, _ = run("data", "synthesize", "--classes", 2, "--items-per-medium", 4, "--out", tmp_path, "--quiet")
    assert code == 0
    assert len(read_manifest(Path(out.strip()))) == 2 * 4 * 4


def test_train_to_search_through_the_command_line(run, toy_manifest, toy_overrides, tmp_path):
    settings = [part for override in toy_overrides for part in ("--set", override)]
    run_folder, gallery = tmp_path / "run", tmp_path / "gallery"
    code, out, _ = run("train", toy_manifest, "--out", run_folder, "--config", "tiny", *settings, "--json")
    trained = json.loads(out)
    assert code == 0
    assert Path(trained["checkpoint"]).is_file()
    code, out, err = run("train", toy_manifest, "--out", run_folder, "--config", "tiny", *settings)
    assert (code, out) == (1, "")
    assert "--resume" in err
    code, out, _ = run("train", toy_manifest, "--out", run_folder, "--resume", "--json")
    assert json.loads(out)["validation_map"] == trained["validation_map"]

    code, out, _ = run(
        "embed", toy_manifest, "--checkpoint", run_folder, "--out", tmp_path / "e", "--split", "test", "--json"
    )
    tested = [item for item in read_manifest(toy_manifest) if item.split is Split.TEST]
    assert json.loads(out)["item_count"] == len(tested)

    code, out, _ = run("index", tmp_path / "e", "--checkpoint", run_folder, "--gallery", gallery, "--json")
    assert json.loads(out)["added_count"] == len(tested)
    code, out, _ = run("index", toy_manifest, "--gallery", gallery)
    assert f"{len(tested)} unchanged" in out
    code, out, _ = run("search", "a red cap", "--gallery", gallery, "--medium", "Image, audio", "-k", 5)
    assert len(out.splitlines()) == 5


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_evaluate_json_has_the_keys_of_the_contract(protocol, run, toy_embeddings):
    code, out, _ = run("evaluate", toy_embeddings, "--protocol", protocol, "--json")
    result = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert result.keys() >= {
        "protocol", "split", "counts", "class_count", "map", "map_average", "chance", "interval_95",
    }  # fmt: skip
    assert (result["protocol"], result["split"], result["class_count"]) == (protocol, "test", 3)
    assert result["counts"].keys() == set(Medium)
    tasks = {f"{one}_to_{other}" for one in Medium for other in [*Medium, "all"] if one != other}
    assert result["map"].keys() == result["chance"].keys() == result["interval_95"].keys() == tasks
    assert result["map_average"].keys() == {"bi_modality", "multi_modality"}
    assert all(low <= high for low, high in result["interval_95"].values())


def test_evaluate_prints_the_table(run, toy_embeddings):
    code, out, _ = run("evaluate", toy_embeddings)
    assert code == 0
    assert "Protocol strict, split test, 3 classes" in out
    assert out.count("→") >= 16


def test_evaluate_writes_every_file_that_was_asked_for_and_verify_reads_the_receipt(run, toy_embeddings, tmp_path):
    files = {name: tmp_path / f"out.{name}" for name in ("receipt", "report", "csv", "latex")}
    taxonomy = tmp_path / "taxonomy.csv"
    class_names = sorted({item.class_name for item in read_embeddings(toy_embeddings)[0].items})
    rows = "".join(f"{name},Genus,Family,Order\n" for name in class_names)
    taxonomy.write_text("class_name,genus,family,order\n" + rows)
    options = [part for name, file in files.items() for part in (f"--{name}", file)]
    code, out, err = run(
        "evaluate", toy_embeddings, *options, "--taxonomy", taxonomy, "--beside", "published", "--json", "--quiet"
    )
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["map_by_rank"]["image_to_text"]["genus"]["map"] == 1.0
    assert len(result["published"]["methods"]) == 12
    assert result["space"]["hubness"].keys() >= {"image_to_text"}
    assert all(file.stat().st_size > 1000 for file in files.values())
    code, out, _ = run("verify", files["receipt"], "--json")
    assert code == 0
    assert json.loads(out)["differences"] == []
    files["receipt"].write_text(files["receipt"].read_text().replace('"seed": 0', '"seed": 5', 1))
    code, out, _ = run("verify", files["receipt"])
    assert code == 1
    assert out.startswith("not verified: ")


def test_evaluate_beside_published_shows_the_caveats(run, toy_embeddings):
    code, out, _ = run("evaluate", toy_embeddings, "--beside", "published")
    assert code == 0
    assert "almost surely exchanged" in out
    assert max(map(len, out.splitlines())) <= 80


def test_compare_json_has_both_runs_and_the_test(run, toy_embeddings):
    code, out, _ = run("compare", toy_embeddings, toy_embeddings, "--json")
    result = json.loads(out)
    assert code == 0
    assert len(result["directions"]) == 16
    keys = {"first", "second", "difference", "interval_95", "p_value", "p_value_adjusted"}
    assert result["directions"]["image_to_text"].keys() >= keys
    assert result["test"]["adjustment"] == "Holm"
    code, out, _ = run("compare", toy_embeddings, toy_embeddings)
    assert sum("→" in line.split(" ")[0] for line in out.splitlines()) == 16


@pytest.mark.parametrize("medium", Medium)
def test_search_json_has_the_keys_of_the_contract(medium, run, toy_gallery, toy_manifest):
    query = next(item.path for item in read_manifest(toy_manifest) if item.medium is medium and item.path)
    code, out, err = run("search", query, "--gallery", toy_gallery, "--medium", "video,audio", "-k", 3, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["query"]["medium"] == medium
    assert [hit["rank"] for hit in result["hits"]] == [1, 2, 3]
    for hit in result["hits"]:
        assert hit.keys() >= {
            "rank", "score", "item_id", "medium", "class_name", "path", "start_seconds", "end_seconds",
        }  # fmt: skip
        assert hit["medium"] in ("video", "audio")


def test_search_with_an_item_and_marks_writes_what_other_programs_read(run, toy_gallery, toy_manifest, tmp_path):
    songs = [item.item_id for item in read_manifest(toy_manifest) if item.medium is Medium.AUDIO]
    table = tmp_path / "found.txt"
    asked = ["--item", songs[0], "--relevant", songs[1], "--irrelevant", songs[2], "--medium", "audio", "-k", 4]
    code, out, _ = run("search", "--gallery", toy_gallery, *asked, "--export", f"raven={table}", "--json")
    hits = json.loads(out)["hits"]
    assert code == 0
    assert songs[0] not in [hit["item_id"] for hit in hits]
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert rows[0][3] == "Begin Time (s)"
    assert [float(row[3]) for row in rows[1:]] == [hit["start_seconds"] for hit in hits]


def test_an_item_marked_right_and_wrong_is_told_before_the_gallery_is_opened(run, tmp_path):
    marks = ["--relevant", "a", "--relevant", "b", "--irrelevant", "b"]
    code, out, err = run("search", "a red cap", "--gallery", tmp_path / "none", *marks)
    assert (code, out) == (1, "")
    assert "both right and wrong: b." in err


def test_marks_are_saved_listed_and_undone(run, toy_gallery, toy_manifest, tmp_path):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    gallery = ("--gallery", tmp_path / "gallery")
    photo = next(item for item in read_manifest(toy_manifest) if item.medium is Medium.IMAGE)
    assert run("marks", "list", *gallery)[1] == "no labels\n"
    code, out, _ = run("marks", "save", "Odd one", photo.item_id, *gallery)
    assert (code, out[:22]) == (0, "1  Odd one  1 item; 20")  # then when, and by whom if that is told
    _, out, _ = run("search", "odd one", *gallery, "-k", 1, "--json")
    assert json.loads(out)["query"]["class_name"] == "Odd one"
    assert json.loads(out)["hits"][0]["item_id"] == photo.item_id
    assert run("marks", "undo", 1, *gallery)[1].startswith("1  Odd one  1 item, undone")
    saved = json.loads(run("marks", "list", *gallery, "--json")[1])["saved_classes"]
    assert saved[0]["former_names"] == {photo.item_id: photo.class_name}
    code, _, err = run("marks", "undo", 1, *gallery)
    assert (code, "none can be undone" in err) == (1, True)


# ---------------------------------------------------------------- progress


def test_progress_goes_to_stderr(run, toy_manifest, toy_run, tmp_path):
    code, out, err = run("index", toy_manifest, "--checkpoint", toy_run, "--gallery", tmp_path / "gallery")
    assert code == 0
    assert "embed 1/72" in err
    assert " s left" in err
    assert "embed" not in out


def test_progress_is_a_bar_in_a_terminal(run, monkeypatch, toy_manifest, toy_run, tmp_path):
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, out, err = run("index", toy_manifest, "--checkpoint", toy_run, "--gallery", tmp_path / "gallery", "--json")
    assert code == 0
    assert json.loads(out)["added_count"] == 72
    assert "72/72" in err


def test_quiet_progress_says_nothing(capsys):
    with TerminalReporter(quiet=True) as reporter:
        reporter.step("embed", done=1, total=1)
        reporter.say("a line")
    assert capsys.readouterr() == ("", "")


def test_progress_prints_text_as_it_is(capsys):
    with TerminalReporter(quiet=False) as reporter:
        reporter.say("skipped [red]/x[/y].jpg: " + "long " * 40)
    assert "[red]/x[/y].jpg" in capsys.readouterr().err
    with TerminalReporter(quiet=False) as reporter:
        for done in (1, 1, 2, 2):
            reporter.step("two files", done=done, total=2, note="[image]")
    assert "two files 1/2" in capsys.readouterr().err


def test_progress_tells_the_time_left_of_long_tasks_and_nothing_of_quick_ones(capsys, monkeypatch):
    seconds = iter((1.0, 1.5, 6.0, 16.0, 18.0))
    monkeypatch.setattr("fieldmark.cli.terminal.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with TerminalReporter(quiet=False) as reporter:
        for task, done, total in (("quick", 1, 2), ("quick", 2, 2), ("embed", 0, 4), ("embed", 1, 4), ("embed", 4, 4)):
            reporter.step(task, done=done, total=total)
    assert capsys.readouterr().err.splitlines() == ["embed 1/4, 30 s left", "embed 4/4, 0 s left"]


@pytest.mark.shared
@pytest.mark.slow
def test_data_check_finds_what_is_known_of_real_data(run, shared_folder):
    manifest = shared_folder / "data/fgbirds/manifest_core.csv"
    code, out, _ = run("data", "check", manifest, "--json", "--quiet")
    result = json.loads(out)
    kinds = [problem["kind"] for problem in result["problems"]]
    assert code == 1
    assert result["item_count"] == 2_788
    assert {medium: list(splits.values()) for medium, splits in result["counts"].items()} == {
        "image": [604, 454],
        "text": [560, 363],
        "video": [152, 100],
        "audio": [386, 169],
    }
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "duplicate_across_splits": 4,
        "near_duplicate_across_splits": 7,  # a photo of which a clip was made among them
        "duplicate": 1,
        "near_duplicate": 6,
        "dc_offset": 26,
        "class_without_medium": 1,
    }


@pytest.mark.shared
def test_data_check_finds_the_pages_that_stand_in_both_splits(run, shared_folder, tmp_path):
    items = [item for item in read_manifest(shared_folder / "data/fgbirds/manifest.csv") if item.group]
    splits = {}
    for item in items:
        splits.setdefault(item.group, set()).add(item.split)
    straddling = {group for group, present in splits.items() if len(present) > 1}
    chosen = [item for item in items if item.group in straddling and item.medium is Medium.TEXT]
    write_manifest(chosen, tmp_path / "pages.csv")
    code, out, _ = run("data", "check", tmp_path / "pages.csv", "--workers", 1, "--json", "--quiet")
    found = [problem for problem in json.loads(out)["problems"] if problem["kind"] == "group_straddles_splits"]
    assert code == 1
    assert len(found) == len({item.group for item in chosen}) > 0


# ---------------------------------------------------------------- making manifests


def test_data_import_prints_what_it_took_and_left(run, tmp_path):
    (tmp_path / "list/image").mkdir(parents=True)
    (tmp_path / "list/image/test.txt").write_text("image/001.Gull/a.jpg 0\nimage/001.Gull/b.jpg\n")
    code, out, _ = run("data", "import", "pku", tmp_path, "--out", tmp_path / "m.csv", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["item_count"], result["counts"]) == (1, {"image": {"test": 1}})
    assert result["left_counts"] == {"bad_line": 1, "missing_list": 7}
    assert len(read_manifest(tmp_path / "m.csv")) == 1
    code, out, _ = run("data", "import", "folders", tmp_path, "--out", tmp_path / "f.csv")
    assert code == 0
    assert "note: 1 of 1 files lie in no class's folder" not in out
    (tmp_path / "t.csv").write_text("words,who\nA gull.,Gull\n")
    columns = ("--column", "text=words", "--column", "class_name=who")
    code, out, _ = run("data", "import", "csv", tmp_path / "t.csv", "--out", tmp_path / "t2.csv", *columns)
    assert code == 0
    assert out.startswith("1 item of 1 class")
    assert run("data", "import", "csv", tmp_path / "t.csv", "--out", tmp_path / "x.csv", "--column", "text")[0] == 2


def test_data_split_and_describe_print_their_counts(run, toy_manifest, tmp_path):
    out = toy_manifest.with_name("split.csv")
    code, text, _ = run("data", "split", toy_manifest, "--out", out, "--unseen-classes", 1, "--seed", 3, "--json")
    result = json.loads(text)
    assert code == 0
    assert len(result["unseen_classes"]) == 1
    assert sum(sum(splits.values()) for splits in result["counts"].values()) == 72
    assert run("data", "split", toy_manifest, "--out", out, "--test", 0.9, "--validation", 0.2)[0] == 1
    sheet = tmp_path / "sheet.md"
    code, text, _ = run("data", "describe", out, "--datasheet", sheet, "--workers", 1, "--quiet", "--json")
    assert code == 0
    assert json.loads(text)["class_count"] == 3
    assert "## Licenses" in sheet.read_text(encoding="utf-8")
    code, text, _ = run("data", "describe", out, "--workers", 1, "--quiet")
    assert text.startswith("72 items of 3 classes")


def test_data_build_prints_what_it_made(run, toy_manifest, tmp_path):
    options = ("--frames", 4, "--longest-words", 500, "--quiet", "--json")
    code, out, _ = run("data", "build", toy_manifest, "--out", tmp_path / "built", *options)
    result = json.loads(out)
    assert code == 0
    assert (result["source_count"], result["left"]) == (72, [])
    assert len(read_manifest(tmp_path / "built/manifest.csv")) == 72
    code, out, err = run("data", "build", toy_manifest, "--out", tmp_path / "built")
    assert (code, out) == (1, "")
    assert "Choose another folder" in err


# ---------------------------------------------------------------- galleries


def test_gallery_describe_and_compact(toy_gallery, tmp_path, run):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    code, out, _ = run("gallery", "describe", tmp_path / "gallery", "--json")
    found = json.loads(out)
    assert (code, found["item_count"], found["search"]) == (0, 72, "exact")
    assert {"counts", "set_counts", "license_counts", "class_counts", "fingerprint", "disk_bytes"} <= found.keys()
    code, out, _ = run("gallery", "compact", tmp_path / "gallery")
    assert (code, "MB now" in out) == (0, True)


def test_gallery_check_exits_1_where_something_is_wrong(toy_gallery, tmp_path, run):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    code, out, _ = run("gallery", "check", tmp_path / "gallery", "--quiet")
    assert (code, "no problems" in out) == (0, True)
    (tmp_path / "gallery" / "checkpoint.safetensors").unlink()
    code, out, _ = run("gallery", "check", tmp_path / "gallery", "--no-media", "--json", "--quiet")
    [problem] = json.loads(out)["problems"]
    assert (code, problem["kind"], problem["severity"]) == (1, "checkpoint", "error")
    code, _, err = run("gallery", "describe", tmp_path / "nowhere")
    assert (code, "There is no gallery" in err) == (1, True)


def test_checkpoint_import_prints_the_network_it_met(run, tmp_path):
    import torch

    size, text = trunk_of_depth(10, base_width=4), text_stem(conv_width=32)
    network = fgcrossnet(class_count=3, trunk=size, text=text, statistics_per_medium=False)
    torch.save(network.state_dict(), tmp_path / "model.pkl")
    code, out, _ = run("checkpoint", "import", tmp_path / "model.pkl", "--out", tmp_path / "run", "--json")
    result = json.loads(out)
    assert (code, result["depth"], result["class_count"], result["has_class_names"]) == (0, 10, 3, False)
    assert Path(result["checkpoint"]).is_file()
    code, out, err = run("checkpoint", "import", tmp_path / "model.pkl", "--out", tmp_path / "run")
    assert (code, out) == (1, "")
    assert "already holds a run" in err


def test_checkpoint_export_writes_a_folder(run, toy_run, tmp_path):
    code, out, _ = run("checkpoint", "export", toy_run, "--pretrained", tmp_path / "model", "--json")
    assert code == 0
    assert json.loads(out)["pretrained"]["files"] == ["model.safetensors", "config.json", "README.md"]
    assert run("checkpoint", "export", toy_run)[0] == 2
    assert run("checkpoint", "export", toy_run, "--onnx", tmp_path / "onnx", "--push", "a/b")[0] == 2


def test_an_unknown_column_of_a_manifest_reaches_the_json_of_a_search(run, toy_items, toy_run, tmp_path):
    items = [replace(item, extra=(*item.extra, ("observer", "A. Smith"))) for item in toy_items[:3]]
    manifest, gallery = tmp_path / "birds.parquet", tmp_path / "gallery"
    write_manifest(items, manifest)
    code, _, err = run("index", manifest, "--checkpoint", toy_run, "--gallery", gallery, "--quiet")
    assert code == 0, err
    export = tmp_path / "hits.csv"
    code, out, err = run("search", items[0].path, "--gallery", gallery, "--json", "--export", f"csv={export}")
    assert code == 0, err
    assert [hit["facts"]["observer"] for hit in json.loads(out)["hits"]] == ["A. Smith"] * 3
    assert [row["observer"] for row in csv.DictReader(export.read_text().splitlines())] == ["A. Smith"] * 3
