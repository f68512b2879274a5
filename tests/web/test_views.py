"""What surrounds the search: marks, comparison, map, collection, token; and who can use the page, and how."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fieldmark.api.jobs import JobQueue

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Watch
    from fieldmark import Item

pytestmark = pytest.mark.slow  # the page is waited for in a real browser

Open = Callable[..., "Page"]
RESULTS = ".results:not(.waiting)"


def test_a_mark_ranks_the_hits_anew(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak")
    page.wait_for_selector(RESULTS)
    card = page.locator("li.card").first
    item = card.get_attribute("data-item")
    with page.expect_request("**/v1/search") as request:
        card.get_by_role("button", name="Wrong").click()
    assert request.value.post_data_json["marks"] == {"relevant": [], "irrelevant": [item]}
    page.locator("#tray").get_by_role("button", name="Clear").click()
    page.locator("#tray").wait_for(state="hidden")


def test_marks_become_a_class_that_can_be_undone(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path]
) -> None:
    page = open_page("/?q=a+red+beak", base=served(copy_gallery()))
    card = page.locator("li.card.audio").first
    item = card.get_attribute("data-item")
    card.get_by_role("button", name="Right").click()
    page.get_by_role("button", name="Save as a class").click()
    dialog = page.get_by_role("dialog", name="Save as a class")
    dialog.get_by_label("Name of the class").fill("Evening singer")
    dialog.get_by_role("button", name="Save").click()
    named = page.locator(f"li.card[data-item='{item}'] h3").filter(has_text="Evening singer")
    named.wait_for()
    page.get_by_role("link", name="Collection").click()
    row = page.locator("tr[data-class='Evening singer']")
    row.wait_for()
    page.get_by_role("button", name="Undo Evening singer").click()
    row.wait_for(state="detached")


def test_right_hits_are_exported_with_their_moments(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak")
    card = page.locator("li.card.audio").first
    card.get_by_role("button", name="Right").click()
    page.locator("#tray").get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Raven selection table").click()
    assert download.value.suggested_filename.endswith(".txt")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert "Begin Time (s)" in lines[0].split("\t")
    assert len(lines) >= 2


def test_two_species_stand_side_by_side(open_page: Open, class_names: list[str]) -> None:
    page = open_page("/?view=compare")
    page.get_by_label("First species").select_option(class_names[0])
    page.get_by_label("Second species").select_option(class_names[2])
    panes = page.locator(".pane")
    page.wait_for_function("() => document.querySelectorAll('.pane img.spectrogram[src]').length === 2")
    assert panes.count() == 8
    assert f"a={class_names[0]}" in page.url
    photo = panes.first.locator("img")
    before = photo.get_attribute("src")
    panes.first.get_by_role("button", name="Next photo").click()
    assert panes.first.locator("img").get_attribute("src") != before
    assert "2 of 6" in panes.first.inner_text()


def test_a_point_of_the_map_leads_to_its_item(open_page: Open) -> None:
    page = open_page("/?view=map")
    canvas = page.get_by_role("application", name="Map of the collection")
    canvas.focus()
    page.locator(".point-name").wait_for()
    first = page.locator(".point-name").inner_text()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "+"):
        canvas.press(key)
    canvas.press("Enter")
    page.locator(".map-side article").wait_for()
    assert first
    shown = page.locator(".map-side h3").inner_text()
    assert page.locator(".point-name").inner_text().startswith(shown)
    page.locator(".map-side").get_by_role("button", name="More like this").click()
    page.wait_for_selector(RESULTS)


def test_the_map_can_be_dragged_zoomed_and_clicked(open_page: Open) -> None:
    page = open_page("/?view=map")
    box = page.locator(".chart canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before = page.locator(".chart canvas").screenshot()
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1] + 40, steps=3)
    page.mouse.up()
    page.wait_for_url("**at=**")  # it is written once the map is at rest
    dragged = page.locator(".chart canvas").screenshot()
    assert dragged != before
    place = page.url
    page.mouse.wheel(0, -300)
    page.wait_for_function("place => location.href !== place", arg=place)
    assert page.locator(".chart canvas").screenshot() != dragged
    page.get_by_role("button", name="The whole map").click()
    page.locator(".chart canvas").focus()
    name = page.locator(".point-name")
    name.wait_for()
    position = name.evaluate("each => [parseFloat(each.style.left), parseFloat(each.style.top)]")
    box = page.locator(".chart canvas").bounding_box()  # the focus has scrolled it into view
    page.mouse.click(box["x"] + position[0], box["y"] + position[1])
    page.locator(".map-side article").wait_for()


def test_the_collection_is_counted_and_a_source_indexed(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path], toy_manifest: Path
) -> None:
    page = open_page("/?view=collection", base=served(copy_gallery(), sources={"aviary": toy_manifest}))
    page.locator(".numbers").wait_for()
    assert page.locator(".numbers strong").all_text_contents() == ["18", "18", "18", "18"]
    page.get_by_role("button", name="Index aviary").click()
    page.locator(".jobs [data-state=done]").wait_for(state="attached")


@pytest.fixture
def held_songs(
    served: Callable[..., str],
    copy_gallery: Callable[[], Path],
    toy_items: "tuple[Item, ...]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[str, threading.Event]]:
    """The address of a gallery whose job waits, with two of its six songs added, and the event that lets it go on."""
    songs = tmp_path / "songs"
    songs.mkdir()
    paths = [item.path for item in toy_items if item.medium == "audio" and item.path is not None]
    for number in range(6):
        shutil.copy(paths[number % len(paths)], songs / f"new-{number}.flac")
    gate, change = threading.Event(), JobQueue.change

    def held_change(queue: JobQueue, job_id: str, **values: object) -> None:
        change(queue, job_id, **values)
        if values.get("task") == "add":
            gate.wait(60)

    monkeypatch.setattr(JobQueue, "change", held_change)
    monkeypatch.setattr("fieldmark.embedding.BLOCK_ITEMS", 2)
    yield served(copy_gallery(), sources={"songs": songs}), gate
    gate.set()


def test_a_job_is_cancelled_on_the_page_and_run_again(open_page: Open, held_songs: tuple[str, threading.Event]) -> None:
    base, gate = held_songs
    page = open_page("/?view=collection", base=base)
    page.get_by_role("button", name="Index songs").click()
    row = page.locator(".jobs [data-state=running]")
    row.get_by_text("2 of 6").wait_for()
    assert row.locator("progress").get_attribute("value") == "2"
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        row.get_by_role("button", name="Cancel").press("Enter")
    gate.set()
    ended = page.locator(".jobs [data-state=cancelled]")
    ended.get_by_text("cancelled").wait_for()
    assert not ended.get_by_role("button", name="Cancel").is_visible()
    page.locator(".numbers .audio strong").get_by_text("20").wait_for()
    page.goto(f"{base}/?q=a+trill&media=audio&k=30")
    page.wait_for_selector(RESULTS)
    assert page.locator("li.card.audio").count() == 20
    assert page.locator("li.card.audio[data-item*=new-]").count() == 2
    page.goto(f"{base}/?view=collection")
    page.get_by_role("button", name="Index songs").click()
    page.locator(".jobs [data-state=done]").get_by_text("added count 4").wait_for()


def test_axe_finds_nothing_in_a_job_that_runs(
    open_page: Open, find_faults: Callable[..., list[tuple[str, str]]], held_songs: tuple[str, threading.Event]
) -> None:
    page = open_page("/?view=collection", base=held_songs[0], reduced_motion="reduce")
    page.get_by_role("button", name="Index songs").click()
    page.locator(".jobs [data-state=running]").get_by_text("2 of 6").wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert find_faults(page) == []


def test_html_in_names_is_shown_and_never_run(
    open_page: Open, served: Callable[..., str], hostile_gallery: Path, hostile_name: str, watch: "Watch"
) -> None:
    base = served(hostile_gallery)
    for path in ("/", "/?q=a+red+beak&k=20", "/?view=map", "/?view=collection", "/?view=compare"):
        page = open_page(path, base=base)
        page.wait_for_load_state("networkidle")
        assert page.title() != "pwned"
        assert page.locator("main img[src=x], main script, a[href^='javascript:']").count() == 0
        if "map" not in path and path != "/?view=compare":
            assert hostile_name in page.locator("main").inner_text()
        page.close()
    assert not any(url.endswith("/x") for url in watch.requests)


def test_a_gallery_with_a_token_asks_for_it_once(
    open_page: Open, served: Callable[..., str], toy_gallery: Path, watch: "Watch"
) -> None:
    watch.expects_errors = True
    page = open_page(base=served(toy_gallery, token="a-token-of-32-letters-for-the-test"))
    dialog = page.get_by_role("dialog", name="Token")
    dialog.get_by_label("Token").fill("a-token-of-32-letters-for-the-test")
    dialog.get_by_role("button", name="Open").click()
    page.locator(".tiles img").first.wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('.tiles img')].every(each => each.naturalWidth > 0)")
    page.get_by_role("searchbox", name="Describe it").fill("a red beak")
    page.keyboard.press("Enter")
    page.wait_for_selector(RESULTS)
