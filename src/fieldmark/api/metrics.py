"""What the server counts, as Prometheus reads it."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import final

BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the counted times, seconds."""

METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"}
Labels = tuple[tuple[str, str], ...]


@final
class Metrics:
    """Requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._requests: dict[Labels, int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = defaultdict(float)

    def count_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answered request."""
        method = method if method in METHODS else "other"  # any word may stand there, and each would be kept for ever
        with self._guard:
            self._requests[("method", method), ("route", route), ("status", str(status))] += 1
            counts = self._buckets.setdefault(route, [0] * (len(BUCKETS) + 1))
            counts[next((place for place, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))] += 1
            self._seconds[route] += seconds

    def render(self, *, gauges: Mapping[str, int | float], counters: Mapping[str, int | float]) -> str:
        """All metrics as text.

        Args:
            gauges: What stands at some value now, by name.
            counters: What only grows, by name.
        """
        with self._guard:
            lines = ["# TYPE fieldmark_requests_total counter"]
            lines += [f"fieldmark_requests_total{_labels(key)} {value}" for key, value in self._requests.items()]
            lines.append("# TYPE fieldmark_request_seconds histogram")
            for route, counts in self._buckets.items():
                lines += _histogram(route, counts, seconds=self._seconds[route])
        for kind, values in (("gauge", gauges), ("counter", counters)):
            for name, value in values.items():
                lines += [f"# TYPE fieldmark_{name} {kind}", f"fieldmark_{name} {value:g}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int:
    """Memory that this process holds; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * 4096


def _histogram(route: str, counts: Iterable[int], *, seconds: float) -> list[str]:
    lines, total = [], 0
    for bound, count in zip((*BUCKETS, float("inf")), counts, strict=True):
        total += count
        name = "+Inf" if bound == float("inf") else f"{bound:g}"
        lines.append(f"fieldmark_request_seconds_bucket{_labels((('route', route), ('le', name)))} {total}")
    label = _labels((("route", route),))
    lines += [f"fieldmark_request_seconds_sum{label} {seconds:.6f}", f"fieldmark_request_seconds_count{label} {total}"]
    return lines


def _labels(pairs: Labels) -> str:
    escaped = {name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in pairs}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
