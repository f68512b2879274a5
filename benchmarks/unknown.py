r"""What the default network does where something is not known, beside what it did before: three small experiments.

    python benchmarks/unknown.py

1. One name among ten: the encoder knows the name of one class of ten, every class has one group, and a learned
   classifier is perfect. Accuracy with the whole share of named scores (before), and with the share that is guessed.
2. Classes without rows: two classes of ten have recordings, and the encoder of sounds names none of the ten. The
   probability that a recording leaves to the eight others: none before, where they had no logit; now what was theirs
   before anything was heard.
3. Rows of one class: 4,800 rows of one class and 20 of nineteen others each, as ten hours of one bird leave. The worst
   accuracy of a class on rows of other groups, when every n-th row is fitted (before) and when the choice is fair.

Features are synthetic; figures are means over the seeds.
"""

import argparse

import numpy as np
import torch
from rounds import show_mean, write_lines
from torch import Tensor

from fieldmark.models.fitted import LinearClassifier, NamedScores, Standardization, fit_named_weights
from fieldmark.models.row_choice import choose_rows

CLASSES, DIM = 10, 32
KNOWN = torch.full((CLASSES, 1), -1)


def main() -> None:
    """Run all experiments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    lines = [
        "| experiment | before | 95 % interval | now | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    experiments = {
        "one name among ten: accuracy": know_one_name,
        "two classes of ten have recordings: probability of the others": leave_classes_without_rows,
        "one class has 4,800 rows, nineteen have 20: worst accuracy": crowd_with_one_class,
    }
    for title, measure in experiments.items():
        found = np.array([measure(torch.Generator().manual_seed(seed)) for seed in seeds])
        before, now = (show_mean(column.tolist()) for column in found.T)
        lines.append(f"| {title} | {before} | {now} |")
    write_lines(lines, None)


def know_one_name(generator: torch.Generator) -> tuple[float, float]:
    """Measure with the whole share, and with the one that fitting returns."""
    rows, label = draw(torch.arange(CLASSES).repeat_interleave(6), generator)
    features = torch.rand(len(rows), 1, generator=generator).sqrt()  # square roots of scores that say nothing
    column = KNOWN.clone()
    column[0] = 0
    weights = fit_named_weights(features, rows, label, group=label, column=column, linear_weight=1.0)
    linear, named = LinearClassifier(DIM, class_count=CLASSES), NamedScores(CLASSES)
    linear.fit(rows, label)
    named.fit(label, column=pad(column))
    found = []
    for share in (1.0, weights.share):
        named.share.fill_(share)
        logits = named.mix_with(linear(rows), features, weight=1.0)
        found.append(float((logits.argmax(dim=1) == label).float().mean()))
    return found[0], found[1]


def leave_classes_without_rows(generator: torch.Generator) -> tuple[float, float]:
    """Measure the probability of eight classes without rows and names: of a softmax over the others, and now."""
    rows, label = draw(torch.arange(2).repeat_interleave(30), generator)
    linear, named = LinearClassifier(DIM, class_count=CLASSES), NamedScores(CLASSES)
    linear.fit(rows, label)
    named.fit(label, column=pad(KNOWN))
    logits = named.mix_with(linear(rows), rows, weight=1.0)
    is_met = torch.arange(CLASSES) < 2
    before = linear(rows).masked_fill(~is_met, -torch.inf).softmax(dim=1)
    return float(before[:, ~is_met].sum(dim=1).mean()), float(logits.softmax(dim=1)[:, ~is_met].sum(dim=1).mean())


def crowd_with_one_class(generator: torch.Generator) -> tuple[float, float]:
    """Measure the worst accuracy of a class by every n-th row, and by a fair choice of as many."""
    counts = torch.tensor([4_800, *[20] * 19])
    label = torch.arange(20).repeat_interleave(counts)
    center = torch.randn(20, DIM, generator=generator)
    rows = center[label] + torch.randn(len(label), DIM, generator=generator)
    asked = torch.arange(20).repeat_interleave(50)
    asked_rows = center[asked] + torch.randn(len(asked), DIM, generator=generator)
    order = torch.randperm(len(label), generator=generator)
    rows, label = rows[order], label[order]
    found = []
    for chosen in (
        torch.arange(0, len(label), 20),
        choose_rows(label, group=torch.arange(len(label)), most=len(label) // 20, class_minimum=8),
    ):
        standardization, linear = Standardization(DIM, component_count=DIM), LinearClassifier(DIM, class_count=20)
        standardization.fit(rows[chosen])
        linear.fit(standardization(rows[chosen]), label[chosen])
        is_right = linear(standardization(asked_rows)).argmax(dim=1) == asked
        found.append(float(is_right.view(20, 50).float().mean(dim=1).min()))
    return found[0], found[1]


def draw(label: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return rows that a linear classifier tells apart without an error, and their labels."""
    rows = 0.1 * torch.randn(len(label), DIM, generator=generator)
    rows[torch.arange(len(label)), label] += 4.0
    return rows, label


def pad(column: Tensor) -> Tensor:
    """Return the columns in as many places as a network has for each class."""
    places = NamedScores(CLASSES).column
    return torch.cat([column, torch.full((CLASSES, places.shape[1] - 1), -1)], dim=1)


if __name__ == "__main__":
    main()
