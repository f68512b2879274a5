"""Shards embedded by the machines of a Ray cluster: decoders read files, workers with the model encode them."""

import socket
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from fieldmark.build import Model, load_model
from fieldmark.data.file_store import open_locally
from fieldmark.data.media_reader import DecodedPart, LocalReader, hash_item
from fieldmark.data.shard_folder import Shard, ShardFolder
from fieldmark.errors import (
    ConfigError,
    EmbeddingsError,
    FieldmarkError,
    MediaError,
    MissingExtraError,
    UnreadableMediaError,
)
from fieldmark.io import write_bytes
from fieldmark.media.loaders import load_segments
from fieldmark.runtime import Runtime
from fieldmark.shard_embedding import ShardResult, embed_shard
from fieldmark.types import Decoding, Failure, Item, MediaLimits, Medium, Reporter, Segment, SilentReporter

ITEMS_PER_SHARD = 256
"""Items of a shard on a cluster, if the user names no number: the most work that a lost machine costs."""

_ATTEMPTS = 3
"""Times that a shard is given to a worker, and a file to a process, before it is given up."""
_ITEMS_PER_CALL = 4
"""Files decoded by one call: a call costs about a millisecond."""
_ITEMS_HASHED = 16
_SEGMENTS_PER_MESSAGE = 8
_MESSAGES_AHEAD = 4
"""Messages of one call that wait to be taken; then it stops decoding, so that a long recording fits into memory."""
_CONNECT_SECONDS = 10.0
_PATIENCE_SECONDS = 30.0
"""Time without any result after which the state is told."""


@dataclass(frozen=True, slots=True)
class RayOptions:
    """The Ray cluster that is to work.

    Args:
        address: HOST:PORT of its head, or `auto` on a machine of the cluster.
        worker_count: Processes that hold the model; None for one on each GPU, or each CPU of a cluster without GPUs.
    """

    address: str
    worker_count: int | None = None


@dataclass(frozen=True, slots=True)
class RayJob:
    """The model and the place of the result.

    Args:
        checkpoint: The content of the model's file, which is sent to the machines.
        fingerprint: Of the model; that of every machine must be the same.
        folder: Address of the embeddings folder, the same for all machines.
    """

    checkpoint: bytes
    fingerprint: str
    folder: str


def embed_on_ray(
    shards: Mapping[Shard, Sequence[Item]], *, job: RayJob, options: RayOptions, reporter: Reporter
) -> Iterator[ShardResult]:
    """Yield the shards as they are done, in any order; what a lost worker or machine had begun is given to another.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: There is no cluster at the address, or its machines have another model.
        EmbeddingsError: A shard could not be embedded, after several attempts; all others are done.
    """
    ray = _import_ray()
    is_own = not ray.is_initialized()
    try:
        if is_own:
            _check_reachable(options.address)
            ray.init(address=options.address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"There is no Ray cluster at '{options.address}': {_explain(error)}. "
            "Start one with `ray start --head`, and give HOST:PORT of its head.",
            kind="cluster",
        ) from error
    try:
        yield from _Driver(ray, job, options, reporter).run(shards)
    except ray.exceptions.RayError as error:
        raise EmbeddingsError(
            path=job.folder,
            reason=f"the cluster is lost ({_explain(error)}); run the same command again, which keeps what is done",
        ) from error
    finally:
        if is_own:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Open a connection to HOST:PORT and close it: Ray itself tries for minutes where nobody listens.

    Raises:
        ConnectionError: Nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:  # the name of the host is not known, or the port is none
            raise ConnectionError(str(error)) from error


def _explain(error: Exception) -> str:
    """Return the line of an error that tells the reason; that of a task stands at the end of its report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if "ray::" in lines[0] else lines[0]).rstrip(".")


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(package="ray", extra="cluster", need="Embedding on a cluster") from error
    return ray


# ---------------------------------------------------------------- the driver


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The resources of workers, and the decoders of each; without GPUs, a worker and its decoder share a CPU."""

    worker_count: int
    worker_gpus: int
    worker_cpus: int
    decoder_count: int

    @classmethod
    def from_resources(cls, resources: Mapping[str, float], *, worker_count: int | None) -> "_Sizes":
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if gpus:
            count = min(gpus, worker_count or gpus)
            return cls(count, worker_gpus=1, worker_cpus=0, decoder_count=max(1, cpus // count))
        count = max(1, min(cpus, worker_count or cpus))
        return cls(count, worker_gpus=0, worker_cpus=1, decoder_count=max(1, cpus // count))


@final
class _Driver:
    """Gives shards to workers, and starts workers as long as the cluster has room for them."""

    def __init__(self, ray: Any, job: RayJob, options: RayOptions, reporter: Reporter) -> None:
        self._ray = ray
        self._job = ray.put(job)
        self._folder = job.folder
        self._worker_count = options.worker_count
        self._reporter = reporter
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._working: dict[Any, tuple[Any, Shard]] = {}
        self._attempts: Counter[Shard] = Counter()
        self._failed_starts = 0
        self._given_up: dict[Shard, str] = {}

    def run(self, shards: Mapping[Shard, Sequence[Item]]) -> Iterator[ShardResult]:
        waiting = deque(shards)
        total, done = sum(map(len, shards.values())), 0
        while waiting or self._working:
            self._start_workers(len(waiting))
            while waiting and self._idle:
                shard, worker = waiting.popleft(), self._idle.pop()
                self._working[worker.embed.remote(shard, list(shards[shard]))] = worker, shard
            ready, _ = self._ray.wait([*self._starting, *self._working], num_returns=1, timeout=_PATIENCE_SECONDS)
            if not ready:
                self._reporter.say(
                    f"waiting: {len(self._working)} workers at work, {len(self._starting)} not yet ready"
                )
            for ref in ready:
                result, again = self._look_at(ref)
                waiting.extendleft(again)
                if result is not None:
                    done += len(shards[result.shard])
                    self._reporter.step("embed", done=done, total=total, note=f"{len(self._working) + 1} workers")
                    yield result
        if self._given_up:
            reasons = "; ".join(f"{shard}: {why}" for shard, why in self._given_up.items())
            raise EmbeddingsError(
                path=self._folder,
                reason=f"{len(self._given_up)} shards could not be embedded ({reasons}), all others are done; "
                "run the same command again",
            )

    def _start_workers(self, waiting_count: int) -> None:
        """Start as many workers as the cluster has room for now: machines may have come or gone."""
        sizes = _Sizes.from_resources(self._ray.cluster_resources(), worker_count=self._worker_count)
        present = len(self._starting) + len(self._idle) + len(self._working)
        for _ in range(min(sizes.worker_count - present, waiting_count)):
            options = {
                "num_gpus": sizes.worker_gpus,
                "num_cpus": sizes.worker_cpus,
                "scheduling_strategy": "SPREAD",
                "max_restarts": 0,
            }
            worker = self._ray.remote(_Worker).options(**options).remote(self._job, sizes)
            self._starting[worker.start.remote()] = worker

    def _look_at(self, ref: Any) -> tuple[ShardResult | None, list[Shard]]:
        """Return the shard that a worker has done, and the shards that are to be done again."""
        if ref in self._starting:
            self._take_in(ref)
            return None, []
        result, shard = self._collect(ref)
        return result, [] if result is not None or shard in self._given_up else [shard]

    def _take_in(self, ref: Any) -> None:
        """Take in a worker that has loaded the model, or could not."""
        worker = self._starting.pop(ref)
        try:
            refusal = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            refusal = ConfigError(f"A worker ended as it began: {_explain(error)}. Look at Ray's logs.", kind="cluster")
        if refusal is None:
            self._idle.append(worker)
            return
        self._failed_starts += 1
        self._reporter.say(str(refusal))
        if self._failed_starts >= _ATTEMPTS and not (self._idle or self._working):
            raise refusal

    def _collect(self, ref: Any) -> tuple[ShardResult | None, Shard]:
        """Return what became of a shard; None where it is to be done again, or is given up."""
        worker, shard = self._working.pop(ref)
        result: ShardResult | FieldmarkError
        try:
            result = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            result = EmbeddingsError(path=self._folder, reason=f"{_explain(error)}; look at Ray's logs")
        except self._ray.exceptions.RayError as error:
            self._ray.kill(worker)  # one that is only out of reach may go on: what it writes does no harm
            self._fail(shard, f"its worker was lost: {_explain(error)}")
            return None, shard
        self._idle.append(worker)
        if isinstance(result, FieldmarkError):
            self._fail(shard, str(result).rstrip("."))
            return None, shard
        for failure in result.info.failures:
            self._reporter.say(f"skipped {failure.item_id}: {failure.message}")
        return result, shard

    def _fail(self, shard: Shard, reason: str) -> None:
        self._attempts[shard] += 1
        self._reporter.say(f"shard {shard} is done again: {reason}")
        if self._attempts[shard] >= _ATTEMPTS:
            self._given_up[shard] = reason


# ---------------------------------------------------------------- the workers


@final
class _Worker:
    """An actor that holds the model, and embeds one shard at a time, from files that decoders read for it."""

    def __init__(self, job: RayJob, sizes: _Sizes) -> None:
        self._job = job
        self._sizes = sizes
        self._runtime = Runtime(reporter=SilentReporter(), cache=None, device=Runtime.from_environment().device)
        self._model: Model | None = None
        self._reader: _ClusterReader | None = None

    def start(self) -> FieldmarkError | None:
        """Load the model; return why it cannot be used here."""
        try:
            with TemporaryDirectory(prefix="fieldmark-") as folder:
                file = Path(folder) / "model.safetensors"
                write_bytes(file, self._job.checkpoint)
                self._model = load_model(file, device=self._runtime.choose_device())
            for medium in self._model.media:
                self._model.encoder(medium)
        except FieldmarkError as error:
            return error
        if self._model.fingerprint != self._job.fingerprint:
            return ConfigError(
                f"A machine of the cluster makes another model of the checkpoint ({self._model.fingerprint[:12]}, not "
                f"{self._job.fingerprint[:12]}). Install one version of fieldmark and the same encoders everywhere.",
                kind="cluster",
            )
        self._reader = _ClusterReader(self._sizes.decoder_count)
        return None

    def embed(self, shard: Shard, items: Sequence[Item]) -> ShardResult | FieldmarkError:
        """Embed a shard."""
        if self._model is None or self._reader is None:
            raise RuntimeError("the worker was not started")
        try:
            folder = ShardFolder(self._job.folder)
            return embed_shard(
                shard, items, model=self._model, folder=folder, runtime=self._runtime, reader=self._reader
            )
        except FieldmarkError as error:
            return error


@final
class _ClusterReader:
    """Reads files by decoders on the machines of the cluster; texts, which cost less than a message, in this process.

    A file that ends the process which decodes it, again and again, becomes the failure of one item.
    """

    def __init__(self, decoder_count: int) -> None:
        self._ray = _import_ray()
        self._decoders = [self._start() for _ in range(decoder_count)]
        self._next = 0

    def hash_contents(self, items: Sequence[Item]) -> list[str | Failure]:
        """Return the content hash of each item, or why it has none."""
        if all(item.medium is Medium.TEXT for item in items):
            return LocalReader().hash_contents(items)
        groups = [items[start : start + _ITEMS_HASHED] for start in range(0, len(items), _ITEMS_HASHED)]
        calls = [(self._take_turn(), group) for group in groups]
        asked = [(turn, self._decoders[turn].hash_items.remote(list(group)), group) for turn, group in calls]
        found: list[str | Failure] = []
        for turn, ref, group in asked:
            try:
                found += self._ray.get(ref)
            except self._ray.exceptions.RayError:  # it, or its machine, is lost
                self._replace(turn)
                found += LocalReader().hash_contents(group)
        return found

    def read_segments(self, items: Sequence[Item], *, decoding: Decoding, limits: MediaLimits) -> Iterator[DecodedPart]:
        """Yield the segments of the items, in order."""
        if all(item.medium is Medium.TEXT for item in items):
            yield from LocalReader().read_segments(items, decoding=decoding, limits=limits)
            return
        starts = deque(range(0, len(items), _ITEMS_PER_CALL))
        running: deque[tuple[int, _Call]] = deque()
        while starts or running:
            while starts and len(running) <= len(self._decoders):
                start = starts.popleft()
                running.append((start, self._ask(items[start : start + _ITEMS_PER_CALL], decoding, limits)))
            start, call = running.popleft()
            for index, part in self._follow(call, decoding, limits):
                yield start + index, part

    def _ask(self, items: Sequence[Item], decoding: Decoding, limits: MediaLimits) -> "_Call":
        turn = self._take_turn()
        return self._ask_of(self._decoders[turn], items, decoding, limits, turn=turn)

    def _ask_of(
        self, decoder: Any, items: Sequence[Item], decoding: Decoding, limits: MediaLimits, *, turn: int | None = None
    ) -> "_Call":
        decode = decoder.decode.options(num_returns="streaming", _generator_backpressure_num_objects=_MESSAGES_AHEAD)
        return _Call(items, turn, decoder, decode.remote(list(items), decoding, limits))

    def _follow(self, call: "_Call", decoding: Decoding, limits: MediaLimits) -> Iterator[DecodedPart]:
        """Yield what a decoder sends; the items that it did not come to, if it is lost, are decoded one by one."""
        given: Counter[int] = Counter()
        ended: set[int] = set()
        stopped = yield from self._receive(call, given, ended)
        if stopped is None:
            return
        if call.turn is not None and self._decoders[call.turn] is call.decoder:  # not yet replaced by another call
            self._replace(call.turn)
        reason = _explain(stopped)
        # By a decoder of their own: the others may wait until somebody takes what they sent, which comes after these.
        decoder = self._start()
        try:
            for index in (each for each in range(len(call.items)) if each not in ended):
                for _ in range(_ATTEMPTS - 1):
                    alone = self._ask_of(decoder, [call.items[index]], decoding, limits)
                    # Counted from below 0, what is known already is not given again.
                    since, done = Counter({0: -given[index]}), set[int]()
                    stopped = yield from self._receive(alone, since, done, at=index)
                    given[index] += max(0, since[0])
                    if done:
                        break
                    if stopped is not None:
                        reason = _explain(stopped)
                        self._ray.kill(decoder)
                        decoder = self._start()
                else:
                    path = call.items[index].path or call.items[index].item_id
                    yield (
                        index,
                        UnreadableMediaError(path=path, reason=f"each process that decoded it ended ({reason})"),
                    )
        finally:
            self._ray.kill(decoder)

    def _receive(
        self, call: "_Call", given: Counter[int], ended: set[int], *, at: int = 0
    ) -> Generator[DecodedPart, None, Exception | None]:
        """Yield the parts that a decoder sends, and return why it stopped early; None at the regular end.

        Args:
            given: Segments of each item that came so far; counted here.
            ended: Items of which all came; added to here.
            at: Index of the first item.
        """
        try:
            for ref in call.messages:
                for index, part in self._ray.get(ref):
                    if part is None:
                        ended.add(index)
                    elif isinstance(part, MediaError):
                        yield at + index, part
                    else:
                        given[index] += 1
                        if given[index] > 0:
                            yield at + index, part
        except self._ray.exceptions.RayError as error:
            return Exception(_explain(error))
        return None

    def _take_turn(self) -> int:
        self._next = (self._next + 1) % len(self._decoders)
        return self._next

    def _replace(self, turn: int) -> None:
        self._ray.kill(self._decoders[turn])
        self._decoders[turn] = self._start()

    def _start(self) -> Any:
        # They take no CPU in Ray's account, so that none waits for a worker that waits for it.
        return self._ray.remote(_Decoder).options(num_cpus=0, scheduling_strategy="SPREAD").remote()


@dataclass(frozen=True, slots=True)
class _Call:
    """Items that a decoder was asked for, and its messages; it has no turn where it is there for these alone."""

    items: Sequence[Item]
    turn: int | None
    decoder: Any
    messages: Any


@final
class _Decoder:
    """An actor that reads and decodes files."""

    def hash_items(self, items: Sequence[Item]) -> list[str | Failure]:
        """Return the content hash of each item, or why it has none."""
        return [hash_item(item) for item in items]

    def decode(
        self, items: Sequence[Item], decoding: Decoding, limits: MediaLimits
    ) -> Iterator[list[tuple[int, Segment | MediaError | None]]]:
        """Yield the segments of items in messages; None says that an item ends."""
        for index, item in enumerate(items):
            message: list[tuple[int, Segment | MediaError | None]] = []
            try:
                with open_locally(item) as local:
                    for segment in load_segments(local, decoding=decoding, limits=limits):
                        message.append((index, segment))
                        if len(message) == _SEGMENTS_PER_MESSAGE:
                            yield message
                            message = []
            except MediaError as error:
                message.append((index, error))
            yield [*message, (index, None)]
