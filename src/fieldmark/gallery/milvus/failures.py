"""Failures of the engine: those that pass by themselves, and what to do about the others."""

from fieldmark.errors import GalleryError
from fieldmark.gallery.address import MilvusAddress

_UNLOADED = ("not loaded", "not been loaded", "released")
_RECOVERING = (
    *_UNLOADED,
    "not fully loaded",
    "loading",
    "no available",
    "not available",
    "not ready",
    "not serving",
    "not healthy",
    "node not found",
    "node not match",
    "node offline",
    "leader",
    "channel",
    "session expired",
    "not init",
    "starting",
    "initializing",
    "closing",
    "find no",
)
"""Words of a message of an engine that is starting, and answers soon."""
_FORBIDDEN = ("permission", "privilege")
_REFUSED = ("unauthenticated", "auth check", "authenticat", "missing authorization", "credential", "token is invalid")
_FULL = ("no space left", "disk quota", "quota exceeded", "memory quota", "deny to write", "exceeded the quota")
_MISSING = ("not found", "not exist")
_LOST = ("fail connecting", "unavailable")
"""Words of a message of a client that lost its connection: it asks for a new one once, and gives up at once."""
_UNREACHABLE = ("unavailable", "connect", "deadline", "timeout", "timed out", "socket", "refused")


def is_lost(error: Exception) -> bool:
    """Tell whether the connection broke."""
    return _holds(str(error), _LOST)


def is_recovering(error: Exception) -> bool:
    """Tell whether the engine has just started, and will answer soon."""
    return _holds(str(error), _RECOVERING)


def is_unloaded(error: Exception) -> bool:
    """Tell whether the engine asks for the collection to be loaded."""
    return _holds(str(error), _UNLOADED)


def translate(error: Exception, *, told: str, address: MilvusAddress, has_token: bool) -> GalleryError:
    """Return what a user is told of a failure.

    Args:
        told: What the engine said.
        has_token: Whether a token was given.
    """
    text = " ".join(str(each).lower() for each in list_causes(error))
    if address.database and "database" in text and _holds(text, _MISSING):
        return GalleryError(
            f"The engine of the gallery '{address}' has no database '{address.database}': {told}. "
            "Make it there, correct its name, or leave it out for the engine's default.",
            kind="engine_database",
        )
    if _holds(text, _FORBIDDEN):
        names = f"'{address.name}' and '{address.name}__files'"
        return GalleryError(
            f"The engine of the gallery '{address}' does not allow this to the user of the token: {told}. "
            f"Give the user's role the right on {names}, or set FIELDMARK_MILVUS_TOKEN to that of another user.",
            kind="engine_access",
        )
    if _holds(text, _REFUSED):
        met = "refuses the token" if has_token else "asks for a token, and none was given"
        return GalleryError(
            f"The engine of the gallery '{address}' {met}: {told}. "
            "Set FIELDMARK_MILVUS_TOKEN to USER:PASSWORD of a user who may use the database.",
            kind="engine_access",
        )
    if _holds(text, _FULL):
        return GalleryError(
            f"The engine of the gallery '{address}' is full: {told}. What was acknowledged is kept. "
            "Free space there, and run the same command again.",
            kind="engine_full",
        )
    if _holds(text, _UNREACHABLE):
        hint = (
            "that FIELDMARK_MILVUS_CA names the certificate of its authority, if that is not one of the system's,"
            if address.is_encrypted
            else "that it takes connections without TLS (milvus+tls:// is for those with it),"
        )
        return GalleryError(
            f"The engine of the gallery '{address}' does not answer: {told}. What was acknowledged is kept. "
            f"Check the address, that the engine runs, and {hint} and run the same command again.",
            kind="engine_unreachable",
        )
    return GalleryError(
        f"The engine of the gallery '{address}' failed: {told}. What was acknowledged is kept. "
        "See the log of the engine, and run the same command again.",
        kind="engine_failed",
    )


def list_causes(error: BaseException | None) -> list[BaseException]:
    """Return an error and its causes; the client raises an error of gRPC from itself, so that they go round."""
    found: list[BaseException] = []
    while error is not None and not any(error is each for each in found):
        found.append(error)
        error = error.__cause__
    return found


def _holds(text: str, words: tuple[str, ...]) -> bool:
    return any(each in text.lower() for each in words)
