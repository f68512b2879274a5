"""The verb `push_to_hub`: a saved model to the model hub."""

from pathlib import Path

from fieldmark.training.checkpoint import load_checkpoint
from fieldmark.training.hub import Hub, upload_model
from fieldmark.training.layout import PretrainedLayout


def push_to_hub(folder: Path | str, name: str, *, private: bool = True, hub: Hub | None = None) -> None:
    """Upload a folder that `save_pretrained` wrote, under the account that the library is logged in to.

    Args:
        name: On the hub, as in "owner/name".
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The folder holds no usable checkpoint.
        CheckpointError: The hub refused.
        MissingExtraError: The library of the hub is not installed.
    """
    folder = Path(folder)
    load_checkpoint(PretrainedLayout(folder).checkpoint)
    upload_model(folder, name, private=private, hub=hub)
