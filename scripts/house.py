"""Print how much a newcomer meets: lines, files, names, classes, errors, and docstrings that begin oddly.

    python scripts/house.py                        # this checkout
    python scripts/house.py PATH_OF_ANOTHER_CHECKOUT .

One column for each checkout. Tests are left out. A public name is a function, class or constant of a module without a
leading underscore, loggers aside; methods do not count. Files that hold nothing but a docstring do not count either.
"""

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

QUESTION_WORDS = re.compile(r"(What|Which|Where|Whether|How)\b")
WORDS_THAT_BEGIN_A_NAME = """
    accumulate add admit allow annotate announce answer append apply approximate ask assemble assign attach
    average backpropagate balance begin bind bootstrap bound bring broadcast build calibrate call catch center
    chain change check choose chunk clean clear clip close collect color combine compact compare compile
    complete compose compress compute concatenate configure connect continue convert copy correct count cover
    create crop cut decode deduplicate delay delete deliver derive describe detect disable discard divide
    download draw drop embed emit enable encode end enter equalize escape estimate evaluate exclude execute
    exit expand expect explain export express extend extract fail fetch fill filter find finish fit fix flag
    flatten flush fold follow forget format forward freeze from fuse gather generate get give group grow guard
    guess handle has hash have hide hold identify import improve include index infer inflate initialize insert
    inspect install interleave interpolate intersect invert is iterate join keep label lay lead learn limit
    link list listen load locate lock log look lower main make map mark mask match mean measure mend merge
    mine mix move name narrow normalize note observe offer open optimize order pack pad paint parse pass
    permute pick place plan plot point pool prefer prepare preprocess print process project promise propose
    prune publish pull push put quantize query quit quote raise rank read rebuild recall receive record
    recover reduce refine refuse relabel release remember remove rename render repair repeat replace report
    require rerank resample rescale reset resize resolve respond restore restrict resume return reverse
    rewrite roll rotate round run sample save say scale scan schedule score search seek select send separate
    serve set settle shade shard share shorten show shrink shuffle shut simulate sing skip smooth solve sort
    space spell split stack standardize start state step stop store stream stretch strip subtract suggest sum
    summarize supervise support suppress sweep switch synthesize take tell test throttle time tokenize total
    trace track train transcode transform translate transpose trim truncate try turn undo unpack update upload
    use validate verify view visit wait walk warm warn watch weigh wrap write yield
"""
VERBS = frozenset(WORDS_THAT_BEGIN_A_NAME.split())


def main() -> None:
    """Print one row for each measure and one column for each checkout."""
    folders = [Path(path) for path in sys.argv[1:]] or [Path(__file__).resolve().parents[1]]
    columns = [measure_package(folder / "src" / "fieldmark") for folder in folders]
    print(f"{'':<58}" + "".join(f"{folder.resolve().name:>12}" for folder in folders))
    for row in columns[0]:
        print(f"{row:<58}" + "".join(f"{column[row]:>12}" for column in columns))


def measure_package(package: Path) -> dict[str, str]:
    """Count what the modules of a package define."""
    modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    filled = [path for path, module in modules.items() if len(module.body) > 1]
    functions = [node for module in modules.values() for node in module.body if isinstance(node, ast.FunctionDef)]
    functions = [node for node in functions if not node.name.startswith("_")]
    classes = [node for module in modules.values() for node in module.body if isinstance(node, ast.ClassDef)]
    every_function = [
        node
        for module in modules.values()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in every_function]
    openings = [text for module in modules.values() for text in read_first_lines(module)]
    odd = sum(bool(QUESTION_WORDS.match(line)) for line in openings)
    names = [node.name for node in classes]
    line_counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    return {
        "lines": f"{sum(line_counts.values()):,}",
        "files": f"{len(filled):,}",
        "files of more than 500 lines": f"{sum(count > 500 for count in line_counts.values())}",
        "public names": f"{sum(len(list(list_public_names(module))) for module in modules.values()):,}",
        "classes": f"{len(classes):,}",
        "error classes": f"{len(list_error_classes(package / 'errors.py'))}",
        "names that two classes share": f"{len({name for name in names if names.count(name) > 1})}",
        "lines of a function, median": f"{statistics.median(lengths):.0f}",
        "lines of a function, nine of ten have at most": f"{statistics.quantiles(lengths, n=10)[-1]:.0f}",
        "public functions": f"{len(functions):,}",
        "of these, beginning with no verb": f"{sum(node.name.split('_')[0] not in VERBS for node in functions):,}",
        "docstrings": f"{len(openings):,}",
        "of these, beginning with What, Which, Where, Whether, How": f"{odd:,} ({odd / len(openings):.0%})",
    }


def list_public_names(module: ast.Module) -> Iterator[str]:
    """Yield the public functions, classes and constants that a module defines."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_") and name != "logger")


def list_error_classes(path: Path) -> list[str]:
    """List the classes of the module of errors."""
    return [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]


def read_first_lines(module: ast.Module) -> Iterator[str]:
    """Yield the first line of every docstring of a module."""
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text.splitlines()[0]


if __name__ == "__main__":
    main()
