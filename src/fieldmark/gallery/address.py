"""The address of a gallery, as people write it: the path of a folder, or that of a collection in Milvus."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from fieldmark.errors import ConfigError

_MILVUS = re.compile(
    r"milvus(?P<tls>\+tls)?:/{1,2}(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.\-]+)(:(?P<port>\d{1,5}))?"
    r"(/(?P<database>[A-Za-z_]\w*))?/(?P<name>[A-Za-z_]\w*)",
    re.ASCII,
)
_LOOKS_LIKE_MILVUS = re.compile(r"milvus(\+\w+)?:/")
_PORT = 19530
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """The way to engines that hold galleries; a secret never stands in an address.

    Args:
        token: `USER:PASSWORD`, or a key; None for an engine that asks for none.
        authority: File with the certificates of those whom a TLS connection trusts; None for those of the system.
        cache: Folder for copies of a gallery's small files; None for a temporary one.
    """

    token: str | None = field(default=None, repr=False)
    authority: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """A collection in Milvus.

    Args:
        database: "" for the engine's default.
        is_encrypted: Whether the connection uses TLS.
    """

    host: str
    port: int
    name: str
    database: str = ""
    is_encrypted: bool = False

    def __str__(self) -> str:
        """Return the address as it is written."""
        scheme = "milvus+tls" if self.is_encrypted else "milvus"
        database = f"/{self.database}" if self.database else ""
        return f"{scheme}://{self.host}:{self.port}{database}/{self.name}"


def parse_address(gallery: Path | str) -> Path | MilvusAddress:
    """Return the folder or the collection that an address names; a `Path` may have lost one of its slashes.

    Raises:
        ConfigError: The address begins as one of Milvus and is none.

    Example:
        >>> str(parse_address("milvus://db.example/birds"))
        'milvus://db.example:19530/birds'
    """
    text = str(gallery)
    if not _LOOKS_LIKE_MILVUS.match(text):
        return Path(gallery)
    found = _MILVUS.fullmatch(text)
    if found is None or len(found["name"]) > _LONGEST_NAME or int(found["port"] or _PORT) > 65535:
        hint = " A token is taken from FIELDMARK_MILVUS_TOKEN, not from the address." if "@" in text else ""
        raise ConfigError(
            f"'{re.sub(r'/[^/@]*@', '/...@', text)[:200]}' is not the address of a gallery in Milvus; allowed are "
            f"letters, digits and '_' in names.{hint} Give milvus://HOST:PORT/NAME, milvus://HOST:PORT/DATABASE/NAME, "
            "or milvus+tls:// for an encrypted connection."
        )
    return MilvusAddress(
        host=found["host"],
        port=int(found["port"] or _PORT),
        name=found["name"],
        database=found["database"] or "",
        is_encrypted=found["tls"] is not None,
    )
