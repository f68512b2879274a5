"""The commands `fieldmark checkpoint ...`: import released weights, export trained models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fieldmark.cli.terminal import Json, print_result

checkpoint_app = typer.Typer(help="Import released FGCrossNet weights, or export a model.", no_args_is_help=True)


@checkpoint_app.command("import")
def _import_checkpoint(
    file: Annotated[
        Path, typer.Argument(help="State dict of the released FGCrossNet code (.pkl or .pth).", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option("--out", help="Run folder to create.", show_default=False)],
    classes: Annotated[
        Path | None,
        typer.Option("--classes", help="Text file with one class name per line, in the order of the labels."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore", metavar="KEY", help="Tensor of the file to leave out, such as fc2 or centers. May be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import weights of the authors' released FGCrossNet code.

    Weights are read safely: no code in the file is executed.
    """
    from fieldmark.workflows.import_checkpoint import import_checkpoint

    report = import_checkpoint(file, out=out, classes=classes, ignored=ignore or ())
    print_result(report, report.to_text(), as_json=as_json)


@checkpoint_app.command("export")
def _export_checkpoint(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint file.", show_default=False)],
    *,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Write the network of each medium as an ONNX file to this folder.")
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option("--pretrained", help="Write weights, configuration and model card to this folder.")
    ] = None,
    sentence_transformers: Annotated[
        Path | None,
        typer.Option(
            "--sentence-transformers", help="Write a model that the library sentence-transformers loads to this folder."
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--evaluation", help="Model card: file with the output of `fieldmark evaluate --json`."),
    ] = None,
    license_name: Annotated[str | None, typer.Option("--license", help="Model card: license of the weights.")] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Upload the --pretrained folder to the Hugging Face Hub."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make the uploaded model public. Without it, the model is private.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export a model as ONNX files, as a folder to share, or for sentence-transformers."""
    if onnx is None and pretrained is None and sentence_transformers is None:
        raise typer.BadParameter(
            "No output was chosen. Give --onnx DIR, --pretrained DIR or --sentence-transformers DIR."
        )
    if pretrained is None and (push or evaluation or license_name):
        raise typer.BadParameter("--push, --evaluation and --license need --pretrained DIR. Add it.")
    from fieldmark.workflows.export_checkpoint import export_onnx
    from fieldmark.workflows.pretrained import push_to_hub, save_pretrained

    values: dict[str, Any] = {}
    lines: list[str] = []
    if onnx is not None:
        exported = export_onnx(run, folder=onnx)
        values["onnx"] = exported
        lines.append(exported.to_text())
    if pretrained is not None:
        saved = save_pretrained(run, pretrained, evaluation=evaluation, license=license_name)
        values["pretrained"] = saved
        lines.append(saved.to_text())
    if sentence_transformers is not None:
        from fieldmark.workflows.sentence_router import export_sentence_transformers

        routed = export_sentence_transformers(run, sentence_transformers)
        values["sentence_transformers"] = routed
        lines.append(routed.to_text())
    if push and pretrained is not None:
        push_to_hub(pretrained, push, private=not public)
        values["pushed"] = push
        lines.append(f"uploaded to the Hugging Face Hub: {push}")
    print_result(values, "\n".join(lines), as_json=as_json)
