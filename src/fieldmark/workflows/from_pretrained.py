"""The verb `from_pretrained`: a folder or a name on the model hub to a model."""

from pathlib import Path

from fieldmark.build import Model, load_model
from fieldmark.runtime import Runtime
from fieldmark.training.hub import Hub, download_model


def from_pretrained(
    name: Path | str, *, allow_download: bool = False, runtime: Runtime | None = None, hub: Hub | None = None
) -> Model:
    """Load a model from a folder that `save_pretrained` wrote, from a run, or from the model hub.

    Args:
        name: A local folder, or a name on the hub, which is looked up in the local cache.
        allow_download: Whether a model of the hub that is not in the cache may be downloaded.
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The folder holds no usable checkpoint.
        CheckpointError: It is no folder, and the hub gives nothing under this name.
        MissingExtraError: It is no folder, and the library of the hub is not installed.
    """
    runtime, folder = runtime or Runtime.from_environment(), Path(name)
    if not folder.exists():
        folder = download_model(str(name), allow_download=allow_download, hub=hub)
    return load_model(folder, device=runtime.choose_device())
