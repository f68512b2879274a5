"""Routes for whoever runs the server: the session of a page, health, metrics; indexing jobs."""

from collections.abc import AsyncIterator

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark._version import __version__
from fieldmark.api.jobs import describe_job
from fieldmark.api.limits import read_json
from fieldmark.api.schemas import HealthAnswer, JobAnswer, JobRequest, JobsAnswer
from fieldmark.api.security import SESSION_COOKIE, carries_token, make_token_error
from fieldmark.api.service import Service, get_service

# ---------------------------------------------------------------- the server


async def begin_session(request: Request) -> Response:
    """Exchange the token in the header for a cookie, which the page needs for pictures and players."""
    access = get_service(request).access
    if access.token is not None and not carries_token(Headers(scope=request.scope), access):
        raise make_token_error(request.headers)
    response = Response(status_code=204)
    if access.token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(
            SESSION_COOKIE, access.make_session_value(), httponly=True, samesite="strict", path="/v1", secure=secure
        )
    return response


async def end_session(request: Request) -> Response:  # noqa: ARG001 - a handler takes its request
    """Delete the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="/v1")
    return response


async def show_health(request: Request) -> HealthAnswer:
    """Tell that the server answers, and whether it asks for a token."""
    return HealthAnswer(status="ok", version=__version__, needs_token=get_service(request).access.token is not None)


async def show_metrics(request: Request) -> Response:
    """Return counts, times and memory, as Prometheus reads them."""
    service = get_service(request)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


# ---------------------------------------------------------------- indexing jobs


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
