"""Make the pictures of the guides in docs/images, from the folder in which the guides were followed, or a demo's.

    python benchmarks/guide_pictures.py FOLDER
    fieldmark demo --out DEMO && python benchmarks/guide_pictures.py DEMO --demo

The pictures of the page in general show the invented birds of the demo. Needs Playwright and a Chromium that the
system has.
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
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1180, 760
PORT = 8017
START_SECONDS = 180
DRAWN = "name => document.querySelector(name)?.naturalWidth > 0"
"""The first picture of a kind is there."""


@contextlib.contextmanager
def serve(gallery: Path) -> Iterator[str]:
    """Serve a gallery while the block runs; gives the address."""
    code = "from fieldmark.cli.app import main; main()"
    command = [sys.executable, "-c", code, "serve", "--gallery", str(gallery), "--port", str(PORT), "--quiet"]
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
    """Save what the window shows, in few colors so that the file stays small."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(200, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def draw(folder: Path) -> None:
    """Draw the report of the researcher, then the page of the museum."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.set_default_timeout(1000 * START_SECONDS)
        page.goto((folder / "three.html").resolve().as_uri())
        save(page, "report.png")
        with serve(folder / "cabinet.gallery") as address:
            page.goto(address)
            page.get_by_role("searchbox").first.fill("B 0001")
            page.get_by_role("button", name="Search", exact=True).click()
            page.wait_for_selector(".results:not(.waiting)")
            page.wait_for_load_state("networkidle")
            save(page, "museum_page.png")
        browser.close()


def save_small(page: Page, name: str) -> None:
    """Save what the window shows as WebP; a window of twice the pixels is drawn at half its size."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(IMAGES / name, quality=72, method=6)


def draw_demo(folder: Path) -> None:
    """Draw the page over a demo's gallery: a song that was dropped, on a desk and on a phone, a comparison, the map."""
    song = min((folder / "aviary" / "audio").rglob("*.flac"))
    with sync_playwright() as playwright, serve(folder / "gallery") as address:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def open_page(width: int, height: int, scheme: Literal["light", "dark"], path: str = "") -> Page:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_default_timeout(1000 * START_SECONDS)
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            return page

        def drop(page: Page) -> None:
            page.locator("#files").set_input_files(song)
            page.wait_for_selector(".results:not(.waiting)")
            page.evaluate("document.activeElement.blur()")
            page.wait_for_function(DRAWN, arg=".card.image img")

        desk = open_page(1100, 860, "light")
        drop(desk)
        save_small(desk, "page.webp")
        phone = open_page(390, 760, "dark")
        save_small(phone, "page_phone_welcome.webp")
        drop(phone)
        save_small(phone, "page_phone.webp")
        phone.locator("#group-audio").scroll_into_view_if_needed()
        phone.evaluate("document.querySelector('#group-audio').scrollIntoView()")
        phone.wait_for_function(DRAWN, arg=".card.audio .spectrogram")
        save_small(phone, "page_phone_sounds.webp")
        names = desk.locator("li.card h3").all_inner_texts()
        pair = [name.replace(" ", "_") for name in dict.fromkeys(names)][:2]
        compare = open_page(1100, 860, "dark", f"?view=compare&a={pair[0]}&b={pair[1]}")
        compare.wait_for_function(DRAWN, arg=".zoomed img")
        save_small(compare, "page_compare.webp")
        chart = open_page(1100, 760, "light", "?view=map")
        chart.locator(".cluster-names span").first.wait_for(state="attached")
        save_small(chart, "page_map.webp")
        browser.close()


def main() -> None:
    """Draw the pictures from the folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--demo", action="store_true", help="the folder is that of `fieldmark demo --out`")
    options = parser.parse_args()
    (draw_demo if options.demo else draw)(options.folder)


if __name__ == "__main__":
    main()
