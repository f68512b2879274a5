"""Runs a verb, and kills its own process with SIGKILL when a task has come to a step: no test, but a part of some."""

import os
import signal
import sys
from pathlib import Path

import torch

from fieldmark import Runtime


class Killer:
    """A reporter that ends the process at once."""

    def __init__(self, task: str, step: int) -> None:
        self._moment = (task, step)

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        if (task, done) == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, message: str) -> None:
        sys.stderr.write(message + "\n")


def main(task: str, step: str, verb: str, *arguments: str) -> None:
    torch.set_num_threads(1)
    runtime = Runtime(reporter=Killer(task, int(step)), device="cpu")
    match verb, arguments:
        case "train", [manifest, config, out]:
            from fieldmark import load_config, train

            train(Path(manifest), out=Path(out), config=load_config(config), resume=True, runtime=runtime)
        case "embed", [manifest, run, out]:
            from fieldmark import embed

            embed(Path(manifest), checkpoint=Path(run), out=Path(out), split="all", runtime=runtime)
        case "index", [source, run, gallery, *options]:
            from fieldmark import index

            allow_drop = "allow_drop" in options
            index(Path(source), checkpoint=Path(run), gallery=Path(gallery), allow_drop=allow_drop, runtime=runtime)


if __name__ == "__main__":
    main(*sys.argv[1:])
