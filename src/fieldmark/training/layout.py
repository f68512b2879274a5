"""Names of the files in the folder of a run, and of a model saved for others."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunLayout:
    """Paths of the files that a run's folder holds."""

    folder: Path

    @property
    def config(self) -> Path:
        """The effective configuration."""
        return self.folder / "config.toml"

    @property
    def run_info(self) -> Path:
        """The run's own facts: its data, its versions and its result."""
        return self.folder / "receipt.json"

    @property
    def items(self) -> Path:
        """The state of each item of training and validation, in short hashes, by which a resumed run tells changes."""
        return self.folder / "items.json"

    @property
    def marks(self) -> Path:
        """The marks of each class that its training texts name."""
        return self.folder / "marks.json"

    @property
    def metrics(self) -> Path:
        """The table of losses and validation scores by epoch."""
        return self.folder / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard events."""
        return self.folder / "tensorboard"

    @property
    def best(self) -> Path:
        """The best checkpoint."""
        return self.folder / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """The checkpoint that training resumes from."""
        return self.folder / "checkpoints" / "last.safetensors"

    def stage(self, name: str) -> Path:
        """Return the path of a finished stage's best checkpoint, from which the next stage started."""
        return self.folder / "checkpoints" / f"stage-{name}.safetensors"


@dataclass(frozen=True, slots=True)
class PretrainedLayout:
    """Paths of the files of a model saved for others: weights, configuration and card, but never code."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The weights."""
        return self.folder / "model.safetensors"

    @property
    def config(self) -> Path:
        """The configuration as JSON."""
        return self.folder / "config.json"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.folder / "README.md"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all files."""
        return tuple(path.name for path in (self.checkpoint, self.config, self.card))


def find_marks(path: Path) -> Path | None:
    """Return the marks of the run that a path means, or whose checkpoint it is; None where it has none."""
    folders = [path] if path.is_dir() else [path.parent.parent]
    return next((RunLayout(each).marks for each in folders if RunLayout(each).marks.is_file()), None)


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: the file itself, a run's best one, or that of a saved model."""
    if not path.is_dir():
        return path
    saved, best = PretrainedLayout(path).checkpoint, RunLayout(path).best
    return saved if saved.is_file() and not best.is_file() else best
