"""What holds for the whole house: public names resolve, tables are complete, every error tells what to do."""

import ast
import inspect
import re
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import fieldmark
from fieldmark import Medium, errors
from fieldmark.build import build_encoder, supported_media
from fieldmark.config import DEFAULT_PRESET, load_config, preset_folder
from fieldmark.datasets.checks.findings import SEVERITIES, ProblemKind
from fieldmark.evaluation.protocol import PROTOCOLS
from fieldmark.media.loaders import LOADERS
from fieldmark.types import MEDIA

SOURCE = Path(fieldmark.__file__).parent
ERRORS = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.FieldmarkError)]
BUILT = [each for each in ERRORS if "__init__" in vars(each)]
"""Errors with a message of their own; the others are branches of the tree."""

REMEDY_VERBS = (
    "Add Build Choose Correct Cut Embed Give Go Install Let Look Lower Mend Put Replace Resume Run Set Train Use"
)
REMEDY = re.compile(rf"\b({REMEDY_VERBS.replace(' ', '|')})\b")
REMEDY_IN_SAMPLE = {"reason": "it is so; Mend it", "remedy": "Mend it", "problems": ["'key': Mend it"]}
"""Sample values of arguments that carry the remedy themselves, as in an error over several causes."""

CARRIES_REMEDY = {errors.ConfigError, errors.EmbeddingsError, errors.CannotEvaluateError}


# ---------------------------------------------------------------- names and tables


@pytest.mark.parametrize("name", fieldmark.__all__)
def test_public_name_resolves(name):
    assert getattr(fieldmark, name) is not None


def test_public_names_are_sorted_and_real():
    assert sorted(fieldmark.__all__) == list(fieldmark.__all__)
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        fieldmark.serch  # noqa: B018


def test_every_medium_has_its_place():
    assert set(LOADERS) == set(Medium) == set(MEDIA)
    tiny = load_config("tiny").model
    assert supported_media(tiny) == MEDIA
    assert all(build_encoder(tiny, medium).fingerprint for medium in MEDIA)


def test_every_kind_of_finding_has_a_severity():
    assert set(SEVERITIES) == set(ProblemKind)
    assert {error.kind for error in ERRORS if issubclass(error, errors.MediaError)} <= set(ProblemKind)


def test_protocols_of_the_contract_are_there():
    assert set(PROTOCOLS) == {"strict", "paper"}


def test_the_default_preset_is_there():
    assert (preset_folder() / f"{DEFAULT_PRESET}.toml").is_file()


def test_the_library_never_prints():
    printing = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


# ---------------------------------------------------------------- errors


def make(error):
    """An error from sample values, by the types of its arguments."""
    hints = get_type_hints(error.__init__)
    values = {}
    for name in inspect.signature(error.__init__).parameters:
        if name == "self":
            continue
        kinds = get_args(hints[name]) or (hints[name],)
        if error in CARRIES_REMEDY and name in REMEDY_IN_SAMPLE:
            values[name] = REMEDY_IN_SAMPLE[name]
        elif str in kinds and name not in ("problems", "examples", "item_ids"):
            values[name] = f"sample {name}"
        elif int in kinds:
            values[name] = 3
        elif float in kinds:
            values[name] = 3.0
        elif Path in kinds:
            values[name] = Path("sample")
        else:
            values[name] = [f"sample {name}"]
    return error(**values), values


def test_every_error_is_in_the_tree():
    defined = [each for each in vars(errors).values() if inspect.isclass(each) and each.__module__ == errors.__name__]
    assert set(defined) == set(ERRORS)
    assert len(BUILT) > 30


@pytest.mark.parametrize("error", BUILT)
def test_error_names_what_was_met_and_a_remedy(error):
    made, values = make(error)
    message = str(made)
    assert REMEDY.search(message), message
    shown = [value for value in values.values() if isinstance(value, str)]
    assert all(value.split()[0] in message for value in shown), message
    assert isinstance(made.kind, str)
    assert re.fullmatch(r"[a-z_]+", made.kind)


@pytest.mark.parametrize("error", [each for each in ERRORS if each is not errors.FieldmarkError])
def test_error_has_a_kind_of_its_own_or_of_its_branch(error):
    parents = [each for each in error.__mro__[1:] if each in ERRORS]
    same = [each for each in ERRORS if each.kind == error.kind and each is not error]
    shared = {"unreadable", "manifest", "config", "embeddings"}
    assert error.kind != "error"
    assert all(each in parents or error in each.__mro__ for each in same) or error.kind in shared


def test_every_error_is_raised_somewhere():
    text = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py") if file.name != "errors.py")
    unused = [error.__name__ for error in BUILT if not re.search(rf"\b{error.__name__}\b", text)]
    assert unused == []


def test_a_long_list_is_cut():
    assert errors.first(["a", "b"]) == "a, b"
    assert errors.first(list(range(9)), limit=2) == "0, 1 and 7 more"
    assert errors.nearest("imge", ["image", "text"]) == " Did you mean 'image'?"
    assert errors.nearest("qqqq", ["image"]) == ""


def test_media_are_plain_text():
    assert issubclass(Medium, str)
    assert issubclass(Medium, Enum)
    assert [f"{medium}" for medium in Medium] == ["image", "text", "video", "audio"]
