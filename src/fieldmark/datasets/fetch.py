"""`fieldmark data fetch`: download what a manifest names by address, and write down what came."""

import hashlib
import queue
import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from os.path import normpath
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from fieldmark._version import __version__
from fieldmark.data.embedded_facts import complete_items
from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.datasets.fetching.addresses import AddressPolicy
from fieldmark.datasets.fetching.download import Downloader
from fieldmark.datasets.fetching.hosts import Hosts, StoppedError
from fieldmark.datasets.fetching.ledger import HASH, Entry, name_ledger, read_ledger, write_ledger
from fieldmark.datasets.fetching.pace import Pace
from fieldmark.datasets.importers.record import ADDRESS
from fieldmark.errors import ConfigError, DownloadError, MediaError, TooManyFailuresError
from fieldmark.media.loaders import detect_medium
from fieldmark.media.signatures import HEAD_BYTES, list_media
from fieldmark.records.licenses import list_license_forms, write_license_form
from fieldmark.types import Failure, Item, Medium, Reporter, SilentReporter

HASH_COLUMN = "sha256"
"""The named fact of an item that says which bytes its file has."""

_LANES = 16
"""Downloads at once, of all hosts together."""
_SAVED_EVERY_SECONDS = 5.0
_SHOWN = 6
FETCHED, PRESENT = "fetched", "present"


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """The choices of a fetch.

    Args:
        folder: Below which files may be written; None for that of the manifest.
        licenses: Only items with one of these, in any spelling; without a version, any version of it. Empty for all.
        contact: Says to hosts who asks, such as an address of mail.
        accepts_changes: Whether files that differ from what was written down are taken, and written down anew.
    """

    folder: Path | None = None
    licenses: tuple[str, ...] = ()
    contact: str = ""
    accepts_changes: bool = False
    pace: Pace = field(default_factory=Pace)
    policy: AddressPolicy = field(default_factory=AddressPolicy)

    def check(self) -> None:
        """Check that the choices can be used.

        Raises:
            ConfigError: One cannot.
        """
        if not re.fullmatch(r"[\x20-\x7e]{0,200}", self.contact):
            raise ConfigError(f"The contact '{self.contact[:100]}' cannot be sent. Give up to 200 characters of ASCII.")
        if not (self.pace.at_once >= 1 and self.pace.attempts >= 1 and self.pace.stall_seconds > 0):
            raise ConfigError(f"Hosts cannot be asked at this pace: {self.pace}. Give numbers above 0.")

    @property
    def user_agent(self) -> str:
        """The name under which hosts are asked."""
        return f"fieldmark/{__version__} (data fetch; {self.contact or 'no contact given'})"


@dataclass(frozen=True, slots=True)
class FetchReport:
    """The result of a fetch.

    Args:
        ledger: The table of all files.
        left_out: Items by the license for which they were left out; without a license under `none`.
        differing: Files whose bytes are not those that were written down.
        manifest: That of the items whose files are here; None where none was asked for.
    """

    ledger: Path
    fetched: int
    present: int
    fetched_bytes: int
    left_out: Mapping[str, int]
    failures: tuple[Failure, ...]
    differing: tuple[Failure, ...]
    manifest: Path | None = None
    has_contact: bool = True

    json_keys: ClassVar = (
        "ledger",
        "fetched",
        "present",
        "fetched_bytes",
        "left_out",
        "failures",
        "differing",
        "manifest",
    )

    def to_text(self) -> str:
        """Return the counts, and the first of each kind of fault."""
        lines = [f"{self.fetched:,} files fetched ({self.fetched_bytes / 1e6:,.1f} MB), {self.present:,} here already"]
        lines += [f"left out by license: {name}, {count:,}" for name, count in sorted(self.left_out.items())]
        for kind, count in Counter(each.kind for each in (*self.failures, *self.differing)).items():
            lines.append(f"{'differs' if kind == 'differs' else f'not fetched: {kind}'}, {count:,}")
            own = [each for each in (*self.failures, *self.differing) if each.kind == kind]
            lines += [f"  {each.item_id}: {each.message}" for each in own[:_SHOWN]]
            lines += [f"  and {count - _SHOWN:,} more; --json lists all"] if count > _SHOWN else []
        if not self.has_contact:
            lines.append("note: hosts were not told who asks; give --contact, so that they can reach you.")
        lines.append(f"{self.ledger}: what came, with hashes; keep it beside the manifest")
        if self.manifest is not None:
            lines.append(f"{self.manifest}: the items whose files are here")
        return "\n".join(lines)

    def check_failures(self, *, allowed_share: float) -> None:
        """Check that no file differs from what was written down, and few enough are missing.

        Raises:
            DownloadError: Some differ.
            TooManyFailuresError: Too many are missing.
        """
        if self.differing:
            raise DownloadError(
                address=self.differing[0].item_id,
                reason=f"{len(self.differing)} files are not the bytes that '{self.ledger.name}' lists, this one first",
                remedy="Look at them, and give --accept-changes to take them.",
                kind="differs",
            )
        total = self.fetched + self.present + len(self.failures)
        reasons = [f"{each.item_id}: {each.message}" for each in self.failures]
        if len(reasons) > allowed_share * total:
            raise TooManyFailuresError(failed=len(reasons), total=total, allowed_share=allowed_share, examples=reasons)


@dataclass(frozen=True, slots=True)
class _Job:
    """One file that is wanted.

    Args:
        name: Its path as the ledger has it.
        expected: The hash that its bytes must have; empty for any.
        media: Of the items that it holds.
    """

    name: str
    path: Path
    address: str
    expected: str
    media: frozenset[Medium]
    license: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """The files of a manifest: those to fetch, those that are here, and items that have neither."""

    jobs: tuple[_Job, ...]
    here: tuple[_Job, ...]
    left_out: Counter[str]
    failures: tuple[Failure, ...]


def fetch(
    manifest: Path, *, options: FetchOptions | None = None, out: Path | None = None, reporter: Reporter | None = None
) -> FetchReport:
    """Download the files that a manifest names by its column `address` and that are not here yet.

    What comes is checked: its size against what the host said, its content against the medium of its row, its hash
    against the column `sha256` and against the table of an earlier fetch, which lies beside the manifest as
    `NAME.fetched.csv`. What differs is not put in place. Files that are here are read and checked alike.

    Args:
        out: A manifest to write of the items whose files are here, with their hashes; None writes none.

    Raises:
        ManifestError: The manifest, or the table beside it, is not valid.
        ConfigError: An option cannot be used.
        OSError: A file cannot be written.
    """
    options = options or FetchOptions()
    options.check()
    items = read_manifest(manifest)
    folder = (options.folder or manifest.parent).resolve()
    ledger = name_ledger(manifest)
    entries = read_ledger(ledger)
    plan = _make_plan(items, folder, entries, options)
    before = dict(entries)
    try:
        for job, entry in _check_here(plan.here, options):
            entries[job.name] = _merge(entry, before.get(job.name))
        _run(plan, options, entries=entries, ledger=ledger, reporter=reporter or SilentReporter())
    finally:
        if plan.jobs or plan.here:
            write_ledger(ledger, entries)
    if out is not None:
        write_manifest(_list_here(items, plan, entries), out)
    return _report(plan, entries, ledger=ledger, out=out, options=options)


# ---------------------------------------------------------------- the plan


def _make_plan(items: Sequence[Item], folder: Path, entries: Mapping[str, Entry], options: FetchOptions) -> _Plan:
    allowed = frozenset(form for name in options.licenses for form in list_license_forms(name))
    left_out: Counter[str] = Counter()
    failures: list[Failure] = []
    jobs: dict[str, _Job] = {}
    for item in items:
        if item.path is None:
            continue
        form = write_license_form(item.license) if item.license else "none"
        if allowed and form not in allowed:
            left_out[form] += 1
            continue
        found = _make_job(item, folder, entries)
        if isinstance(found, Failure):
            failures.append(found)
        elif (known := jobs.setdefault(found.name, found)).address not in (found.address, "") and found.address:
            failures.append(
                Failure(
                    item.item_id,
                    "two_addresses",
                    f"'{found.name}' has two addresses, {known.address} and {found.address}. Give each its own path.",
                )
            )
        else:
            jobs[found.name] = replace(
                known, media=known.media | found.media, expected=known.expected or found.expected
            )
    here = tuple(job for job in jobs.values() if job.path.is_file())
    return _Plan(tuple(job for job in jobs.values() if not job.path.is_file()), here, left_out, tuple(failures))


def _make_job(item: Item, folder: Path, entries: Mapping[str, Entry]) -> _Job | Failure:
    """Return the file of an item, or why it cannot be fetched."""
    extra = dict(item.extra)
    address = extra.get(ADDRESS, "").strip()
    assert item.path is not None  # noqa: S101 - items without a path are no files
    path = Path(normpath(item.path.parent.resolve() / item.path.name))
    if not path.is_file() and not address:
        return Failure(
            item.item_id, "no_address", f"There is no file '{item.path}', and no address. Give one in '{ADDRESS}'."
        )
    if not path.is_file() and not path.is_relative_to(folder):
        return Failure(
            item.item_id,
            "outside_folder",
            f"'{item.path}' is outside '{folder}', below which files are written. Give --folder, or correct the path.",
        )
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    told = extra.get(HASH_COLUMN, "").strip().lower()
    known = entries.get(name)
    expected = told if HASH.fullmatch(told) else "" if known is None else known.sha256
    return _Job(name, path, address, expected, frozenset({item.medium}), item.license or "")


def _check_here(here: Sequence[_Job], options: FetchOptions) -> Iterator[tuple[_Job, Entry]]:
    for job in here:
        digest = _hash(job.path)
        if job.expected and digest != job.expected and not options.accepts_changes:
            yield job, _fail(job, "differs", _tell_difference(job, digest))
        else:
            size = str(job.path.stat().st_size)
            yield job, Entry(job.name, PRESENT, digest, size, address=job.address, license=job.license)


def _merge(entry: Entry, known: Entry | None) -> Entry:
    """Return an entry of a file that is here, with what is known of how it came."""
    if known is not None and entry.status == PRESENT and known.sha256 == entry.sha256:
        return replace(known, status=known.status if known.status == FETCHED else PRESENT, detail="")
    return entry if known is None or entry.sha256 else replace(entry, sha256=known.sha256)


def _tell_difference(job: _Job, digest: str) -> str:
    return f"'{job.name}' has the SHA-256 {digest[:16]}, where {job.expected[:16]} was written down. Look at it."


def _fail(job: _Job, kind: str, detail: str) -> Entry:
    return Entry(job.name, kind, job.expected, address=job.address, license=job.license, detail=detail)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- the downloads


def _run(plan: _Plan, options: FetchOptions, *, entries: dict[str, Entry], ledger: Path, reporter: Reporter) -> None:
    """Download all files, several hosts at once, and note each in the entries."""
    if not plan.jobs:
        return
    by_host: defaultdict[str, deque[_Job]] = defaultdict(deque)
    for job in plan.jobs:
        by_host[urlsplit(job.address).netloc].append(job)
    lanes = [jobs for jobs in by_host.values() for _ in range(min(options.pace.at_once, len(jobs)))]
    done: queue.SimpleQueue[tuple[_Job, Entry | BaseException]] = queue.SimpleQueue()
    saved = time.monotonic()
    with _open_downloader(options) as (downloader, stop), ThreadPoolExecutor(_LANES) as pool:
        try:
            for jobs in lanes:
                pool.submit(_work, jobs, downloader, options, done)
            for count in range(1, len(plan.jobs) + 1):
                job, found = done.get()
                if isinstance(found, BaseException):
                    raise found
                entries[job.name] = found
                reporter.step("fetch", done=count, total=len(plan.jobs))
                if time.monotonic() - saved > _SAVED_EVERY_SECONDS:
                    write_ledger(ledger, entries)
                    saved = time.monotonic()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _open_downloader(options: FetchOptions) -> Iterator[tuple[Downloader, threading.Event]]:
    stop = threading.Event()
    hosts = Hosts(policy=options.policy, pace=options.pace, user_agent=options.user_agent, stop=stop)
    try:
        yield Downloader(hosts), stop
    finally:
        hosts.close()


def _work(
    jobs: deque[_Job],
    downloader: Downloader,
    options: FetchOptions,
    done: "queue.SimpleQueue[tuple[_Job, Entry | BaseException]]",
) -> None:
    """Download the files of one host, one after the other, until none is left."""
    while True:
        try:
            job = jobs.popleft()
        except IndexError:
            return
        try:
            done.put((job, _fetch_one(job, downloader, options)))
        except StoppedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            done.put((job, error))
            return


def _fetch_one(job: _Job, downloader: Downloader, options: FetchOptions) -> Entry:
    """Download and check one file, and put it in its place."""
    part = job.path.with_name(f".{job.path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = downloader.download(job.address, part=part)
        if job.expected and found.sha256 != job.expected and not options.accepts_changes:
            part.unlink()
            return _fail(job, "differs", _tell_difference(job, found.sha256))
        _check_medium(part, job)
    except (DownloadError, MediaError) as error:
        return _fail(job, error.kind, str(error).replace(str(part), job.name))
    part.replace(job.path)
    return Entry(
        job.name,
        FETCHED,
        found.sha256,
        str(found.byte_count),
        address=job.address,
        final_address=found.final_address,
        content_type=found.content_type,
        etag=found.etag,
        last_modified=found.last_modified,
        fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
        license=job.license,
    )


def _check_medium(part: Path, job: _Job) -> None:
    """Check that a file holds what its rows say; one that does not is removed.

    Raises:
        MediaError: It does not.
    """
    try:
        with part.open("rb") as file:
            possible = list_media(file.read(HEAD_BYTES)) or (detect_medium(part),)
    except MediaError:
        part.unlink()
        raise
    if not job.media <= set(possible):
        part.unlink()
        wanted = " and ".join(sorted(job.media - set(possible)))
        raise MediaError(
            f"'{job.address}' holds {possible[0]}, but its row says {wanted}. Correct the medium or the address.",
            kind="medium_mismatch",
        )


# ---------------------------------------------------------------- the report


def _list_here(items: Sequence[Item], plan: _Plan, entries: Mapping[str, Entry]) -> tuple[Item, ...]:
    """Return the items whose files are here and as they should be, with their hashes; and all texts without a file."""
    hash_by_path = {
        job.path: entries[job.name].sha256
        for job in (*plan.jobs, *plan.here)
        if entries[job.name].status in (FETCHED, PRESENT)
    }
    found = []
    for item in items:
        digest = None if item.path is None else hash_by_path.get(item.path.parent.resolve() / item.path.name)
        if item.path is None:
            found.append(item)
        elif digest is not None:
            extra = (*((name, value) for name, value in item.extra if name != HASH_COLUMN), (HASH_COLUMN, digest))
            found.append(replace(item, extra=extra))
    return complete_items(found)


def _report(
    plan: _Plan, entries: Mapping[str, Entry], *, ledger: Path, out: Path | None, options: FetchOptions
) -> FetchReport:
    mine = [(job, entries[job.name]) for job in (*plan.jobs, *plan.here)]
    faults = [Failure(job.name, each.status, each.detail) for job, each in mine if each.detail]
    came = [entries[job.name] for job in plan.jobs if entries[job.name].status == FETCHED]
    return FetchReport(
        ledger=ledger,
        fetched=len(came),
        present=sum(not entries[job.name].detail for job in plan.here),
        fetched_bytes=sum(int(each.byte_count) for each in came),
        left_out=dict(plan.left_out),
        failures=(*plan.failures, *(each for each in faults if each.kind != "differs")),
        differing=tuple(each for each in faults if each.kind == "differs"),
        manifest=out,
        has_contact=bool(options.contact) or not plan.jobs,
    )
