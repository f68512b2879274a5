"""Make the pictures of the guides in docs/images, from the folder in which the guides were followed.

    python benchmarks/guide_pictures.py FOLDER

Needs Playwright and a Chromium that the system has.
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
from urllib.error import URLError
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1180, 760
PORT = 8017
START_SECONDS = 180


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


def main() -> None:
    """Draw the pictures from the folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    draw(parser.parse_args().folder)


if __name__ == "__main__":
    main()
