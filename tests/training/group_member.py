"""One of several processes that train the toy task together: no test, but a part of some."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from toy_run import CLASS_COUNT, DIM, OPTIONS, Lines, ToyBatches, ToyNetwork, make_task, run, stage_of

from fieldmark.errors import NonFiniteLossError, TooManyFailuresError
from fieldmark.losses.center import CenterLoss
from fieldmark.losses.classification import ClassificationLoss
from fieldmark.losses.ranking import RankingLoss
from fieldmark.training.group import Group
from fieldmark.training.layout import RunLayout
from fieldmark.training.step import WeightedLoss
from fieldmark.types import Batch


@dataclass(frozen=True)
class SharedBatches:
    """Of every toy batch the share of one process; in the second step the first process has all rows."""

    group: Group
    batches: ToyBatches = field(default_factory=ToyBatches)

    def __len__(self) -> int:
        return len(self.batches)

    def __call__(self, epoch: int, first_step: int) -> Iterator[Batch]:
        for step, batch in enumerate(self.batches(epoch, first_step), start=first_step):
            index, size = (self.group.index, self.group.size) if step != 1 else (0, 1 if self.group.is_first else 0)
            yield share(batch, index=index, size=size)


def share(batch: Batch, *, index: int, size: int) -> Batch:
    """Every so many-th row of each medium; none for a size of 0. Failures stay with the last process."""
    parts = tuple(
        replace(part, inputs=part.inputs[index::size], label=part.label[index::size])
        for part in (batch.parts if size else ())
    )
    return replace(
        batch,
        parts=parts,
        item_ids=batch.item_ids[index::size] if size else (),
        failures=batch.failures if index == size - 1 else (),
    )


def network_without_norm() -> ToyNetwork:
    """The toy network, whose rows do not depend on their company."""
    network = ToyNetwork()
    network.norm, network.dropout = nn.Identity(), nn.Dropout(0.0)
    return network


def joint_run(folder: Path, group: Group, *, part_count: int = 1) -> None:
    """A run of two stages with every kind of loss."""
    losses = {
        "classification": WeightedLoss(ClassificationLoss(label_smoothing=0.0)),
        "center": WeightedLoss(CenterLoss(class_count=CLASS_COUNT, dim=DIM, rate=0.5, space="embedding"), weight=0.1),
        "ranking": WeightedLoss(RankingLoss(margin=0.4, second_margin=0.2, cross_media=False), weight=0.5),
    }
    task = make_task(network=network_without_norm(), losses=losses, batches=SharedBatches(group))
    if not group.is_first:
        with torch.no_grad():
            task.network.classifier.weight.add_(1.0)  # the first one's weights are to count
    stages = tuple(stage_of(task, OPTIONS, name=name, epochs=2) for name in ("c", "r"))
    options = replace(OPTIONS, execution=replace(OPTIONS.execution, part_count=part_count))
    run(folder, task, options=options, stages=stages, group=group)


def failing_run(folder: Path, group: Group, batches: ToyBatches) -> str:
    """The error of a run whose trouble lies in the rows of one process."""
    task = make_task(network=network_without_norm(), batches=SharedBatches(group, batches))
    try:
        run(folder, task, group=group)
    except (NonFiniteLossError, TooManyFailuresError) as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class PoisonedBatches(ToyBatches):
    """Toy batches of which one has a row that is no number."""

    def __call__(self, epoch: int, first_step: int) -> Iterator[Batch]:
        for step, batch in enumerate(super().__call__(epoch, first_step), start=first_step):
            if (epoch, step) == (0, 2):
                batch.parts[0].inputs[1] = torch.nan  # in the share of the second process
            yield batch


def main(index: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=index, world_size=size)
    group = Group(index=index, size=size)
    joint_run(folder / "joint", group)
    joint_run(folder / "parts", group, part_count=2)
    own = folder / f"own-{index}"
    reporter = Lines()
    run(own, make_task(network=network_without_norm(), batches=SharedBatches(group)), group=group, reporter=reporter)
    told = {
        "writes": RunLayout(own).last.exists(),
        "total": reporter.steps[-1][3],
        "nan": failing_run(folder / "nan", group, PoisonedBatches()),
        "failures": failing_run(folder / "failures", group, ToyBatches(failures={(0, 2): ("a", "b", "c")})),
    }
    (folder / f"told-{index}.json").write_text(json.dumps(told))
    group.wait()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.flush()
    # On a busy machine a thread of gloo may outlive the interpreter, and the process then ends by an abort.
    os._exit(0)
