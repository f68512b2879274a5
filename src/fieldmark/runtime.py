"""The runtime of a verb: device, cache folder, reporter, and processes to share work with."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fieldmark.errors import ConfigError
from fieldmark.gallery.address import EngineAccess
from fieldmark.types import Reporter, SilentReporter


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device, cache and reporter that a verb runs with.

    Args:
        device: A torch device; None takes the GPU if there is one, else the CPU.
        cache: Folder of computed features and of models that the user added; None for neither.
        engine: How the engines of galleries are reached that are no folders.
    """

    reporter: Reporter = field(default_factory=SilentReporter)
    cache: Path | None = None
    device: str | None = None
    engine: EngineAccess = field(default_factory=EngineAccess)

    @classmethod
    def from_environment(cls, reporter: Reporter | None = None) -> "Runtime":
        """Return the runtime that the environment describes: FIELDMARK_CACHE, FIELDMARK_DEVICE, FIELDMARK_MILVUS_..."""
        # An empty variable counts as unset.
        cache = Path(os.environ.get("FIELDMARK_CACHE") or "~/.cache/fieldmark").expanduser()
        authority = os.environ.get("FIELDMARK_MILVUS_CA")
        return cls(
            reporter=reporter or SilentReporter(),
            cache=cache,
            device=os.environ.get("FIELDMARK_DEVICE") or None,
            engine=EngineAccess(
                token=os.environ.get("FIELDMARK_MILVUS_TOKEN") or None,
                authority=Path(authority).expanduser() if authority else None,
                cache=cache,
            ),
        )

    @property
    def models_folder(self) -> Path | None:
        """The folder of models that the user added, inside that of the cache; None without one."""
        return None if self.cache is None else self.cache / "models"

    def choose_device(self) -> torch.device:
        """Return the device that networks run on.

        Raises:
            ConfigError: There is no such device here.
        """
        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            return torch.empty(0, device=self.device).device
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"The device '{self.device}' cannot be used: {str(error).splitlines()[0]}. "
                "Set FIELDMARK_DEVICE to 'cpu' or 'cuda', or leave it unset.",
                kind="device",
            ) from error


def start_processes(count: int) -> ProcessPoolExecutor:
    """Start processes that share work, each with one thread of torch; a context, which ends them.

    They are not forked from this process, which may hold threads of torch and FFmpeg. Where the system can, a server
    that has loaded the libraries forks them: otherwise each of them would load the libraries for itself.
    """
    can_fork = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if can_fork else "spawn")
    if can_fork:
        context.set_forkserver_preload(["fieldmark.media.loaders"])
    return ProcessPoolExecutor(max_workers=count, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
