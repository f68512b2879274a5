"""The commands that measure: `evaluate`, `compare`, `verify`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldmark.cli.terminal import Json, Quiet, TerminalReporter, print_result

evaluation_app = typer.Typer()

EmbeddingsPath = Annotated[
    Path,
    typer.Argument(
        help="embeddings folder, made by `fieldmark embed`, or a run folder that holds one", show_default=False
    ),
]
RunPath = Annotated[
    Path, typer.Argument(help="run folder with embeddings in it, or embeddings folder", show_default=False)
]
Protocol = Annotated[
    Literal["strict", "paper"], typer.Option("--protocol", help="paper: only for comparison with published numbers")
]
Seed = Annotated[int, typer.Option("--seed", help="of the bootstrap")]


@evaluation_app.command()
def evaluate(
    folder: EmbeddingsPath,
    *,
    protocol: Protocol = "strict",
    taxonomy: Annotated[
        Path | None,
        typer.Option("--taxonomy", help="CSV with class_name, genus, family, order: MAP at genus and family rank too"),
    ] = None,
    seed: Seed = 0,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", help="write what `fieldmark verify` needs to this JSON file")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="write a page with charts, map and examples to this HTML file")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="write all figures, also by class, to this file")] = None,
    latex: Annotated[Path | None, typer.Option("--latex", help="write the table of a paper to this file")] = None,
    beside: Annotated[
        Literal["published"] | None, typer.Option("--beside", help="show the published results, with their caveats")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the 12 bi-modality and 4 multi-modality MAPs beside chance."""
    from fieldmark.evaluation.published import format_beside, read_published
    from fieldmark.io import write_text
    from fieldmark.reports.tables import format_csv, format_latex
    from fieldmark.workflows.evaluate import Settings, measure_folder
    from fieldmark.workflows.receipt import write_receipt
    from fieldmark.workflows.report import write_report

    measured = measure_folder(folder, settings=Settings(protocol=protocol, seed=seed), taxonomy=taxonomy)
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
    values, text = found.to_json(), found.to_text()
    if published is not None:
        values |= {"published": published.to_json()}
        text += "\n\n" + format_beside(found, published)
    print_result(values, text, as_json=as_json)


@evaluation_app.command()
def compare(
    first_run: RunPath,
    second_run: RunPath,
    *,
    protocol: Protocol = "strict",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Test direction by direction whether one of two runs is better on the same items."""
    from fieldmark.workflows.compare import compare

    report = compare(first_run, second_run, protocol=protocol, seed=seed)
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@evaluation_app.command()
def verify(
    receipt: Annotated[
        Path, typer.Argument(help="JSON file, made by `fieldmark evaluate --receipt`", show_default=False)
    ],
    *,
    embeddings: Annotated[
        Path | None, typer.Option("--embeddings", help="embeddings folder; default: where the receipt says")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute a receipt's numbers again from the embeddings and say what differs; exit 1 if anything does."""
    from fieldmark.workflows.verify import verify

    report = verify(receipt, embeddings=embeddings)
    print_result(report.to_json(), report.to_text(), as_json=as_json)
    if not report.is_verified:
        raise typer.Exit(1)
