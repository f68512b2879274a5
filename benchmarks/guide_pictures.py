"""Make all pictures of the guides and the README in docs/images, from the folder in which the guides were followed.

    cd FOLDER && fieldmark demo --out demo && cd ... && python benchmarks/guide_pictures.py FOLDER

The folder holds what the guides for a museum and for a researcher make (`cabinet.gallery`, `cabinet/findings.html`,
`three.html`) and a demo. The pictures of the page in general show the invented birds of the demo. Only
`sister_species.jpg` is drawn by a script of its own. Needs Playwright and a Chromium that the system has.
"""

import argparse
import contextlib
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PORT = 8017
START_SECONDS = 180
ALL_DRAWN = """() => [...document.images].every(image => {
    const {top, bottom, width} = image.getBoundingClientRect();
    return width === 0 || bottom < 0 || top > innerHeight || image.hidden || (image.complete && image.naturalWidth > 0);
})"""
"""All pictures in the window are there."""
DRAWN = "name => document.querySelector(name)?.naturalWidth > 0"
"""The first picture of a kind is there."""


@contextlib.contextmanager
def serve(gallery: Path) -> Iterator[str]:
    """Serve a gallery while the block runs; gives the address."""
    command = [sys.executable, "-m", "fieldmark", "serve", "--gallery", str(gallery), "--port", str(PORT), "--quiet"]
    address = f"http://127.0.0.1:{PORT}/"
    with subprocess.Popen(command) as server:
        try:
            for _ in range(START_SECONDS):
                with contextlib.suppress(URLError), urlopen(f"{address}v1/health"):
                    break
                time.sleep(1)
            yield address
        finally:
            server.terminate()


def save(page: Page, name: str) -> None:
    """Save what the window shows as WebP."""
    page.wait_for_function(ALL_DRAWN)
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(IMAGES / name, quality=72, method=6)


def open_window(browser: Browser, size: tuple[int, int], scheme: Literal["light", "dark"], address: str) -> Page:
    """Open an address in a window of its own."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.set_default_timeout(1000 * START_SECONDS)
    page.goto(address)
    page.wait_for_load_state("networkidle")
    return page


def ask(page: Page, text: str) -> None:
    """Type a query and wait for what it finds."""
    page.get_by_role("searchbox").first.fill(text)
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_selector(".results:not(.waiting)")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_function(DRAWN, arg=".card.image img")
    page.wait_for_load_state("networkidle")


def draw_researcher(browser: Browser, folder: Path) -> None:
    """Draw the report of the researcher."""
    save(open_window(browser, (1180, 760), "light", (folder / "three.html").resolve().as_uri()), "report.webp")


def draw_museum(browser: Browser, folder: Path) -> None:
    """Draw the page of the museum: a record by its number, and the table of a curator."""
    with serve(folder / "cabinet.gallery") as address:
        page = open_window(browser, (1180, 760), "light", address)
        ask(page, "B 0001")
        save(page, "museum_page.webp")
        name = page.locator("li.card h3").first.inner_text()
        table = open_window(browser, (1180, 880), "dark", f"{address}?q={quote(name)}&as=table")
        table.locator("tr[data-item]").first.wait_for()
        for row in range(3):
            table.locator("tr [data-pick]").nth(row).check()
        table.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        save(table, "museum_table.webp")


def draw_demo(browser: Browser, folder: Path) -> None:
    """Draw the page over a demo's gallery: a song that was dropped, on a desk and on a phone, a comparison, the map."""
    song = min((folder / "aviary" / "audio").rglob("*.flac"))
    shutil.copyfile(folder / "results.png", IMAGES / "results.png")

    def drop(page: Page) -> None:
        page.locator("#files").set_input_files(song)
        page.wait_for_selector(".results:not(.waiting)")
        page.evaluate("document.activeElement.blur()")
        page.wait_for_function(DRAWN, arg=".card.image img")
        page.wait_for_load_state("networkidle")

    with serve(folder / "gallery") as address:
        desk = open_window(browser, (1100, 860), "light", address)
        drop(desk)
        save(desk, "page.webp")
        phone = open_window(browser, (390, 760), "dark", address)
        save(phone, "page_phone_welcome.webp")
        drop(phone)
        save(phone, "page_phone.webp")
        phone.evaluate("document.querySelector('#group-audio').scrollIntoView()")
        phone.wait_for_function(DRAWN, arg=".card.audio .spectrogram")
        save(phone, "page_phone_sounds.webp")
        names = desk.locator("li.card h3").all_inner_texts()
        pair = [name.replace(" ", "_") for name in dict.fromkeys(names)][:2]
        compare = open_window(browser, (1100, 860), "dark", f"{address}?view=compare&a={pair[0]}&b={pair[1]}")
        compare.wait_for_function(DRAWN, arg=".zoomed img")
        save(compare, "page_compare.webp")
        chart = open_window(browser, (1100, 760), "light", f"{address}?view=map")
        chart.locator(".cluster-names span").first.wait_for(state="attached")
        save(chart, "page_map.webp")


def main() -> None:
    """Draw the pictures from the folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw_researcher(browser, folder)
        draw_museum(browser, folder)
        draw_demo(browser, folder / "demo")
        browser.close()


if __name__ == "__main__":
    main()
