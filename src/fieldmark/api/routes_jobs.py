"""Routes of indexing jobs: start, list, follow, cancel."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark.api.jobs import describe_job
from fieldmark.api.limits import read_json
from fieldmark.api.schemas import JobAnswer, JobRequest, JobsAnswer
from fieldmark.api.service import Service, get_service


async def start_job(request: Request) -> JobAnswer:
    """Index a source that was named when the server started; one job runs at a time, and searches go on."""
    service = get_service(request)
    wanted = await read_json(request, JobRequest, limits=service.limits)
    return JobAnswer.model_validate(describe_job(service.jobs.start(wanted.source)))


async def list_jobs(request: Request) -> JobsAnswer:
    """List the jobs since the server started, newest first."""
    jobs = [JobAnswer.model_validate(describe_job(job)) for job in get_service(request).jobs.list_jobs()]
    return JobsAnswer(jobs=jobs)


async def show_job(request: Request, job_id: str) -> JobAnswer:
    """Return the state of a job."""
    return JobAnswer.model_validate(describe_job(get_service(request).jobs.get(job_id)))


async def cancel_job(request: Request, job_id: str) -> JobAnswer:
    """Cancel a job after its current step; what it has added stays."""
    return JobAnswer.model_validate(describe_job(get_service(request).jobs.cancel(job_id)))


async def follow_job(request: Request, job_id: str) -> Response:
    """Send server-sent events: `job` with the state of the job, at once and after each change, until it ends."""
    service = get_service(request)
    service.jobs.get(job_id)
    with service.followers:  # refuses before the answer has begun
        pass
    return StreamingResponse(_stream_events(service, job_id), media_type="text/event-stream")


async def _stream_events(service: Service, job_id: str) -> AsyncIterator[str]:
    with service.followers:
        async for event in service.jobs.follow(job_id):
            yield event
