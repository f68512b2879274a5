"""The commands `evaluate`, `compare` and `verify`: measure a model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldmark.cli.terminal import Json, Quiet, TerminalReporter, print_result
from fieldmark.io import encode_report

evaluation_app = typer.Typer()

_EmbeddingsPath = Annotated[
    Path,
    typer.Argument(
        help="Embeddings folder, made by `fieldmark embed`, or the run folder that holds it.", show_default=False
    ),
]
_RunPath = Annotated[
    Path, typer.Argument(help="Run folder that holds an embeddings folder, or embeddings folder.", show_default=False)
]
_Protocol = Annotated[
    Literal["strict", "paper"],
    typer.Option("--protocol", help="Evaluation protocol. Use paper only to compare with published numbers."),
]
_Seed = Annotated[int, typer.Option("--seed", help="Random seed of the bootstrap intervals.")]


@evaluation_app.command("evaluate")
def _evaluate(
    folder: _EmbeddingsPath,
    *,
    protocol: _Protocol = "strict",
    taxonomy: Annotated[
        Path | None,
        typer.Option(
            "--taxonomy", help="CSV with class_name, genus, family and order. Adds MAP by genus and by family."
        ),
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option(
            "--findings",
            help="Output of `fieldmark data check --json`. Near duplicates of training items in it are left out.",
        ),
    ] = None,
    traits: Annotated[
        Path | None,
        typer.Option(
            "--traits",
            help="Table of the marks of species: a CSV file with name and marks, or a folder with the attributes of "
            "CUB-200-2011. Adds questions of one, two and three marks. The model should not know the table.",
        ),
    ] = None,
    seed: _Seed = 0,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", help="Also write a receipt for `fieldmark verify` to this JSON file.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Also write a report with charts, a map and examples to this HTML file."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write all figures, with those of each class, to this file.")
    ] = None,
    latex: Annotated[Path | None, typer.Option("--latex", help="Also write the table as LaTeX to this file.")] = None,
    beside: Annotated[
        Literal["published"] | None,
        typer.Option("--beside", help="Also show the published results, with their caveats."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure retrieval: MAP of 16 tasks, each beside chance.

    MAP is mean average precision. The 12 bi-modality tasks search one medium with another; the 4 multi-modality
    tasks search all media at once.
    """
    from fieldmark.evaluation.protocol import Settings
    from fieldmark.evaluation.published import format_beside, read_published
    from fieldmark.io import write_text
    from fieldmark.reports.tables import format_csv, format_latex
    from fieldmark.workflows.evaluate import measure_folder, write_receipt, write_report

    settings = Settings(protocol=protocol, seed=seed)
    measured = measure_folder(folder, settings=settings, taxonomy=taxonomy, findings=findings, traits=traits)
    if receipt is not None:
        write_receipt(measured, receipt)
    found, published = measured.evaluation, read_published() if beside else None
    if report is not None:
        with TerminalReporter(quiet=quiet) as reporter:
            write_report(measured, report, reporter=reporter)
    if csv is not None:
        write_text(csv, format_csv(found))
    if latex is not None:
        write_text(latex, format_latex(found, published))
    values, text = encode_report(found), found.to_text()
    if published is not None:
        values |= {"published": published}
        text += "\n\n" + format_beside(found, published)
    print_result(values, text, as_json=as_json)


@evaluation_app.command("compare")
def _compare(
    first_run: _RunPath,
    second_run: _RunPath,
    *,
    protocol: _Protocol = "strict",
    seed: _Seed = 0,
    as_json: Json = False,
) -> None:
    """Test whether one of two runs is better on the same items.

    Each direction, such as image to text, has its own test.
    """
    from fieldmark.workflows.compare import compare

    report = compare(first_run, second_run, protocol=protocol, seed=seed)
    print_result(report, report.to_text(), as_json=as_json)


@evaluation_app.command("verify")
def _verify(
    receipt: Annotated[
        Path, typer.Argument(help="JSON file, made by `fieldmark evaluate --receipt`.", show_default=False)
    ],
    *,
    embeddings: Annotated[
        Path | None, typer.Option("--embeddings", help="Embeddings folder. [default: the one named in the receipt]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute the numbers of a receipt and report differences.

    A receipt holds the settings, hashes and numbers of an evaluation. Exits with 1 if anything differs.
    """
    from fieldmark.workflows.verify import verify

    report = verify(receipt, embeddings=embeddings)
    print_result(report, report.to_text(), as_json=as_json)
    if not report.is_verified:
        raise typer.Exit(1)
