"""The model hub: facts of a model before it is fetched, and its files, through the `huggingface_hub` library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from fieldmark.encoders.transformer_files import FILES
from fieldmark.errors import ConfigError, EncoderFilesError, MissingExtraError, read_first_line

_WEIGHTS = ".safetensors"
_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model on the hub, as it is now.

    Args:
        revision: The commit whose files are fetched, so that what was announced is what comes.
        license: "" where its page does not tell.
        size_bytes: Of the files that are read; 0 where the hub does not tell.
    """

    name: str
    revision: str
    license: str
    size_bytes: int

    @property
    def page(self) -> str:
        """The address of its page."""
        return f"https://huggingface.co/{self.name}"


@runtime_checkable
class ModelHub(Protocol):
    """The hub as it is needed here."""

    def describe(self, name: str) -> HubModel:
        """Return the facts of a model.

        Raises:
            OSError: The hub cannot be reached, or has no such model.
            EncoderFilesError: The model has no weights that are read.
        """

    def fetch(self, model: HubModel) -> Path:
        """Return the local folder of a model's files, downloaded where they are not in the cache.

        Raises:
            OSError: The hub cannot be reached, or a file does not arrive whole.
        """


@final
class _HuggingFaceHub:
    """The hub of the `huggingface_hub` library, which resumes broken downloads and checks sizes and hashes."""

    def describe(self, name: str) -> HubModel:
        from huggingface_hub import HfApi

        try:
            info = HfApi().model_info(name, files_metadata=True, timeout=_TIMEOUT_SECONDS)
        except Exception as error:  # of the library, or of the transport under it, which changes with its version
            raise OSError(str(error) or type(error).__name__) from error
        files = [each for each in info.siblings or () if any(Path(each.rfilename).match(form) for form in FILES)]
        files = [each for each in files if "/" not in each.rfilename]
        if not any(each.rfilename.endswith(_WEIGHTS) for each in files):
            reason = f"it has no {_WEIGHTS} file, and other weights may hold code"
            raise EncoderFilesError(name=name, reason=reason, key="name")
        license_name = getattr(info.card_data, "license", None) if info.card_data else None
        return HubModel(name, info.sha or "main", str(license_name or ""), sum(each.size or 0 for each in files))

    def fetch(self, model: HubModel) -> Path:
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(FILES)))
        except Exception as error:
            raise OSError(str(error) or type(error).__name__) from error


def open_hub() -> ModelHub:
    """Return the hub of the `huggingface_hub` library.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        import huggingface_hub  # noqa: F401 - to know that it is here
    except ImportError as error:
        raise MissingExtraError(package="huggingface_hub", extra="encoders", need="The model hub") from error
    return _HuggingFaceHub()


def find_on_hub(name: str, *, hub: ModelHub) -> HubModel:
    """Return the facts of a model on the hub.

    Raises:
        ConfigError: The hub cannot be reached, or gives no such model.
        EncoderFilesError: The model has no weights that are read.
    """
    try:
        return hub.describe(name)
    except EncoderFilesError:  # also a FileNotFoundError, with its own message
        raise
    except OSError as error:
        raise _unreachable(name, error) from error


def download(model: HubModel, *, hub: ModelHub) -> Path:
    """Return the local folder of a model, its files downloaded.

    Raises:
        ConfigError: The hub cannot be reached, or a file did not arrive whole.
    """
    try:
        return hub.fetch(model)
    except OSError as error:
        raise _unreachable(model.name, error) from error


def _unreachable(name: str, error: Exception) -> ConfigError:
    reason = read_first_line(error)
    return ConfigError(
        f"The model hub did not give '{name}': {reason}. Check the network and the name, and run the command again; "
        "what was fetched so far is kept. Or fetch the files by other means, and run: fieldmark models add FOLDER"
    )
