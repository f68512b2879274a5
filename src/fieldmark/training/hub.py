"""The model hub: saved models uploaded and downloaded, through the `huggingface_hub` library."""

from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from fieldmark._version import __version__
from fieldmark.errors import CheckpointError, MissingExtraError, read_first_line
from fieldmark.training.layout import PretrainedLayout


@runtime_checkable
class Hub(Protocol):
    """The methods of `huggingface_hub.HfApi` that are used here."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> object:
        """Create the repository of a model, unless it exists."""

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> object:
        """Upload files of a folder."""

    def snapshot_download(self, repo_id: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        """Return the local folder of a model, downloaded unless it is in the cache."""


def download_model(name: str, *, allow_download: bool, hub: Hub | None) -> Path:
    """Return the local folder of a model on the hub.

    Args:
        allow_download: Whether a model that is not in the local cache may be downloaded.
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The hub gives nothing under this name.
        MissingExtraError: The library is not installed.
    """
    client = hub or _open_hub()
    try:
        folder = client.snapshot_download(name, allow_patterns=_list_files(), local_files_only=not allow_download)
    except Exception as error:  # of the library, or of the transport under it, which changes with its version
        reason = (
            "it is not a folder here, and 'allow_download' is false" if not allow_download else read_first_line(error)
        )
        raise _refused(name, action="give", reason=reason) from error
    return Path(folder)


def upload_model(folder: Path, name: str, *, private: bool, hub: Hub | None) -> None:
    """Upload the files of a saved model.

    Raises:
        CheckpointError: The hub refused.
        MissingExtraError: The library is not installed.
    """
    client = hub or _open_hub()
    try:
        client.create_repo(name, private=private, exist_ok=True)
        client.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=_list_files(),
            commit_message=f"fieldmark {__version__}",
        )
    except Exception as error:
        raise _refused(name, action="take", reason=read_first_line(error)) from error


def _refused(name: str, *, action: str, reason: str) -> CheckpointError:
    return CheckpointError(
        path=name,
        reason=f"the model hub did not {action} it: {reason}",
        remedy="Give a local folder, or check the name, the network and your login.",
    )


def _list_files() -> list[str]:
    return list(PretrainedLayout(Path()).names)


def _open_hub() -> Hub:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(package="huggingface_hub", extra="hub", need="The model hub") from error
    return cast(Hub, HfApi())
