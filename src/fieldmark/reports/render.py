"""Render the templates of reports; HTML is escaped, Markdown is not."""

from collections.abc import Iterator
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render_template(name: str, **values: object) -> str:
    """Return a template of `templates/`, filled in."""
    return "".join(stream_template(name, **values))


def stream_template(name: str, **values: object) -> Iterator[str]:
    """Yield the parts of a filled-in template, so that a large page need not be in memory as a whole."""
    return _environment().get_template(name).generate(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fieldmark.reports"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    environment.filters["spaced"] = lambda name: name.replace("_", " ")
    environment.filters["percent"] = lambda share, digits=0: f"{share:.{digits}%}"
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment
