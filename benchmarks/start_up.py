"""Processor time and memory of single searches, each by a process of its own, beside those of another checkout.

Run: python benchmarks/start_up.py GALLERY QUERY... --beside CHECKOUT [--rounds 5]

A query is a text or a file. Processor time is that of all threads, with the start of the interpreter. The two checkouts
take turns, so that what else the machine does is the same for both.
"""

import argparse
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

IMPORT = "import fieldmark"
SEARCH = "from fieldmark.cli.app import main; main()"


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of a process, and the most memory that it held."""

    seconds: float
    mib: float


def run(source: Path, code: str, *arguments: str) -> Cost:
    """Run some code with the package of a checkout."""
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(source)}, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The code of '{source}' ended with {process.returncode}; it must answer all of the queries.")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("queries", nargs="+")
    parser.add_argument("--beside", type=Path, required=True, help="another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    sources = (Path(__file__).resolve().parents[1] / "src", chosen.beside.resolve() / "src")
    gallery = ("--gallery", str(chosen.gallery))
    tasks = {IMPORT: (IMPORT,), **{query: (SEARCH, "search", query, *gallery) for query in chosen.queries}}
    print("| task | processor seconds | other | share | MiB | other |\n|---|---|---|---|---|---|")
    for name, task in tasks.items():
        turns = [[run(source, *task) for source in sources] for _ in range(chosen.rounds + 1)]
        ours, others = zip(*turns[1:], strict=True)  # the first fills the caches of the system
        seconds, other_seconds = (statistics.median(each.seconds for each in costs) for costs in (ours, others))
        mib, other_mib = (statistics.median(each.mib for each in costs) for costs in (ours, others))
        share = seconds / other_seconds
        print(
            f"| {Path(name).name} | {seconds:.2f} | {other_seconds:.2f} | {share:.2f} | {mib:.0f} | {other_mib:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
