"""The metrics of a run for TensorBoard."""

from collections.abc import Sequence
from pathlib import Path

from fieldmark.errors import MissingExtraError
from fieldmark.training.progress import EpochMetrics


def check_tensorboard() -> None:
    """Makes sure at the start of a run that what it is to write at the end of an epoch can be written.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(package="tensorboard", extra="tensorboard", need="'train.tensorboard'") from error


def write_tensorboard(folder: Path, rows: Sequence[EpochMetrics]) -> None:
    """Writes all epochs anew, in one file, so that the curves never hold an epoch that the checkpoint does not know.

    Args:
        folder: Holds nothing but these events.
    """
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in rows:
            for name, value in _curves(row).items():
                writer.add_scalar(name, value, row.step)


def _curves(row: EpochMetrics) -> dict[str, float]:
    losses = {f"loss/{name}": value for name, value in {**row.loss.parts, "total": row.loss.total}.items()}
    score = {} if row.validation_map is None else {"validation/MAP": row.validation_map}
    times = {"time/seconds": row.seconds, "time/waiting_share": row.waiting_share}
    return {**losses, **score, "lr": row.lr, **times, "items/failed": float(row.failed)}
