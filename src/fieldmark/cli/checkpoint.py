"""The commands on checkpoints: `checkpoint import`, `checkpoint export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fieldmark.cli.terminal import Json, print_result

checkpoint_app = typer.Typer(help="Bring in weights of the released code, and hand models on.", no_args_is_help=True)


@checkpoint_app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="state dict of the released FGCrossNet code (.pkl, .pth)", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option("--out", help="run folder to make", show_default=False)],
    classes: Annotated[
        Path | None, typer.Option("--classes", help="class names, one a line in the order of the labels")
    ] = None,
    as_json: Json = False,
) -> None:
    """Load a state dict of the authors' released FGCrossNet code; no code in the file is run."""
    from fieldmark.workflows.checkpoint_import import import_checkpoint

    report = import_checkpoint(file, out=out, classes=classes)
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@checkpoint_app.command()
def export(
    run: Annotated[Path, typer.Argument(help="run folder, or one checkpoint file", show_default=False)],
    *,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="write each medium's network as an ONNX file to this folder")
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option("--pretrained", help="write weights, configuration and model card to this folder")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", help="for the card: what `fieldmark evaluate --json` printed")
    ] = None,
    license_name: Annotated[str | None, typer.Option("--license", help="for the card: of the weights")] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="OWNER/NAME", help="put the --pretrained folder on the model hub")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="on the hub for everyone; else private")] = False,
    as_json: Json = False,
) -> None:
    """Write a model for other programs, or to hand on."""
    if onnx is None and pretrained is None:
        raise typer.BadParameter("give --onnx DIR, --pretrained DIR or both")
    if pretrained is None and (push or evaluation or license_name):
        raise typer.BadParameter("--push, --evaluation and --license go with --pretrained DIR")
    from fieldmark.workflows.checkpoint_export import export_onnx
    from fieldmark.workflows.pretrained import push_to_hub, save_pretrained

    values: dict[str, Any] = {}
    lines: list[str] = []
    if onnx is not None:
        exported = export_onnx(run, folder=onnx)
        values["onnx"] = exported.to_json()
        lines.append(exported.to_text())
    if pretrained is not None:
        saved = save_pretrained(run, pretrained, evaluation=evaluation, license=license_name)
        values["pretrained"] = saved.to_json()
        lines.append(saved.to_text())
    if push and pretrained is not None:
        push_to_hub(pretrained, push, private=not public)
        values["pushed"] = push
        lines.append(f"on the model hub: {push}")
    print_result(values, "\n".join(lines), as_json=as_json)
