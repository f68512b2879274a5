"""Sets with faults in them, a pretrained encoder on disk, and a way to kill a verb in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


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
