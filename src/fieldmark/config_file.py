"""Read a configuration: a file, a preset or a checkpoint's text, with some keys replaced."""

import json
import logging
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from fieldmark.config import DEFAULT_PRESET, Config, ServeLimits
from fieldmark.config_section import Section
from fieldmark.errors import ConfigError, suggest_nearest

logger = logging.getLogger(__name__)

_RETIRED = {"shared_space": {"head_weight": 0.0, "private_weight": 0.5}}
"""Keys of a model, by its kind, that earlier versions had, each with the value that it has for all models now. They
were within the noise (docs/results/space.md); runs and files that still have them are read."""


def load_config(path: Path | str | None = None, *, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a TOML file or a preset, with some keys replaced.

    Args:
        path: A file, or the name of a preset in `configs/`; None for the default preset.
        overrides: `key=value` with dots for sections and numbers for places in a list; the value is TOML or bare text.

    Raises:
        ConfigError: The file is missing or not TOML, a key is unknown, or a value is not allowed.
    """
    file = _find_config(DEFAULT_PRESET if path is None else path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(file, [f"it is not TOML in UTF-8: {error}"]) from error
    for override in overrides:
        _override(values, override, path=file)
    return _validate(values, path=file, folder=file.resolve().parent)


def parse_config(text: str, *, path: Path | str) -> Config:
    """The configuration that a checkpoint keeps as JSON text; its paths are absolute.

    Raises:
        ConfigError: The text is not a configuration of this version.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise _invalid(path, [f"it is not JSON: {error}"]) from error
    if not isinstance(values, dict):
        raise _invalid(path, [f"it is not an object of keys and values, but {type(values).__name__}"])
    return _validate(values, path=path, folder=Path.cwd())


def parse_limits(overrides: Sequence[str]) -> ServeLimits:
    """The limits of a server, some replaced by `key=value`.

    Raises:
        ConfigError: A key is unknown, or a value is not allowed.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        _override(values, override, path=Path("--limit"))
    try:
        return ServeLimits.model_validate(values)
    except ValidationError as error:
        raise _invalid("--limit", [_explain(problem) for problem in error.errors()]) from error


def _invalid(path: Path | str, problems: Sequence[str]) -> ConfigError:
    listed = "\n".join(f"  {problem}" for problem in problems)
    return ConfigError(f"The configuration '{path}' is not valid. Correct it:\n{listed}")


def find_preset_folder() -> Path:
    """Return the folder of the presets: inside the installed package, or in the checkout it runs from."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def _find_config(path: Path | str) -> Path:
    if Path(path).is_file():
        return Path(path)
    presets = {file.stem: file for file in sorted(find_preset_folder().glob("*.toml"))}
    if str(path) in presets:
        return presets[str(path)]
    hint = suggest_nearest(str(path), presets)
    raise _invalid(path, [f"no such file, and no preset of this name ({', '.join(presets)}).{hint}"])


def _validate(values: Mapping[str, Any], *, path: Path | str, folder: Path) -> Config:
    values = _drop_retired(values, path=path)
    try:
        return Config.model_validate(values, context={"folder": folder})
    except ValidationError as error:
        raise _invalid(path, [_explain(problem) for problem in error.errors()]) from error


def _drop_retired(values: Mapping[str, Any], *, path: Path | str) -> Mapping[str, Any]:
    """Return the values without keys of earlier versions; say so where they asked for another embedding."""
    model = values.get("model")
    if not isinstance(model, dict):
        return values
    retired = _RETIRED.get(str(model.get("kind")), {})
    changed = [f"model.{key} = {model[key]}" for key, now in retired.items() if model.get(key, now) != now]
    if changed:
        logger.warning(
            "'%s' sets %s, which this version ignores. Embeddings of a model that was trained with it differ slightly: "
            "index its galleries again.",
            path,
            " and ".join(changed),
        )
    return {**values, "model": {key: value for key, value in model.items() if key not in retired}}


def _explain(problem: Mapping[str, Any]) -> str:
    """One pydantic finding as: the key, what was met, what is allowed."""
    place = [str(part) for part in problem["loc"]]
    key = ".".join(part for part in place if part not in _kinds())  # pydantic names the member of a union it tried
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{suggest_nearest(place[-1], _keys())}"
    if problem["type"] == "missing":
        return f"'{key}' is missing; it must be given"
    if problem["type"] == "value_error":  # a rule of several keys, in its own words
        return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
    met = "" if isinstance(problem["input"], dict) else f", met {problem['input']!r}"
    return f"'{key}': {problem['msg'].lower()}{met}"


def _keys() -> set[str]:
    """Every key that the configuration knows, for the hint at the nearest."""
    return {key for section in Section.__subclasses__() for key in section.model_fields}


def _kinds() -> set[str]:
    """Every value of a `kind` key."""
    fields = [section.model_fields["kind"] for section in Section.__subclasses__() if "kind" in section.model_fields]
    return {kind for field in fields for kind in get_args(field.annotation)}


def _override(values: dict[str, Any], override: str, *, path: Path) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise _invalid(path, [f"--set takes key=value, met '{override}'"])
    target: Any = values
    *parents, last = key.split(".")
    for parent in parents:
        target = _child(target, parent, key=key, path=path)
    if isinstance(target, list):
        target[_read_index(target, last, key=key, path=path)] = _value(text, key=key, path=path)
    else:
        target[last] = _value(text, key=key, path=path)


def _child(target: Any, name: str, *, key: str, path: Path) -> Any:  # noqa: ANN401 - TOML values have any type
    if isinstance(target, list):
        return target[_read_index(target, name, key=key, path=path)]
    child = target.setdefault(name, {})
    if not isinstance(child, dict | list):
        raise _invalid(path, [f"--set {key}: '{name}' is a value and has no keys"])
    return child


def _read_index(target: list[Any], name: str, *, key: str, path: Path) -> int:
    if name.isdecimal() and int(name) < len(target):
        return int(name)
    raise _invalid(path, [f"--set {key}: '{name}' is not an index from 0 to {len(target) - 1}"])


def _value(text: str, *, key: str, path: Path) -> Any:  # noqa: ANN401 - TOML values have any type
    """A TOML value, or bare text; a path that exists is taken from the current folder, as the shell completes it."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if "/" in text and Path(text).exists():
            return str(Path(text).resolve())
        if text.startswith(("[", "{")):
            raise _invalid(path, [f"--set {key}: it is not TOML: {error}; met {text}"]) from error
        return text
