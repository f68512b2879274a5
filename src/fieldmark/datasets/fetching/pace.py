"""The load that hosts are put under."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """The load that one host is put under.

    Args:
        at_once: Requests of one host at a time.
        pause_seconds: From the start of one request of a host to that of the next.
        stall_seconds: Without a byte, or with less than a kilobyte for each second of it, a request is given up.
        longest_wait_seconds: A host that asks for a longer wait is left alone in this run.
        attempts: For each file, where a fault may pass.
        largest_bytes: Of one file.
    """

    at_once: int = 2
    pause_seconds: float = 0.5
    stall_seconds: float = 30.0
    longest_wait_seconds: float = 300.0
    attempts: int = 4
    largest_bytes: int = 10**9
