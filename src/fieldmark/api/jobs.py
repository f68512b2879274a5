"""The queue of indexing jobs: one runs at a time, of sources that were named at the start, while searches go on."""

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import final

from fieldmark.api.errors import PathHider
from fieldmark.errors import FieldmarkError, RequestError, list_first, suggest_nearest
from fieldmark.io import encode_report
from fieldmark.runtime import Runtime
from fieldmark.workflows.index import index

logger = logging.getLogger(__name__)

_KEPT_JOBS = 50
_POLL_SECONDS = 0.2
"""Time between two looks at a job that is followed."""
_KEEPALIVE_SECONDS = 15.0
"""After this without a change a comment is sent, so that the connection stays open."""


class JobState(StrEnum):
    """State of a job."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its state, progress and result.

    Args:
        result: What `fieldmark index --json` prints; None before the end.
        message: Why it failed; None where it did not.
    """

    job_id: str
    source: str
    state: JobState
    started_at: str
    ended_at: str | None = None
    task: str = ""
    done: int = 0
    total: int = 0
    lines: tuple[str, ...] = field(default=())
    result: Mapping[str, object] | None = None
    message: str | None = None


class _CancelledJobError(Exception):
    """Ends a job between two of its steps; what was added stays."""


@final
class JobQueue:
    """Starts, lists, follows and cancels jobs.

    A job runs in a thread of its own, so that it outlives the request that started it.
    """

    def __init__(
        self, gallery: Path | str, *, sources: Mapping[str, Path], runtime: Runtime, hider: PathHider | None = None
    ) -> None:
        self.source_names = tuple(sources)
        self._gallery = gallery
        self._sources = dict(sources)
        self._runtime = runtime
        self._hider = hider or PathHider([gallery, *sources.values()])
        self._guard = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._cancelled: set[str] = set()
        self._threads: list[threading.Thread] = []

    def start(self, source: str) -> Job:
        """Start to index a source.

        Raises:
            RequestError: No source of this name was given at the start, or another job is running.
        """
        if source not in self._sources:
            name, allowed = source[:100], self.source_names
            raise RequestError(
                f"There is no source '{name}'; the sources are: {list_first(allowed) or 'none'}."
                f"{suggest_nearest(name, allowed)} "
                "Start the server with `fieldmark serve --source NAME=PATH`.",
                kind="unknown_source",
            )
        with self._guard:
            running = next((job for job in self._jobs.values() if job.state is JobState.RUNNING), None)
            if running is not None:
                raise RequestError(
                    f"The job '{running.job_id}' is running, and one runs at a time. Wait for it, or cancel it.",
                    kind="job_running",
                )
            job = Job(uuid.uuid4().hex[:12], source, JobState.RUNNING, started_at=_format_now())
            self._jobs[job.job_id] = job
            while len(self._jobs) > _KEPT_JOBS:
                self._jobs.pop(next(iter(self._jobs)))
        thread = threading.Thread(target=self._run, args=(job.job_id, source), name=f"job-{job.job_id}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return job

    def list_jobs(self) -> tuple[Job, ...]:
        """Return all jobs, newest first."""
        with self._guard:
            return tuple(reversed(self._jobs.values()))

    def get(self, job_id: str) -> Job:
        """Return one job as it is now.

        Raises:
            RequestError: No job has this id.
        """
        with self._guard:
            if job_id not in self._jobs:
                raise RequestError(
                    f"There is no job '{job_id[:100]}'. Choose one that GET /v1/jobs lists.", kind="unknown_job"
                )
            return self._jobs[job_id]

    def cancel(self, job_id: str) -> Job:
        """Ask a job to end after its current step; what it has added stays. A job that has ended is left as it is."""
        job = self.get(job_id)
        if job.state is JobState.RUNNING:
            self._cancelled.add(job_id)
        return job

    def close(self, *, wait_seconds: float = 10.0) -> None:
        """Cancel the running job and wait for it a while."""
        for job in self.list_jobs():
            self.cancel(job.job_id)
        for thread in self._threads:
            thread.join(wait_seconds)

    def describe(self, job: Job) -> dict[str, object]:
        """Return a job as plain values for JSON, without folders of the server."""
        return {name: self._hider.hide_all(value) for name, value in _list_values(job).items()}

    async def follow(self, job_id: str) -> AsyncIterator[str]:
        """Yield the state of a job as server-sent events, at once and after each change, until it ends."""
        shown: Job | None = None
        silent = 0.0
        while True:
            job = self.get(job_id)
            if job != shown:
                shown, silent = job, 0.0
                yield f"event: job\ndata: {json.dumps(self.describe(job), ensure_ascii=False)}\n\n"
            if job.state is not JobState.RUNNING:
                return
            await asyncio.sleep(_POLL_SECONDS)
            silent += _POLL_SECONDS
            if silent >= _KEEPALIVE_SECONDS:
                silent = 0.0
                yield ": still here\n\n"

    def _run(self, job_id: str, source: str) -> None:
        reporter = _JobReporter(self, job_id)
        try:
            report = index(
                self._sources[source], gallery=self._gallery, runtime=replace(self._runtime, reporter=reporter)
            )
        except _CancelledJobError:
            self.change(job_id, state=JobState.CANCELLED)
        except FieldmarkError as error:
            self.change(job_id, state=JobState.FAILED, message=str(error))
        except Exception:
            logger.exception("The job %s failed", job_id)
            self.change(job_id, state=JobState.FAILED, message="It failed unexpectedly. See the server's log.")
        else:
            self.change(job_id, state=JobState.DONE, result=encode_report(report))

    def change(self, job_id: str, **values: object) -> None:
        """Replace fields of a job; with a new state it gets the time of its end."""
        with self._guard:
            if "state" in values:
                values["ended_at"] = _format_now()
            self._jobs[job_id] = replace(self._jobs[job_id], **values)  # type: ignore[arg-type]

    def is_cancelled(self, job_id: str) -> bool:
        """Tell whether a job was asked to end."""
        return job_id in self._cancelled


@final
class _JobReporter:
    """Reports the progress of a job, and ends it where that was asked."""

    def __init__(self, queue: JobQueue, job_id: str) -> None:
        self._queue = queue
        self._job_id = job_id

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:  # noqa: ARG002 - one signature
        if self._queue.is_cancelled(self._job_id):
            raise _CancelledJobError
        self._queue.change(self._job_id, task=task, done=done, total=total)

    def say(self, message: str) -> None:
        lines = (*self._queue.get(self._job_id).lines, message)
        self._queue.change(self._job_id, lines=lines[-20:])


def _list_values(job: Job) -> dict[str, object]:
    """Return a job as plain values for JSON; paths of the server are still in its texts."""
    return {
        "job_id": job.job_id,
        "source": job.source,
        "state": job.state.value,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "task": job.task,
        "done": job.done,
        "total": job.total,
        "lines": list(job.lines),
        "result": job.result and {name: job.result[name] for name in job.result if name != "gallery"},
        "message": job.message,
    }


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
