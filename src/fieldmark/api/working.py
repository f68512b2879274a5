"""The handlers of the server itself: jobs, the session of a page, health, metrics."""

from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark._version import __version__
from fieldmark.api.bodies import read_json
from fieldmark.api.guard import SESSION_COOKIE, carries_token
from fieldmark.api.jobs import job_to_json
from fieldmark.api.metrics import resident_bytes
from fieldmark.api.schemas import HealthAnswer, JobAnswer, JobRequest, JobsAnswer
from fieldmark.api.service import Service, service_of
from fieldmark.errors import TokenError


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


async def begin_session(request: Request) -> Response:
    """Changes the token in the header for a cookie, which opens pictures and players of the page."""
    access = service_of(request).access
    if access.token is not None and not carries_token(Headers(scope=request.scope), access):
        raise TokenError(got="none" if "authorization" not in request.headers else "another")
    response = Response(status_code=204)
    if access.token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(
            SESSION_COOKIE, access.session_value(), httponly=True, samesite="strict", path="/v1", secure=secure
        )
    return response


async def end_session(request: Request) -> Response:  # noqa: ARG001 - a handler takes its request
    """Takes the cookie away."""
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="/v1")
    return response


async def show_health(request: Request) -> HealthAnswer:
    """That the server answers, and whether it asks for a token."""
    return HealthAnswer(status="ok", version=__version__, needs_token=service_of(request).access.token is not None)


async def show_metrics(request: Request) -> Response:
    """Counts, times and memory, as Prometheus reads them."""
    service = service_of(request)
    gauges: dict[str, int | float] = {
        "resident_bytes": resident_bytes(),
        "cache_bytes": service.cache.held_bytes,
        "uploads": service.uploads.inside,
        "job_running": sum(job.state.value == "running" for job in service.desk.jobs()),
    }
    gauges |= {f"{room.name}_inside": room.inside for room in service.rooms}
    counters: dict[str, int | float] = {f"{room.name}_refused_total": room.refused for room in service.rooms}
    text = service.metrics.render(gauges=gauges, counters=counters)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
