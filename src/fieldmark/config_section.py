"""The form of every section of the configuration, and the values that sections share."""

from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@runtime_checkable
class Validation(Protocol):
    """The part of pydantic's `ValidationInfo` that is used; the original cannot be checked at run time."""

    @property
    def context(self) -> dict[str, Path] | None:
        """`folder`: what relative paths start from."""


def _resolve_path(path: Path, info: Validation) -> Path:
    return (_folder(info) / path).resolve()


def _folder(info: Validation) -> Path:
    return (info.context or {}).get("folder", Path.cwd())


def _resolve_name(name: str, info: Validation) -> str:
    """A local folder or file becomes absolute; a hub name or `package:` name stays as it is."""
    folder = _folder(info)
    is_local = name.startswith((".", "/")) or (not name.startswith("package:") and (folder / name).exists())
    return str((folder / name).resolve()) if is_local else name


LocalPath = Annotated[Path, AfterValidator(_resolve_path)]
WeightsName = Annotated[str, AfterValidator(_resolve_name)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
