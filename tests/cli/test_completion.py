"""Commands, options and choices are completed in the shell."""

import sys

import pytest

from fieldmark.cli.app import main


@pytest.fixture
def complete(monkeypatch, capsys):
    """Asks as bash does, with the cursor after the last word: the words that may stand there."""

    def ask(line, instruction="complete_bash"):
        words = line.split(" ")
        monkeypatch.setenv("_FIELDMARK_COMPLETE", instruction)
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setattr(sys, "argv", ["fieldmark"])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fieldmark ga", ["gallery"]),
        ("fieldmark gallery c", ["check", "compact"]),
        ("fieldmark evaluate runs/birds --proto", ["--protocol"]),
        ("fieldmark evaluate runs/birds --protocol s", ["strict"]),
    ],
)
def test_words_are_completed(line, offered, complete):
    assert complete(line).split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_script_of_each_shell_is_printed(shell, complete):
    script = complete("fieldmark ", instruction=f"source_{shell}")
    assert "_FIELDMARK_COMPLETE" in script
    assert "fieldmark" in script
