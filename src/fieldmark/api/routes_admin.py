"""Routes for whoever runs the server: the session of a page, health, metrics; indexing jobs."""

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fieldmark._version import __version__
from fieldmark.api.jobs import Job
from fieldmark.api.limits import read_json
from fieldmark.api.schemas import HealthAnswer, JobAnswer, JobRequest, JobsAnswer
from fieldmark.api.security import SESSION_COOKIE, carries_token, make_token_error, read_sessions
from fieldmark.api.service import Service, get_service

# ---------------------------------------------------------------- the server


async def begin_session(request: Request) -> Response:
    """Exchange the token in the header for a cookie, which the page needs for pictures and players."""
    access = get_service(request).access
    if access.token is not None and not carries_token(Headers(scope=request.scope), access):
        raise make_token_error(request.headers)
    response = Response(status_code=204)
    if access.token is not None:
        is_secure = (access.public_origin or str(request.url)).startswith("https:")
        response.set_cookie(
            SESSION_COOKIE, access.sessions.begin(), httponly=True, samesite="strict", path="/v1", secure=is_secure
        )
    return response


async def end_session(request: Request) -> Response:
    """End the session of the cookie, which is of no use any more, and delete it."""
    for value in read_sessions(request.headers):
        get_service(request).access.sessions.end(value)
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="/v1")
    return response


async def show_health(request: Request) -> HealthAnswer:
    """Tell that the server answers, that its gallery is there, and whether it asks for a token."""
    service = get_service(request)
    await service.lookup_pool.run(service.check_gallery)
    return HealthAnswer(status="ok", version=__version__, needs_token=service.access.token is not None)


async def show_metrics(request: Request) -> Response:
    """Return counts, times and memory, as Prometheus reads them."""
    service = get_service(request)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


# ---------------------------------------------------------------- indexing jobs


async def start_job(request: Request) -> JobAnswer:
    """Index a source that was named when the server started; one job runs at a time, and searches go on."""
    service = get_service(request)
    wanted = await read_json(request, JobRequest, limits=service.limits)
    return _describe(service, service.jobs.start(wanted.source))


async def list_jobs(request: Request) -> JobsAnswer:
    """List the jobs since the server started, newest first."""
    service = get_service(request)
    return JobsAnswer(jobs=[_describe(service, job) for job in service.jobs.list_jobs()])


async def show_job(request: Request, job_id: str) -> JobAnswer:
    """Return the state of a job."""
    service = get_service(request)
    return _describe(service, service.jobs.get(job_id))


async def cancel_job(request: Request, job_id: str) -> JobAnswer:
    """Cancel a job after its current step; what it has added stays."""
    service = get_service(request)
    return _describe(service, service.jobs.cancel(job_id))


async def follow_job(request: Request, job_id: str) -> Response:
    """Send server-sent events: `job` with the state of the job, at once and after each change, until it ends."""
    service = get_service(request)
    service.jobs.get(job_id)
    service.followers.acquire()  # refused before the answer has begun
    return _EventStream(service, job_id)


class _EventStream(StreamingResponse):
    """The events of a job; it gives its place back when it ends, also if the client left before it began."""

    def __init__(self, service: Service, job_id: str) -> None:
        super().__init__(service.jobs.follow(job_id), media_type="text/event-stream")
        self._followers = service.followers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._followers.release()


def _describe(service: Service, job: Job) -> JobAnswer:
    return JobAnswer.model_validate(service.jobs.describe(job))
