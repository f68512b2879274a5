"""Routes of indexing jobs: start, list, follow, cancel."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark.api.bodies import read_json
from fieldmark.api.jobs import job_to_json
from fieldmark.api.schemas import JobAnswer, JobRequest, JobsAnswer
from fieldmark.api.service import Service, service_of


async def start_job(request: Request) -> JobAnswer:
    """Indexes a source that was named when the server started; one job runs at a time, and searches go on."""
    service = service_of(request)
    wanted = await read_json(request, JobRequest, limits=service.limits)
    return JobAnswer.model_validate(job_to_json(service.desk.start(wanted.source)))


async def list_jobs(request: Request) -> JobsAnswer:
    """The jobs since the server started, the newest first."""
    jobs = [JobAnswer.model_validate(job_to_json(job)) for job in service_of(request).desk.jobs()]
    return JobsAnswer(jobs=jobs)


async def show_job(request: Request, job_id: str) -> JobAnswer:
    """How far a job is."""
    return JobAnswer.model_validate(job_to_json(service_of(request).desk.get(job_id)))


async def cancel_job(request: Request, job_id: str) -> JobAnswer:
    """Ends a job after its present step; what it has added stays."""
    return JobAnswer.model_validate(job_to_json(service_of(request).desk.cancel(job_id)))


async def follow_job(request: Request, job_id: str) -> Response:
    """Server-sent events: `job` with the state of the job, at once and after each change, until it ends."""
    service = service_of(request)
    service.desk.get(job_id)
    with service.followers:  # refuses before the answer has begun
        pass
    return StreamingResponse(_events(service, job_id), media_type="text/event-stream")


async def _events(service: Service, job_id: str) -> AsyncIterator[str]:
    with service.followers:
        async for event in service.desk.follow(job_id):
            yield event
