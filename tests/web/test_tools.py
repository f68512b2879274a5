"""The tools of the page: player, table, selection, comparison, map."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from search_answers import expect_answer

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Watch

pytestmark = pytest.mark.slow  # the page is waited for in a real browser

Open = Callable[..., "Page"]
RESULTS = ".results:not(.waiting)"
NAMES = "tr[data-item] .linkish"


def test_a_player_resumes_seeks_repeats_slows_down_recovers_and_saves(open_page: Open, watch: "Watch") -> None:
    watch.expects_errors = True  # the file that cannot be decoded
    page = open_page("/?q=a+red+beak&media=audio")
    card = page.locator("li.card.audio").nth(1)
    audio = card.locator("audio")
    play = card.locator(".play")
    name = play.get_attribute("aria-label") or ""
    start, end = (60 * int(m) + float(s) for m, s in re.findall(r"(\d+):([\d.]+)", name))
    card.locator(".waveform path").wait_for(state="attached")
    assert card.locator(".hertz").inner_text().split() == ["2", "4", "6", "8", "10", "kHz"]
    assert re.fullmatch(r"[\d.]+ s", card.locator(".axis span").first.inner_text())
    # Sought while paused, it stays paused, and Play goes on from there; paused and played again, it resumes.
    middle = (start + end) / 2
    card.get_by_label("Position in the recording").fill(f"{middle:.1f}")
    page.wait_for_function(
        f"audio => audio.paused && Math.abs(audio.currentTime - {middle}) < 0.2", arg=audio.element_handle()
    )
    times = audio.evaluate(
        """async audio => {
            const next = kind =>
                new Promise(done => audio.addEventListener(kind, () => done(audio.currentTime), {once: true}));
            const find = each => audio.closest(".player").querySelector(each);
            const first = next("play"); find(".play").click(); const begun = await first;
            while (audio.currentTime <= begun) await next("timeupdate");
            const held = next("pause"); find(".play").click(); const paused = await held;
            const second = next("play"); find(".play").click(); const resumed = await second;
            audio.playbackRate = 0.5; // so that a busy machine stops it no later than another
            return {begun, paused, resumed, ended: await next("pause")};
        }"""
    )
    assert times["begun"] == pytest.approx(middle, abs=0.1)
    assert times["resumed"] == pytest.approx(times["paused"], abs=0.1)
    assert times["ended"] == pytest.approx(end, abs=0.3)
    # Repeated at half speed: it comes back to the beginning by itself.
    card.get_by_role("button", name="Half speed").click()
    card.get_by_role("button", name="Repeat the moment").click()
    assert audio.evaluate("audio => [audio.playbackRate, audio.preservesPitch]") == [0.5, False]
    card.get_by_label("Position in the recording").fill(f"{end - 0.2:.1f}")
    play.click()
    page.wait_for_function(f"audio => !audio.paused && audio.currentTime < {end - 0.4}", arg=audio.element_handle())
    play.click()
    # Zoom and contrast draw another picture; the moment is saved with the time around it.
    card.get_by_label("More of this player").click()
    for act in ("Zoom in", "Contrast"):
        before = card.locator(".spectrogram").get_attribute("src")
        if act == "Contrast":
            card.get_by_label(act).fill("90")
        else:
            card.get_by_role("button", name=act).click()
        page.wait_for_function(
            "([image, old]) => image.src && !image.src.endsWith(old)",
            arg=[card.locator(".spectrogram").element_handle(), before],
        )
    assert "floor_db=30" in (card.locator(".spectrogram").get_attribute("src") or "")
    card.get_by_label("Before and after").select_option("1")
    with page.expect_download() as download:
        card.get_by_role("link", name="Save the moment").click()
    assert download.value.suggested_filename.endswith("s.wav")
    # A file that the browser cannot decode is played from a cut copy.
    other = page.locator("li.card.audio").nth(2)
    page.route("**/v1/media/**", lambda route: route.fulfill(body=b"no sound", content_type="audio/flac"))
    other.locator(".play").click()
    page.wait_for_function(
        "audio => audio.src.includes('/v1/clips/') && audio.currentTime > 0.1",
        arg=other.locator("audio").element_handle(),
    )


def test_a_curator_sorts_selects_labels_undoes_hides_and_exports(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path]
) -> None:
    page = open_page("/?q=a+red+beak&as=table", base=served(copy_gallery()))
    rows = page.locator("tr[data-item]")
    rows.first.wait_for()
    page.get_by_role("columnheader", name="Id").get_by_role("button").press("Enter")
    ids = rows.evaluate_all("rows => rows.map(each => each.dataset.item)")
    assert ids == sorted(
        ids, key=lambda each: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", each)]
    )
    # A range by keyboard and shift key; then as one label, noted, undone and made again.
    boxes = page.locator("tr [data-pick]")
    boxes.nth(1).press("Space")
    boxes.nth(4).click(modifiers=["Shift"])
    assert page.locator("#tray-selection b").inner_text() == "4"
    former = page.locator("tr[data-item]").nth(1).locator("td").nth(3).inner_text()
    page.get_by_role("button", name="Label", exact=True).click()
    dialog = page.get_by_role("dialog", name="Label the selection")
    dialog.get_by_label("Name of the class").fill("Evening singer")
    dialog.get_by_label("Your name").fill("Ana")
    dialog.get_by_role("button", name="Save").click()
    page.wait_for_function(
        f"() => [...document.querySelectorAll('{NAMES}')].filter(e => e.textContent === 'Evening singer').length === 4"
    )
    page.locator("#toast").get_by_role("button", name="Undo").click()
    page.wait_for_function(
        f"() => ![...document.querySelectorAll('{NAMES}')].some(each => each.textContent === 'Evening singer')"
    )
    assert former in page.locator("tbody").inner_text()
    # The cards know the same selection; what is nearly identical is hidden, the rest exported with its media.
    page.get_by_role("button", name="Cards").click()
    assert page.locator("li.card.selected").count() == 4
    ids = page.locator("li.card.image").evaluate_all("cards => cards.map(each => each.dataset.item)")
    page.route(
        "**/v1/marks/alike",
        lambda route: route.fulfill(
            json={"groups": [ids[:2]] if ids[0] in route.request.post_data_json["item_ids"] else [], "pending_count": 0}
        ),
    )
    page.get_by_label("With all hits").click()
    page.get_by_role("button", name="Hide near-identical").click()
    page.get_by_text("1 hit is hidden").wait_for()
    assert page.locator(f"li.card[data-item='{ids[1]}']").is_hidden()
    assert "alike=once" in page.url
    page.get_by_role("button", name="Export selection").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Media of the moments").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 5
    page.get_by_role("link", name="Collection").click()
    page.locator(".numbers").wait_for()
    assert page.get_by_text("Saved labels").count() == 0  # the only one was undone


def test_each_column_of_the_table_is_as_wide_as_its_values_and_back_finds_its_place(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak&as=table&k=18", width=1920)
    page.wait_for_selector(".hits.fixed tbody tr:nth-child(72)")
    assert page.locator(".hits tr > *").evaluate_all("all => all.every(each => each.scrollWidth <= each.clientWidth)")
    assert page.locator("th").all_inner_texts()[:4] == ["Rank", "Medium", "Species", "Likely"]
    assert page.get_by_role("columnheader", name="Place").count() == 0  # nothing here has one
    page.locator(".hits-frame").evaluate("frame => frame.scrollTo(0, 500)")
    page.get_by_role("link", name="Collection").click()
    page.locator(".numbers").wait_for()
    page.go_back()
    page.wait_for_function("() => document.querySelector('.hits-frame')?.scrollTop === 500")


HEAR = """() => {
    window.heard = [];
    document.querySelectorAll(".group.audio audio").forEach((audio, index) =>
        audio.addEventListener("playing", () => {
            window.heard.push(index);
            audio.currentTime = Math.max(audio.currentTime, audio.duration - 0.2);
        }, {once: true}));
}"""


def test_four_species_are_compared_zoomed_together_and_heard_in_turn(open_page: Open, class_names: list[str]) -> None:
    names = class_names
    page = open_page(f"/?view=compare&a={names[0]}&b={names[1]}")
    page.get_by_role("button", name="Add a species").click()
    page.get_by_label("Third species").select_option(names[2])
    page.wait_for_function("() => document.querySelectorAll('.group.image .zoomed img').length === 3")
    assert f"c={names[2]}" in page.url
    photos = page.locator(".zoomed img")
    assert "whole=true" in (photos.first.get_attribute("src") or "")
    assert photos.first.evaluate("photo => getComputedStyle(photo).objectFit") == "contain"
    page.locator(".zoomed").first.press("+")
    page.locator(".zoomed").first.press("ArrowLeft")
    placed = photos.evaluate_all("photos => photos.map(each => each.style.transform)")
    assert len(set(placed)) == 1
    assert "scale(1.5)" in placed[0]
    assert "translate(0%" not in placed[0]
    page.wait_for_function("() => document.querySelectorAll('.group.audio audio').length === 3")
    page.evaluate(HEAR)
    page.get_by_role("button", name="One after the other").press("Enter")
    page.wait_for_function("() => window.heard.join() === '0,1,2'")
    assert page.locator(".differing dt").count() == 3
    assert page.locator(".differing .word").count() > 0


def test_a_fourth_species_is_compared_and_taken_out_again(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path], class_names: list[str]
) -> None:
    from fieldmark import Gallery
    from fieldmark.gallery.labels import save_class

    folder = copy_gallery()
    opened = Gallery.open(folder)
    of_third = [each.item for each in opened.index.items(limit=1000) if each.item.class_name == class_names[2]]
    chosen = {each.medium: each.item_id for each in of_third}
    save_class(folder, opened.index, class_name="Evening singer", item_ids=list(chosen.values()))
    names = [*class_names[:3], "Evening singer"]
    page = open_page(f"/?view=compare&a={names[0]}&b={names[1]}&c={names[2]}", base=served(folder))
    page.get_by_role("button", name="Add a species").click()
    page.get_by_label("Fourth species").select_option(names[3])
    page.wait_for_function("() => document.querySelectorAll('.group.image .zoomed img').length === 4")
    assert "d=Evening" in page.url
    assert page.get_by_role("button", name="Add a species").count() == 0  # four are the most
    for medium in ("image", "audio", "text"):
        assert page.locator(f".group.{medium} .pane").count() == 4
    for width, columns in ((1280, 4), (390, 2)):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.documentElement.clientWidth === width", arg=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        places = page.locator(".group.image .pane").evaluate_all("all => all.map(e => e.getBoundingClientRect().left)")
        assert len({round(each) for each in places}) == columns
    page.locator(".zoomed").last.press("+")
    placed = page.locator(".zoomed img").evaluate_all("photos => photos.map(each => each.style.transform)")
    assert len(set(placed)) == 1
    assert "scale(1.5)" in placed[0]
    page.get_by_role("button", name=f"Remove {names[1].replace('_', ' ')}").click()
    page.wait_for_function("() => document.querySelectorAll('.group.image .zoomed img').length === 3")
    assert page.locator(".pair-choice select").evaluate_all("all => all.map(each => each.value)") == [
        *(names[0], names[2]),
        names[3],
    ]


HOLD_ITEMS = """
const fetchNow = fetch;
const held = new Promise(done => (window.letGo = done));
window.fetch = async (...args) => {
  const url = String(args[0]);
  if (url.includes("media=video") || (url.includes("media=audio") && url.includes("class_names=SECOND"))) await held;
  return fetchNow(...args);
};
"""


def test_what_comes_late_to_a_comparison_stops_no_song_and_has_its_turn(
    open_page: Open, class_names: list[str]
) -> None:
    page = open_page(f"/?view=compare&a={class_names[0]}&b={class_names[1]}")
    page.add_init_script(HOLD_ITEMS.replace("SECOND", class_names[1]))
    page.reload()
    first = page.locator(".group.audio audio").first
    first.evaluate("audio => (audio.defaultPlaybackRate = audio.playbackRate = 0.1)")  # so that it lasts
    page.get_by_role("button", name="One after the other").press("Enter")
    page.wait_for_function("audio => audio.currentTime > 0", arg=first.element_handle())
    page.evaluate("window.letGo()")
    page.locator(".group.video video").nth(1).wait_for()
    page.locator(".group.audio audio").nth(1).wait_for(state="attached")
    assert not first.evaluate("audio => audio.paused")
    first.evaluate("audio => (audio.currentTime = audio.duration - 0.01)")
    second = page.locator(".group.audio audio").nth(1)
    page.wait_for_function("audio => audio.currentTime > 0", arg=second.element_handle())


def test_the_map_keeps_its_place_names_species_shows_media_and_its_lasso_filters(open_page: Open) -> None:
    page = open_page("/?view=map&at=0.4,0.6,1.5")
    canvas = page.get_by_role("application", name="Map of the collection")
    box = canvas.bounding_box()
    page.locator(".cluster-names span").first.wait_for(state="attached")
    canvas.focus()
    page.locator(".point-name img, .point-name q").first.wait_for()
    canvas.press("0")
    page.wait_for_url("**at=0.5000%2C0.5000%2C0.92")
    page.get_by_role("button", name="Lasso").click()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for x, y in ((1, 0), (1, 1), (0, 1)):
        page.mouse.move(
            box["x"] + 20 + x * (box["width"] - 40) * 0.6, box["y"] + 20 + y * (min(box["height"], 800) - 60)
        )
    page.mouse.up()
    caught = int((page.locator(".area-bar").inner_text().split() or ["0"])[0])
    assert caught > 0
    page.get_by_role("button", name="Search only there").click()
    page.get_by_role("button", name="area of the map").wait_for()
    page.get_by_role("searchbox", name="Describe it").fill("a red beak")
    with page.expect_response("**/v1/search") as response, expect_answer(page) as answer:
        page.keyboard.press("Enter")
    assert len(response.value.request.post_data_json["area"]) >= 3
    assert "area=" in page.url
    assert 0 < len(answer.body["hits"]) <= caught
