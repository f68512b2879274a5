"""A served gallery and a real Chromium that opens its page, watched for errors and for foreign requests."""

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from search_answers import RECORD_ANSWERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

    from fieldmark import Runtime

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--mute-audio",
)
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
"""A name of a class, a set, a source, a text: shown as it is, never run."""


@pytest.fixture(scope="session")
def class_names(toy_gallery: Path) -> list[str]:
    """The classes of the toy gallery, sorted."""
    from fieldmark import Gallery

    return sorted({each.class_name for each in Gallery.open(toy_gallery).index.counts() if each.class_name})


@pytest.fixture
def copy_gallery(toy_gallery: Path, tmp_path: Path) -> Callable[[], Path]:
    """Copies the toy gallery, so that a test can change it."""
    return lambda: Path(shutil.copytree(toy_gallery, tmp_path / "gallery"))


@pytest.fixture(scope="session")
def hostile_name() -> str:
    """A name that is HTML."""
    return HOSTILE


@pytest.fixture(scope="session")
def hostile_gallery(toy_gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the toy gallery in which one class, with all that is said of its items, is HTML."""
    from fieldmark import Gallery

    folder = Path(shutil.copytree(toy_gallery, tmp_path_factory.mktemp("hostile") / "gallery"))
    index = Gallery.open(folder).index
    stored = [each.item for each in index.items(limit=1000)]
    chosen = [item for item in stored if item.class_name == stored[0].class_name]
    hashes = index.content_hashes()
    index.remove([item.item_id for item in chosen])
    source = Gallery.open(toy_gallery).index
    for item in chosen:
        found = source.get(item.item_id)
        said = dataclasses.replace(
            item, class_name=HOSTILE, source="javascript:document.title='pwned'", license=HOSTILE, group=HOSTILE
        )
        renamed = dataclasses.replace(found, items=(said,) * len(found.items))
        index.add(renamed, content_hash_by_item_id={item.item_id: hashes[item.item_id]}, set_name=HOSTILE)
    return folder


@pytest.fixture(scope="module")
def served(toy_runtime: "Runtime") -> Iterator[Callable[..., str]]:
    """Serves galleries from threads; gives the address of each, without a slash at its end."""
    import uvicorn

    from fieldmark import Gallery
    from fieldmark.api.app import create_app
    from fieldmark.api.process import format_address, listen, make_access
    from fieldmark.api.service import ServeOptions, Service

    ends: list[Callable[[], None]] = []

    def serve(folder: Path, *, token: str | None = None, sources: dict[str, Path] | None = None) -> str:
        options = ServeOptions(access=make_access("127.0.0.1", token=token), sources=sources or {})
        service = Service(Gallery.open(folder, runtime=toy_runtime), options=options, runtime=toy_runtime)
        listener = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def end() -> None:
            server.should_exit = True
            thread.join(20)
            listener.close()

        ends.append(end)
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        return format_address(listener).rstrip("/")

    yield serve
    for end in ends:
        end()


@pytest.fixture(scope="module")
def address(served: Callable[..., str], toy_gallery: Path) -> str:
    """The address of the served toy gallery. Only to be read."""
    return served(toy_gallery)


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """Chromium of the system; it ends with each file's tests: its event loop would stop those of others."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(CHROMIUM_NAMES)})")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM_OPTIONS))
        yield browser
        browser.close()


@dataclasses.dataclass
class Watch:
    """What a page did besides what it shows."""

    requests: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    expects_errors: bool = False


@pytest.fixture
def watch() -> Watch:
    """What the page of this test does; a test of a failure sets `expects_errors`."""
    return Watch()


def _is_trouble(said: "ConsoleMessage") -> bool:
    """Tell whether a message is of the page; a driver's remark on how a canvas is read for a screenshot is not."""
    return said.type in {"error", "warning"} and "GL Driver Message" not in said.text


AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


@pytest.fixture(scope="session")
def find_faults() -> "Callable[[Page], list[tuple[str, str]]]":
    """Everything that axe finds, sizes of targets among it; what lies under a sticky bar can be scrolled."""
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()

    def find(page: "Page") -> list[tuple[str, str]]:
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe.axe_script)
        found = page.evaluate("options => axe.run(options)", AXE)["violations"]
        return [
            (each["id"], node["html"][:200])
            for each in found
            for node in each["nodes"]
            if "partially obscured" not in node["failureSummary"]
        ]

    return find


@pytest.fixture
def open_page(chromium: "Browser", watch: Watch, address: str) -> "Iterator[Callable[..., Page]]":
    """Opens a path of a served gallery in a window of its own."""
    contexts = []
    homes = set()

    def open_at(path: str = "/", *, base: str = address, width: int = 1280, **options: object) -> "Page":
        homes.add(base)
        context = chromium.new_context(viewport={"width": width, "height": 900}, permissions=["microphone"], **options)
        context.set_default_timeout(float(os.environ.get("FIELDMARK_TEST_BROWSER_MILLISECONDS", "15000")))
        contexts.append(context)
        context.add_init_script(RECORD_ANSWERS)
        page = context.new_page()
        page.on("request", lambda request: watch.requests.append(request.url))
        page.on("console", lambda said: _is_trouble(said) and watch.errors.append(said.text))
        page.on("pageerror", lambda error: watch.errors.append(str(error)))
        page.goto(base + path)
        return page

    yield open_at
    for context in contexts:
        context.close()
    homes_and_own = (*(f"{home}/" for home in homes), "blob:", "data:")
    assert [url for url in watch.requests if not url.startswith(homes_and_own)] == []
    assert watch.expects_errors or watch.errors == []
