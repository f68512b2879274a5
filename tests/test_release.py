"""The release: its steps, the workflows that call them, and what a citation says."""

import hashlib
import io
import runpy
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import fieldmark

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = runpy.run_path(str(ROOT / "scripts" / "release.py"))


@pytest.fixture
def dist(tmp_path):
    """A wheel and an archive that have what is needed."""
    with zipfile.ZipFile(tmp_path / "fieldmark-1.whl", "w") as wheel:
        for name in RELEASE["_IN_WHEEL"]:
            wheel.writestr(name, "content")
    write_archive(tmp_path / "fieldmark-1.tar.gz", RELEASE["_IN_ARCHIVE"])
    return tmp_path


def write_archive(path, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"fieldmark-1/{name}")
            member.size = 7
            archive.addfile(member, io.BytesIO(b"content"))


def test_sums_are_those_of_both_files(dist, capsys):
    RELEASE["finish"](dist)
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["fieldmark-1.tar.gz", "fieldmark-1.whl"]
    for line in lines:
        digest, name = line.split("  ")
        assert digest == hashlib.sha256((dist / name).read_bytes()).hexdigest()
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("name", ["fieldmark/__pycache__/x.pyc", "runs/birds/model.pkl"])
def test_what_does_not_belong_into_a_wheel_stops_the_release(name, dist):
    with zipfile.ZipFile(dist / "fieldmark-1.whl", "a") as wheel:
        wheel.writestr(name, "content")
    with pytest.raises(SystemExit, match=r"Correct pyproject\.toml"):
        RELEASE["finish"](dist)
    assert not (dist / "SHA256SUMS").exists()


def test_incomplete_files_stop_the_release(dist):
    write_archive(dist / "fieldmark-1.tar.gz", ["README.md"])
    with pytest.raises(SystemExit, match=r"lacks .*pyproject\.toml"):
        RELEASE["finish"](dist)
    (dist / "fieldmark-1.whl").unlink()
    with pytest.raises(SystemExit, match="0 wheels and 1 archives"):
        RELEASE["finish"](dist)


def test_tag_must_be_the_version():
    RELEASE["check_tag"](f"v{fieldmark.__version__}")
    with pytest.raises(SystemExit, match="set the version first"):
        RELEASE["check_tag"]("v99.0")


def test_files_that_must_be_in_a_wheel_are_in_the_source():
    for name in RELEASE["_IN_WHEEL"]:
        assert (
            ROOT / ("src" if "configs" not in name else "") / name.replace("fieldmark/configs", "configs")
        ).is_file()
    assert all((ROOT / name).is_file() for name in RELEASE["_IN_ARCHIVE"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_only_and_use_what_is_there(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(step["uses"].startswith("actions/") for step in steps if "uses" in step)
    words = [word for step in steps for word in step.get("run", "").split()]
    assert [word for word in words if word.startswith(("scripts/", ".ci/")) and not (ROOT / word).is_file()] == []
    # What a tag is called is never pasted into a command.
    assert all("${{" not in step.get("run", "") for step in steps)


def test_only_the_last_job_of_a_release_may_write():
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    assert {name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()} == {"publish"}
    assert jobs["publish"]["needs"] == "build"
    said = " ".join(step.get("run", "") for step in jobs["build"]["steps"])
    assert said.index("check-tag") < said.index("-m build") < said.index("finish dist")


def test_citation_names_the_authors_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["authors"] == [{"name": "The fieldmark authors"}]
    [paper] = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["He", "Peng", "Xie"]
