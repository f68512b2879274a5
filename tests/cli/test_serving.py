"""The command `serve`: tokens, sources and limits as it takes them, and errors that say what to do."""

import pytest
import typer

from fieldmark.cli.serving import read_token
from fieldmark.cli.terminal import parse_pairs
from fieldmark.config import ServeLimits
from fieldmark.config_file import parse_limits
from fieldmark.errors import ConfigError, MissingGalleryError


def test_a_token_comes_from_a_file_or_the_environment_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.delenv("FIELDMARK_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("FIELDMARK_TOKEN", "token-of-the-environment")
    assert read_token(None) == "token-of-the-environment"
    (tmp_path / "token").write_text("token-of-the-file-1\n", encoding="ascii")
    assert read_token(tmp_path / "token") == "token-of-the-file-1"


@pytest.mark.parametrize("content", ["", "short", "two words of a token", "\u00fcmlaut-token-of-length", "x" * 1000])
def test_what_is_no_token_is_refused_and_not_shown(tmp_path, content):
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="Put 16 or more") as caught:
        read_token(tmp_path / "token")
    assert len(content) < 10 or content not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_limits_are_replaced_one_by_one():
    assert parse_limits(()) == ServeLimits()
    assert parse_limits(("max_k=7", "upload_seconds=1.5")) == ServeLimits(max_k=7, upload_seconds=1.5)
    for wrong in ("max_kk=7", "max_k=0", "max_k=many", "max_k"):
        with pytest.raises(ConfigError):
            parse_limits((wrong,))


def test_sources_are_pairs():
    assert parse_pairs(["a=b", "c=d=e"], option="--source") == {"a": "b", "c": "d=e"}
    with pytest.raises(typer.BadParameter, match="--source"):
        parse_pairs(["a"], option="--source")


def test_a_gallery_that_is_not_there_is_told(tmp_path, monkeypatch):
    from fieldmark.cli.serving import run_server

    monkeypatch.setenv("FIELDMARK_DEVICE", "cpu")
    with pytest.raises(MissingGalleryError, match="Build one"):
        run_server(tmp_path / "none", port=0, quiet=True)
