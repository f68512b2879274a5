"""Steps of a release that are more than one command; .github/workflows/release.yml calls them.

python scripts/release.py check-tag v1.2.0    # is it the version of the code?
python scripts/release.py finish dist         # are wheel and archive complete? then write dist/SHA256SUMS
"""

import argparse
import hashlib
import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUMS_NAME = "SHA256SUMS"
_IN_WHEEL = ("fieldmark/__init__.py", "fieldmark/configs/tiny.toml", "fieldmark/web/index.html")
_IN_ARCHIVE = ("pyproject.toml", "README.md", "LICENSE", "src/fieldmark/__init__.py", "configs/tiny.toml")
_NEVER = re.compile(r"(^|/)(\.venv|__pycache__|\.git|\.pytest_cache|runs|fieldmark-demo)/|\.(pkl|pt|ckpt)$")


def read_version() -> str:
    """Return the version of the code."""
    text = (ROOT / "src" / "fieldmark" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("src/fieldmark/_version.py has no line with __version__. Add it.")
    return found.group(1)


def check_tag(tag: str) -> None:
    """Stop unless the tag is that of the version."""
    wanted = f"v{read_version()}"
    if tag != wanted:
        raise SystemExit(
            f"The tag is '{tag}', but the code is of version {wanted[1:]}. Tag '{wanted}', or set the version first."
        )


def finish(folder: Path) -> None:
    """Stop unless there are one complete wheel and one complete archive; write the sums of both."""
    wheels, archives = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if (len(wheels), len(archives)) != (1, 1):
        met = f"{len(wheels)} wheels and {len(archives)} archives"
        raise SystemExit(f"'{folder}' holds {met}, not one of each. Build into an empty folder.")
    with zipfile.ZipFile(wheels[0]) as wheel:
        _check_names(wheels[0], wheel.namelist(), _IN_WHEEL)
    with tarfile.open(archives[0]) as archive:
        _check_names(archives[0], [name.partition("/")[2] for name in archive.getnames()], _IN_ARCHIVE)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (*archives, *wheels)]
    (folder / SUMS_NAME).write_text("".join(lines), encoding="utf-8")
    sys.stdout.write("".join(lines))


def _check_names(file: Path, names: list[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in names]
    foreign = [name for name in names if _NEVER.search(name)]
    if missing or foreign:
        raise SystemExit(
            f"'{file}' lacks {missing} and holds {foreign}, which do not belong there. Correct pyproject.toml."
        )


def main() -> None:
    """Run the step that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("check-tag").add_argument("tag")
    steps.add_parser("finish").add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.step == "check-tag":
        check_tag(options.tag)
    else:
        finish(options.folder)


if __name__ == "__main__":
    main()
