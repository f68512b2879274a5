"""Sets with faults in them, a pretrained encoder on disk, and a way to kill a verb in the middle."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fieldmark import Config, Item, Medium, Split, load_config, read_manifest
from fieldmark.types import Reporter


class RecordingReporter(Reporter):
    """Keeps what was said and how far each task came; may break off at a step."""

    def __init__(self, *, stop_at: tuple[str, int] | None = None) -> None:
        self.lines: list[str] = []
        self.done: dict[str, int] = {}
        self._stop_at = stop_at

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        self.done[task] = done
        if self._stop_at == (task, done):
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def make_reporter() -> Callable[..., RecordingReporter]:
    return RecordingReporter


@pytest.fixture(scope="session")
def toy_items(toy_manifest: Path) -> tuple[Item, ...]:
    return read_manifest(toy_manifest)


class BrokenFiles:
    """One item of each fault that a file can have; the end of its id says which."""

    kinds = {  # noqa: RUF012 - never changed
        "unreadable-photo": "unreadable",
        "empty-clip": "empty",
        "missing-song": "missing_file",
        "mismatched-photo": "medium_mismatch",
        "encoded-text": "unreadable",
    }

    def __init__(self, folder: Path, *, photo: Item, song: Item) -> None:
        self._folder = folder
        self._class_name = photo.class_name
        content = photo.path.read_bytes()
        (folder / "cut.jpg").write_bytes(content[: len(content) // 3])
        (folder / "empty.mp4").touch()
        shutil.copy(song.path, folder / "song.jpg")
        (folder / "koi8.txt").write_bytes("\u043c\u0443\u0445\u043e\u043b\u043e\u0432\u043a\u0430".encode("koi8-r"))

    def make(self, split: Split) -> list[Item]:
        """The items, in a split."""
        files = {
            "unreadable-photo": (Medium.IMAGE, "cut.jpg"),
            "empty-clip": (Medium.VIDEO, "empty.mp4"),
            "missing-song": (Medium.AUDIO, "nowhere.wav"),
            "mismatched-photo": (Medium.IMAGE, "song.jpg"),
            "encoded-text": (Medium.TEXT, "koi8.txt"),
        }
        return [
            Item(f"{split}/{name}", medium, path=self._folder / file, class_name=self._class_name, split=split)
            for name, (medium, file) in files.items()
        ]


@pytest.fixture
def broken(tmp_path: Path, toy_items: tuple[Item, ...]) -> BrokenFiles:
    photo = next(item for item in toy_items if item.medium is Medium.IMAGE)
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    (tmp_path / "broken").mkdir()
    return BrokenFiles(tmp_path / "broken", photo=photo, song=song)


@pytest.fixture(scope="session")
def shared_space_config(shared_space_files: Path) -> Config:
    """The default model at small size."""
    return load_config(shared_space_files / "config.toml")


@pytest.fixture(scope="session")
def run_killed() -> Callable[..., None]:
    """Runs a verb in a process of its own, which is killed with SIGKILL at a step of a task or once a file is there."""
    if os.name != "posix":
        pytest.skip("SIGKILL is a matter of POSIX systems")

    def run(verb: str, *arguments: str, at: tuple[str, int] | None = None, once_there: Path | None = None) -> None:
        script = Path(__file__).with_name("killed_verb.py")
        task, step = at or ("never", 0)
        command = [sys.executable, str(script), task, str(step), verb, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603
            while once_there is not None and process.poll() is None:
                if once_there.exists():
                    process.kill()
                time.sleep(0.001)
            output, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, output

    return run


def same_tensors(first, second) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return first.keys() == second.keys() and all(
        np.array_equal(first[name].numpy(), second[name].numpy()) for name in first
    )


@pytest.fixture(scope="session")
def have_same_tensors() -> Callable[..., bool]:
    return same_tensors
