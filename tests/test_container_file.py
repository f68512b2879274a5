"""The steps of the Containerfile, run without a container engine: paths stand under a folder of the test.

Dependencies come from the environment of the test instead of the package index; all else is done as it is written.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[1]
KNOWN = {
    "FROM", "WORKDIR", "COPY", "ARG", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"
}  # fmt: skip
PLACES = ("/source", "/opt/fieldmark", "/cache", "/gallery")
"""Absolute paths of the container that the steps write or read."""


def read_steps():
    """The instructions of the file, by stage."""
    stages = []
    for line in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            if word == "FROM":
                stages.append([])
            stages[-1].append((word, rest))
    return stages


STAGES = read_steps()
FINAL = dict(STAGES[-1])


def test_it_is_two_stages_of_known_instructions():
    assert len(STAGES) == 2
    assert {word for stage in STAGES for word, _ in stage} <= KNOWN
    assert all(rest.startswith("docker.io/library/python:3.12-slim") for stage in STAGES for word, rest in stage[:1])


def test_it_serves_the_gallery_as_a_user_without_rights():
    user, group = map(int, FINAL["USER"].split(":"))
    assert min(user, group) >= 1000
    words = [word for word, _ in STAGES[-1]]
    assert words.index("USER") > words.index("RUN")
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert json.loads(FINAL["ENTRYPOINT"]) + json.loads(FINAL["CMD"])[:3] == [
        "fieldmark",
        "serve",
        "--gallery",
        "/gallery",
    ]


def test_only_what_is_copied_is_sent_to_the_build():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for word, rest in STAGES[0] if word == "COPY" for name in rest.split()[:-1]}
    assert sent == copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a container is a Linux system")
def test_its_steps_build_and_serve_a_gallery(toy_gallery):
    root = Path("/tmp") / f"fieldmark-container-{os.getpid()}"  # noqa: S108 - folders of pytest are closed to others
    root.mkdir(mode=0o755)
    try:
        shutil.copytree(toy_gallery, root / "gallery")
        run_build(root)
        check_service(root)
    finally:
        shutil.rmtree(root)


def place(text, root):
    """The text with the paths of the container under a folder."""
    return re.sub(rf"({'|'.join(PLACES)})\b", rf"{root}\1", text)


def run_build(root):
    """Do what the two stages say, the second only as far as the user."""
    variables = {"PATH": f"{root}/bin:/usr/bin:/bin", "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    variables["PIP_NO_BUILD_ISOLATION"] = "false"  # which is how pip spells that it is not isolated
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(sys.executable)
    work = root
    for word, rest in [*STAGES[0], *STAGES[1]]:
        match word:
            case "WORKDIR":
                work = Path(place(rest, root))
                work.mkdir(parents=True)
            case "ARG":
                name, _, value = rest.partition("=")
                variables[name] = value
            case "COPY" if "--from" not in rest:
                *sources, target = rest.split()
                for source in sources:
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, work / (source if target == "./" else target))
            case "RUN":
                subprocess.run(["/bin/sh", "-ec", place(rest, root)], cwd=work, env=variables, check=True)  # noqa: S603
                give_dependencies(root)


def give_dependencies(root):
    """Let the environment of the container see the packages of this one, after its own."""
    for folder in (root / "opt/fieldmark/lib").glob("python3*/site-packages"):
        (folder / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


def become(user, group):
    """The words before a command that make it run as another user, if we may choose.

    Only a right to read stays: the interpreter of a test may lie in a closed home, which a container has not.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    rights = [f"--{kind}=-all,+dac_read_search" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *rights]


def check_service(root):
    """Start what the container starts, as its user, and ask it as its health check does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    variables = dict(pair.split("=", 1) for pair in shlex.split(place(FINAL["ENV"], root)))
    user, group = map(int, FINAL["USER"].split(":"))
    prefix = become(user, group)
    command = [*json.loads(FINAL["ENTRYPOINT"]), *json.loads(place(FINAL["CMD"], root)), "--port", str(port)]
    command = [*prefix, f"{root}/opt/fieldmark/bin/{command[0]}", *command[1:]]
    health = [*prefix, *json.loads(FINAL["HEALTHCHECK"].partition("CMD ")[2].replace("8000", str(port)))]
    with subprocess.Popen(command, env=variables, cwd="/", stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            for _ in range(300):
                asked = subprocess.run(health, env=variables, cwd="/", capture_output=True)  # noqa: S603, PLW1510
                if asked.returncode == 0 or server.poll() is not None:
                    break
                time.sleep(0.2)
            assert asked.returncode == 0, (
                server.communicate(timeout=5)[1] if server.poll() is not None else asked.stderr
            )
            with urlopen(f"http://127.0.0.1:{port}/") as page:
                assert b"<html" in page.read()
            if prefix:
                status = Path(f"/proc/{server.pid}/status").read_text()
                assert re.search(rf"^Uid:\s+{user}\s+{user}", status, re.MULTILINE)
                assert re.search(r"^CapEff:\s+0*4$", status, re.MULTILINE)
        finally:
            server.terminate()
            server.communicate(timeout=30)
