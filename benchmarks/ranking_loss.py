"""Time and memory of the ranking constraint: the direct tensor over all quadruplets beside ours.

    python benchmarks/ranking_loss.py [--threads 1] [--repeats 3] [--rows-per-class 4]

Each figure is measured in a process of its own: value and gradient of one batch of rows of 256 numbers, the least
time of the repeats, and by how much the process's peak memory grew. A fit of log time on log n over the last
four sizes gives the growth. The direct form holds a tensor of n^4 numbers, so it ends at 128 rows.
"""

import argparse
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from losses.mining import MinedRankingLoss
from torch import Tensor, nn
from torch.nn.functional import normalize

from fieldmark.losses.ranking import RankingLoss, ReleasedRankingLoss
from fieldmark.types import Outputs

DIM = 256
DIRECT_SIZES = (16, 32, 64, 96, 128)
OUR_SIZES = (16, 32, 64, 96, 128, 256, 512, 1024)
DISAGREEMENT = 1e-6
"""The largest relative difference of two values that still counts as equal."""


class DirectTwoHinges(nn.Module):
    """The definition of `RankingLoss`, over a tensor of all (i, j, k, l)."""

    def forward(self, outputs: Outputs) -> Tensor:
        """Return the loss of a batch."""
        distance = torch.cdist(outputs.embedding, outputs.embedding)
        is_triplet, is_quadruplet = find_terms(outputs.label)
        first = (distance[:, :, None] - distance[:, None, :] + 0.4)[is_triplet]
        second = (distance[:, :, None, None] - distance[None, None] + 0.2)[is_quadruplet]
        return compute_mean_above_zero(first) + compute_mean_above_zero(second)


class DirectReleased(nn.Module):
    """The definition of `ReleasedRankingLoss`, over a tensor of all (i, j, k, l), as the released code has it."""

    def forward(self, outputs: Outputs) -> Tensor:
        """Return the loss of a batch."""
        distance = torch.cdist(outputs.logits, outputs.logits)
        _, is_quadruplet = find_terms(outputs.label)
        first = distance[:, :, None, None] - distance[:, None, :, None] + 1.0
        terms = first + (distance[:, :, None, None] - distance[None, None] + 0.5)
        return compute_mean_above_zero(terms[is_quadruplet])


FORMS: dict[str, Callable[[], nn.Module]] = {
    "two hinges, direct": DirectTwoHinges,
    "two hinges, ours": partial(RankingLoss, margin=0.4, second_margin=0.2, cross_media=False),
    "released, direct": DirectReleased,
    "released, ours": partial(ReleasedRankingLoss, margin=1.0, second_margin=0.5),
    "mined, ours": MinedRankingLoss,
}


def find_terms(label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (i, j, k) and the (i, j, k, l) that are terms."""
    is_same = label[:, None] == label[None]
    is_positive = is_same & ~torch.eye(len(label), dtype=torch.bool)
    is_triplet = is_positive[:, :, None] & ~is_same[:, None, :]
    return is_triplet, is_triplet[..., None] & ~is_same[:, None, None, :] & ~is_same[None, None]


def compute_mean_above_zero(terms: Tensor) -> Tensor:
    """Return the mean of the terms above zero; in double, so that it can serve as reference."""
    above = terms.clamp(min=0)
    return above.sum(dtype=torch.float64) / (above > 0).sum().clamp(min=1)


def measure(form: str, row_count: int, *, class_rows: int, threads: int, repeats: int) -> dict[str, float]:
    """Measure value, seconds and megabytes of one form at one size, in this process."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(row_count)
    label = torch.arange(row_count) // class_rows
    rows = normalize(torch.randn(row_count, DIM, generator=generator)).requires_grad_()
    outputs = Outputs(embedding=rows, logits=rows, label=label, medium=torch.arange(row_count) % 4)
    loss = FORMS[form]()
    FORMS[form]()(Outputs(rows[:16], rows[:16], label[:16], outputs.medium[:16])).backward()  # libraries are loaded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        value = loss(outputs)
        value.backward()
        seconds = min(seconds, time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"value": value.item(), "seconds": seconds, "megabytes": peak / 1024}


def run_all(**options: int) -> dict[str, dict[int, dict[str, float]]]:
    """Run every form at every size it can take, each in a new process."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    context = multiprocessing.get_context("spawn")
    for form in FORMS:
        for size in DIRECT_SIZES if form.endswith("direct") else OUR_SIZES:
            with context.Pool(1) as pool:
                found.setdefault(form, {})[size] = pool.apply(measure, (form, size), options)
    return found


def fit_growth(by_size: dict[int, dict[str, float]]) -> float:
    """Fit the exponent of n in the time over the last four sizes."""
    sizes = sorted(by_size)[-4:]
    return float(np.polyfit(np.log(sizes), np.log([by_size[size]["seconds"] for size in sizes]), 1)[0])


def find_largest_difference(found: dict[str, dict[int, dict[str, float]]], form: str) -> float:
    """Return the largest relative difference between the values of the direct form and ours."""
    direct, ours = found[f"{form}, direct"], found[f"{form}, ours"]
    return max(abs(ours[size]["value"] / direct[size]["value"] - 1) for size in DIRECT_SIZES)


def main() -> None:
    """Print the table, the growth, and the differences of the values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows-per-class", type=int, default=4, help="at most 5: 16 rows must have three classes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = run_all(class_rows=arguments.rows_per_class, threads=arguments.threads, repeats=arguments.repeats)
    differences = {form: find_largest_difference(found, form) for form in ("two hinges", "released")}
    growths = {form: fit_growth(by_size) for form, by_size in found.items()}
    if arguments.json:
        print(json.dumps({"measured": found, "growth": growths, "largest_difference": differences}))
    else:
        print("| n | " + " | ".join(f"{form}: s, MB" for form in FORMS) + " |")
        print("|---" * (1 + len(FORMS)) + "|")
        for size in OUR_SIZES:
            cells = [found[form].get(size) for form in FORMS]
            shown = [f"{cell['seconds']:.4f}, {cell['megabytes']:,.0f}" if cell else "-" for cell in cells]
            print(f"| {size} | " + " | ".join(shown) + " |")
        print("| time grows as n^ | " + " | ".join(f"{growths[form]:.2f}" for form in FORMS) + " |")
        print("; ".join(f"{form}: values differ by at most {each:.1e}" for form, each in differences.items()))
    if max(differences.values()) > DISAGREEMENT:
        raise SystemExit("the values differ by more than rounding")


if __name__ == "__main__":
    main()
