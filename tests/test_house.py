"""What holds for the whole house: public names resolve, tables are complete, every error tells what to do."""

import ast
import importlib
import inspect
import re
from dataclasses import fields
from enum import Enum
from functools import reduce
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

import pytest

import fieldmark
from fieldmark import Medium, errors
from fieldmark.api.errors import STATUS_OF
from fieldmark.build import build_encoder, list_supported_media
from fieldmark.config import DEFAULT_PRESET, LimitsConfig
from fieldmark.config_file import find_preset_folder, load_config
from fieldmark.config_section import Section
from fieldmark.datasets.checks.problems import SEVERITIES, ProblemKind
from fieldmark.evaluation.protocol import PROTOCOLS
from fieldmark.media.loaders import LOADERS
from fieldmark.types import MEDIA, MediaLimits

SOURCE = Path(fieldmark.__file__).parent
ERRORS = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.FieldmarkError)]
BUILT = [each for each in ERRORS if "__init__" in vars(each) and each is not errors.FieldmarkError]
"""Errors that build their message from values; messages of the others are written where they are raised."""

REMEDY = re.compile(
    r"(Add|Build|Check|Choose|Continue|Correct|Cut|Delete|Embed|Free|Give|Go|Install|Let|Look|Lower|Make|Mend|Put"
    r"|Replace|Restore|Resume|Run|See|Send|Set|Split|Start|Train|Use|Wait)\b"
)
REMEDY_IN_REASON = {errors.EmbeddingsError}
"""Errors over several causes: the reason that is given also tells what to do."""


# ---------------------------------------------------------------- names and tables


@pytest.mark.parametrize("name", fieldmark.__all__)
def test_public_name_resolves(name):
    assert getattr(fieldmark, name) is not None


def test_public_names_are_sorted_and_real():
    assert sorted(fieldmark.__all__) == list(fieldmark.__all__)
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        fieldmark.serch  # noqa: B018


QUESTION = re.compile(r"(What|Which|Where|Whether|How)\b")


def list_docstrings(source: str):
    """The docstrings of a module, its classes and its functions."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (each for each in ast.walk(ast.parse(source)) if isinstance(each, documented))
    return [text for text in map(ast.get_docstring, nodes) if text]


def test_no_docstring_begins_like_a_question():
    texts = [text for path in SOURCE.rglob("*.py") for text in list_docstrings(path.read_text(encoding="utf-8"))]
    assert len(texts) > 2_000
    assert [text.partition("\n")[0] for text in texts if QUESTION.match(text)] == []


def test_every_medium_has_its_place():
    assert set(LOADERS) == set(Medium) == set(MEDIA)
    tiny = load_config("tiny").model
    assert list_supported_media(tiny) == MEDIA
    assert all(build_encoder(tiny, medium).fingerprint for medium in MEDIA)


def test_every_kind_of_finding_has_a_severity():
    assert set(SEVERITIES) == set(ProblemKind)
    assert {each.kind for each in RAISED if issubclass(each.error, errors.MediaError)} <= set(ProblemKind)


def test_protocols_of_the_contract_are_there():
    assert set(PROTOCOLS) == {"strict", "paper"}


def test_the_default_preset_is_there():
    assert (find_preset_folder() / f"{DEFAULT_PRESET}.toml").is_file()


def test_the_library_never_prints():
    printing = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


# ---------------------------------------------------------------- defaults

PARTS = ("data", "encoders", "evaluation", "gallery", "losses", "media", "models", "training", "types")
KEYS = {key for section in Section.__subclasses__() for key in section.model_fields}


def read_keys(value):
    """The keys of the configuration in an expression such as `Space(config.embedding)`; none in a choice of several."""
    if any(isinstance(node, ast.IfExp | ast.BoolOp) for node in ast.walk(value)):
        return []
    attributes = [node for node in ast.walk(value) if isinstance(node, ast.Attribute) and node.attr in KEYS]
    return [ast.unparse(node) for node in attributes if "config" in ast.unparse(node.value)]


def find_passed(source, names):
    """Every parameter of a part to which some source code passes a key of the configuration."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            first_name, *more = ast.unparse(node.func).split(".")
            part = reduce(lambda found, name: getattr(found, name, None), more, names.get(first_name))
            owner = getattr(part, "__module__", None) or ""
            if owner.startswith("fieldmark.") and owner.split(".")[1] in PARTS:
                for given in node.keywords:
                    for key in read_keys(given.value):
                        yield part, given.arg, key


PASSED = [
    passed
    for name in ("build", "embedding", "training_stages", "workflows.train", "workflows.embed", "workflows.index")
    for module in [importlib.import_module(f"fieldmark.{name}")]
    for passed in find_passed(inspect.getsource(module), vars(module))
]


def find_written_twice(passed):
    """The parameters that have a default of their own although the configuration has one."""
    return [
        f"{part.__qualname__}: {parameter} = {key}"
        for part, parameter, key in passed
        if parameter in inspect.signature(part).parameters
        and inspect.signature(part).parameters[parameter].default is not inspect.Parameter.empty
    ]


def test_no_default_is_written_twice():
    assert len(PASSED) > 60
    assert find_written_twice(PASSED) == []


class Example:
    """A part with a default too many, as it were in one of the folders of parts."""

    __module__ = "fieldmark.models.example"

    def __init__(self, *, dim: int = 3, name: str, depth: int = 3) -> None: ...


def test_a_default_written_twice_is_found():
    source = "Example(dim=config.dim, name=config.name, depth=config.depth if config.dim else 3)"
    passed = list(find_passed(source, {"Example": Example}))
    assert find_written_twice(passed) == ["Example: dim = config.dim"]


def test_limits_of_media_are_written_once():
    limits = {each.name: each.default for each in fields(MediaLimits)}
    values = LimitsConfig().model_dump(exclude={"failure_share"})
    assert values == limits
    assert not re.search(r"max_\w+: \w+ = \d", inspect.getsource(LimitsConfig))


# ---------------------------------------------------------------- errors


def make(error):
    """An error from sample values, by the types of its arguments."""
    hints = get_type_hints(error.__init__)
    values = {}
    for name in inspect.signature(error.__init__).parameters:
        if name in ("self", "kind", "remedy"):
            continue
        kinds = get_args(hints[name]) or (hints[name],)
        if error in REMEDY_IN_REASON and name == "reason":
            values[name] = "sample; Mend it"
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
    drawn = re.findall(r"[A-Z]\w+Error\b", errors.__doc__)
    assert sorted(drawn) == sorted(each.__name__ for each in ERRORS)


@pytest.mark.parametrize("error", BUILT)
def test_error_names_what_was_met_and_a_remedy(error):
    made, values = make(error)
    message = str(made)
    assert re.search(rf"\b{REMEDY.pattern}", message), message
    shown = [value for value in values.values() if isinstance(value, str)]
    assert all(value.split()[0] in message for value in shown), message
    assert isinstance(made.kind, str)
    assert re.fullmatch(r"[a-z_]+", made.kind)


class Raised(NamedTuple):
    """A message written where it is raised."""

    at: str
    error: type[errors.FieldmarkError]
    kind: str
    message: str
    """With {} for each value; empty where it is not written there."""

    values: dict[str, str]
    """The texts of what is given by name."""


def read_text(node, constants):
    """The text of a string in the source, with {} for each value that is no constant."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(read_text(part, constants) for part in parts)
        case ast.FormattedValue(value=ast.Name(name)):
            return constants.get(name, "{}")
        case ast.FormattedValue():
            return "{}"
    return ""


def find_raised(source, at):
    """Every error of ours that some source code makes."""
    by_name = {each.__name__: each for each in ERRORS}
    tree = ast.parse(source)
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in by_name:
            values = {each.arg: read_text(each.value, constants) for each in node.keywords}
            message = read_text(node.args[0], constants) if node.args else ""
            kind = values.get("kind", by_name[name].kind)
            yield Raised(f"{at}:{node.lineno}", by_name[name], kind, message, values)


RAISED = [
    raised
    for file in sorted(SOURCE.rglob("*.py"))
    for raised in find_raised(file.read_text(encoding="utf-8"), file.relative_to(SOURCE))
]
WRITTEN = [each for each in RAISED if each.error not in BUILT]
"""Messages written where they are raised."""


def list_faults(raised):
    """What of its three parts a message lacks."""
    if not raised.message:
        return ["it is not written there"]
    faults = [] if "{}" in raised.message or raised.kind == "no_query" else ["it names no value"]
    if not any(REMEDY.match(sentence) for sentence in re.split(r"\.(?:\{\})? ", raised.message)[1:]):
        faults.append("it says not what to do, in a sentence after the first")
    return faults


@pytest.mark.parametrize("raised", WRITTEN, ids=lambda raised: raised.at)
def test_message_names_a_value_and_a_remedy(raised):
    assert list_faults(raised) == [], raised.message


def test_what_is_given_by_name_has_a_remedy_where_it_is_to():
    remedies = [each.values["remedy"] for each in RAISED if "remedy" in each.values]
    reasons = [each.values["reason"] for each in RAISED if each.error in REMEDY_IN_REASON]
    remedies += [re.split("; |\\. ", reason)[-1].capitalize() for reason in reasons]
    assert len(remedies) > 10
    assert [remedy for remedy in remedies if not REMEDY.match(remedy)] == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("raise ManifestError(f\"'{path}' has no header. Add one.\")", 0),
        ("raise ManifestError(f\"'{path}' has no header. \" f'Add {one}.')", 0),
        ("raise ManifestError(f\"'{path}' has no header.\")", 1),
        ("raise ManifestError(f\"'{path}' has no header; add one. It is bad.\")", 1),
        ("raise ManifestError('A manifest has no header. Add one.')", 1),
        ("raise ManifestError('A manifest has no header.')", 2),
        ("raise ManifestError(message)", 1),
    ],
)
def test_a_message_without_its_parts_is_found(source, count):
    [raised] = find_raised(source, "here")
    assert len(list_faults(raised)) == count


def test_no_error_is_made_and_dropped():
    dropped = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).endswith("Error")
    ]
    assert dropped == []


def test_every_error_is_raised_somewhere():
    raised = {each.error for each in RAISED}
    parents = {parent for each in ERRORS for parent in each.__mro__[1:]}
    assert [each for each in ERRORS if each not in raised and each not in parents] == []


def test_kinds_are_plain_names():
    assert all(re.fullmatch(r"[a-z_]+", each.kind) and each.kind != "error" for each in RAISED)


def test_every_status_belongs_to_a_kind_that_is_raised():
    assert set(STATUS_OF) <= {each.kind for each in RAISED}
    assert {each.kind for each in RAISED if issubclass(each.error, errors.MediaError | errors.RequestError)} <= set(
        STATUS_OF
    )


def test_a_kind_with_a_status_belongs_to_one_branch():
    for kind in STATUS_OF:
        raised = {each.error for each in RAISED if each.kind == kind}
        assert any(all(issubclass(error, parent) for error in raised) for parent in raised), (kind, raised)


def test_a_long_list_is_cut():
    assert errors.list_first(["a", "b"]) == "a, b"
    assert errors.list_first(list(range(9)), limit=2) == "0, 1 and 7 more"
    assert errors.list_faults(["a", "b", "c"], limit=2) == "  a\n  b\n  and 1 more"
    assert errors.list_faults(["a", "b"], limit=2) == "  a\n  b"
    assert errors.suggest_nearest("imge", ["image", "text"]) == " Did you mean 'image'?"
    assert errors.suggest_nearest("qqqq", ["image"]) == ""


def test_media_are_plain_text():
    assert issubclass(Medium, str)
    assert issubclass(Medium, Enum)
    assert [f"{medium}" for medium in Medium] == ["image", "text", "video", "audio"]
