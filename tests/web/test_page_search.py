"""Searching on the page: what is asked, what is answered, what plays."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from search_answers import expect_answer

from fieldmark.types import Medium

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from conftest import Watch

pytestmark = pytest.mark.slow  # the page is waited for in a real browser

Open = Callable[..., "Page"]
RESULTS = ".results:not(.waiting)"
NAMES = {"image": "Photos", "text": "Texts", "video": "Videos", "audio": "Sounds"}


def file_of(manifest: Path, medium: Medium) -> Path:
    return sorted(path for path in (manifest.parent / medium).rglob("*") if path.is_file())[0]


def ask(page: "Page", text: str) -> None:
    page.get_by_role("searchbox", name="Describe it").fill(text)
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector(f"main:not([aria-busy]) {RESULTS}")  # and not those of the search before


def upload(page: "Page", *paths: Path) -> None:
    page.locator("#files").set_input_files(paths)
    page.wait_for_selector(RESULTS)


def change_answers(page: "Page", change: Callable[[dict[str, Any]], None]) -> None:
    """Lets the server answer a search, and changes what it says on the way."""

    def pass_on(route: "Route") -> None:
        answer = route.fetch()
        body = answer.json()
        change(body)
        route.fulfill(response=answer, body=json.dumps(body))

    page.route("**/v1/search", pass_on)


@pytest.mark.parametrize("medium", list(Medium))
def test_a_file_of_each_medium_finds_all_media(open_page: Open, toy_manifest: Path, medium: Medium) -> None:
    page = open_page()
    with expect_answer(page) as answer:
        upload(page, file_of(toy_manifest, medium))
    assert answer.body["query"]["medium"] == medium
    for each, name in NAMES.items():
        assert page.get_by_role("region", name=name).locator(f"li.card.{each}").count() > 0


def test_a_photo_and_a_song_are_searched_as_one(open_page: Open, toy_manifest: Path) -> None:
    page = open_page()
    with expect_answer(page) as answer:
        upload(page, file_of(toy_manifest, Medium.IMAGE), file_of(toy_manifest, Medium.AUDIO))
    assert answer.body["query"]["media"] == ["image", "audio"]
    assert page.locator("#chips li").count() == 2
    with expect_answer(page) as answer:
        page.locator("#chips button").first.click()
    assert answer.body["query"]["media"] == ["audio"]


def test_words_are_searched_and_stand_in_the_address(open_page: Open, address: str) -> None:
    page = open_page()
    ask(page, "a red beak")
    assert page.url == f"{address}/?q=a+red+beak"
    first = page.locator("li.card h3").all_text_contents()
    page.reload()
    page.wait_for_selector(RESULTS)
    assert page.get_by_role("searchbox", name="Describe it").input_value() == "a red beak"
    assert page.locator("li.card h3").all_text_contents() == first
    page.go_back()
    page.get_by_role("heading", name="Search with whatever you have").wait_for()


def test_a_dropped_and_a_pasted_file_are_searched(open_page: Open, toy_manifest: Path) -> None:
    page = open_page()
    photo = list(file_of(toy_manifest, Medium.IMAGE).read_bytes())
    give = """([bytes, kind]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "given.jpg", {type: "image/jpeg"}));
        const options = {bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer};
        const event = kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
        document.body.dispatchEvent(event);
    }"""
    page.evaluate(give, [photo, "dragenter"])
    assert page.locator("#drop-veil").is_visible()
    page.evaluate(give, [photo, "drop"])
    page.wait_for_selector(RESULTS)
    assert page.locator("#drop-veil").is_hidden()
    page.evaluate(give, [[*photo, 0], "paste"])
    page.locator("#chips li").nth(1).wait_for()


def test_a_recording_is_searched(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name=re.compile(r"Stop 0:(00\.[5-9]|0[1-9]|[1-5])")).wait_for()
    with expect_answer(page) as answer:
        page.get_by_role("button", name="Stop and search").click()
    assert answer.body["query"]["medium"] == "audio"
    page.wait_for_selector(RESULTS)
    assert "recording.wav" in page.locator("#chips").inner_text()


@pytest.mark.parametrize("medium", ["audio", "video"])
def test_a_player_plays_the_hits_moment_and_stops_at_its_end(open_page: Open, medium: str) -> None:
    page = open_page(f"/?q=a+red+beak&media={medium}&k=12")
    page.wait_for_selector(RESULTS)
    # A moment that begins later in its file: one at zero would be met without seeking.
    card = (
        page.locator("li.card")
        .filter(has=page.get_by_role("button", name=re.compile(r"moment 0:0[0-9]\.[1-9]|moment 0:0[1-9]")))
        .first
    )
    button = card.get_by_role("button", name="Play the moment")
    start, end = (
        60 * int(minutes) + float(seconds)
        for minutes, seconds in re.findall(r"(\d+):([\d.]+)", button.get_attribute("aria-label") or "")
    )
    assert start > 0
    # Slowly: a busy machine then stops it no later than another.
    begun, ended = card.locator(medium).evaluate(
        """async media => {
            const next = kind =>
                new Promise(done => media.addEventListener(kind, () => done(media.currentTime), {once: true}));
            const [first, last] = [next("play"), next("pause")];
            media.closest(".player").querySelector(".play").click();
            media.playbackRate = 0.5;
            return [await first, await last];
        }"""
    )
    assert begun == pytest.approx(start, abs=0.1)
    assert ended == pytest.approx(end, abs=0.3)


def test_a_sound_shows_its_outline_its_spectrogram_and_the_moment(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak&media=audio")
    card = page.locator("li.card.audio").first
    card.locator(".waveform path").wait_for(state="attached")
    spectrogram = card.locator("img.spectrogram")
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=spectrogram.element_handle())
    assert card.locator(".moment-mark").bounding_box()["width"] > 10
    stage = card.locator(".stage")
    box = stage.bounding_box()
    stage.click(position={"x": box["width"] / 2, "y": 40})
    page.wait_for_function("audio => audio.currentTime > 0.5", arg=card.locator("audio").element_handle())
    assert card.locator(".cursor").is_visible()
    cursor = card.locator(".cursor").bounding_box()
    assert cursor["x"] - box["x"] == pytest.approx(box["width"] / 2, abs=6)


def test_filters_narrow_the_hits_and_stand_in_the_address(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak")
    page.locator("#filters").get_by_label("Sounds").check()
    # In one look: while a search runs, no card stands there.
    page.wait_for_function("() => document.querySelector('li.card.audio') && !document.querySelector('li.card.image')")
    page.get_by_label("Species", exact=True).first.click()
    choice = page.locator("details[data-name=Species] label").nth(1)
    name = choice.locator("span").first.inner_text()
    choice.click()
    page.wait_for_function(
        "name => [...document.querySelectorAll('li.card h3')].every(each => each.textContent === name)", arg=name
    )
    assert "media=audio" in page.url
    assert f"class={name.replace(' ', '_')}" in page.url
    page.get_by_role("button", name="Clear", exact=True).click()
    page.wait_for_selector("li.card.image")


def test_words_that_name_a_species_find_it_by_its_name(open_page: Open) -> None:
    page = open_page()
    tile = page.locator(".tile").first
    name = tile.inner_text()
    tile.click()
    page.get_by_role("heading", name=name, level=2).wait_for()
    assert page.locator("li.card h3").first.inner_text() == name
    assert "matches the name" in page.locator("li.card").first.inner_text()


def test_a_collection_without_labels_is_entered_by_its_photos(open_page: Open) -> None:
    page = open_page()
    gallery = page.evaluate("async () => (await fetch('/v1/gallery')).json()")
    unlabeled = {**gallery, "class_count": 0, "calibrated_pairs": ["text_to_image"]}
    page.route("**/v1/gallery", lambda route: route.fulfill(json=unlabeled))
    page.route("**/v1/classes", lambda route: route.fulfill(json={"classes": []}))
    page.reload()
    tile = page.locator(".tile").first
    tile.locator("img").wait_for()
    assert "but names are found" in page.locator(".welcome").inner_text()
    assert "species" not in page.locator("#holding").inner_text()
    tile.click()
    page.wait_for_url("**/?item=*")
    page.wait_for_selector(RESULTS)


def test_more_like_a_hit_asks_with_the_item(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak")
    card = page.locator("li.card.image").first
    item = card.get_attribute("data-item")
    card.get_by_role("button", name="More like").click()
    page.wait_for_url(f"**/?item={item}")
    page.wait_for_selector(RESULTS)
    assert f"like {item}" in page.locator("#chips").inner_text()


def test_show_more_brings_more_hits_of_each_medium(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak&k=2")
    page.get_by_role("button", name="Show more of these: Photos").click()
    page.wait_for_function("() => document.querySelectorAll('li.card').length === 16")


def test_a_class_that_is_not_there_is_said(open_page: Open) -> None:
    page = open_page()

    def doubt(body: dict[str, Any]) -> None:
        body["collection"] = {"probability": 0.04, "is_likely": False, "is_unlikely": True, "threshold": 0.5}
        for hit in body["hits"]:
            hit["probability"] = 0.96

    change_answers(page, doubt)
    ask(page, "a red crest")
    assert page.get_by_role("heading", name="Probably not in this collection").is_visible()
    assert "4 %" in page.locator(".verdict").inner_text()
    assert all(
        "96 % if it is in the collection" in score.inner_text() for score in page.locator("li.card .score").all()
    )


def test_few_words_that_fit_several_species_are_answered_with_a_doubt(open_page: Open) -> None:
    page = open_page()

    def doubt(body: dict[str, Any]) -> None:
        body["collection"] = {"probability": 0.41, "is_likely": False, "is_unlikely": False, "threshold": 0.5}

    change_answers(page, doubt)
    ask(page, "a red cap")
    assert page.locator(".verdict h2").inner_text().startswith("Perhaps ")
    assert "The chance that this collection holds the species is 41 %." in page.locator(".verdict").inner_text()
    assert "Your words fit several species" in page.locator(".verdict").inner_text()


def test_the_page_says_where_it_cannot_tell_whether_a_class_is_there(open_page: Open) -> None:
    page = open_page()

    def doubt(body: dict[str, Any]) -> None:
        said = {"probability": 0.04, "is_likely": False, "is_unlikely": False, "threshold": 0.5, "can_tell": False}
        body["collection"] = said

    change_answers(page, doubt)
    ask(page, "a dark shape")
    assert page.locator(".verdict h2").inner_text().startswith("Perhaps ")
    verdict = page.locator(".verdict").inner_text()
    assert "cannot tell whether this collection holds the species" in verdict
    assert "%" not in verdict


def test_a_name_that_nothing_bears_is_told_apart_from_a_species_that_is_missing(open_page: Open) -> None:
    page = open_page()

    def name(body: dict[str, Any]) -> None:
        body["query"] |= {"class_name": "Limpkin", "is_understood": True, "is_on_topic": True}
        body["collection"] = {"probability": 0.02, "is_likely": False, "is_unlikely": True, "threshold": 0.6}
        body |= {"is_called": True, "is_by_encoders": True, "left_out": ["video"]}

    change_answers(page, name)
    ask(page, "a limpkin")
    assert page.get_by_role("heading", name="Nothing here is called Limpkin").is_visible()
    assert "Left out, as no encoder compares them with your query: videos." in page.locator(".results").inner_text()


def test_a_line_divides_hits_from_neighbors(open_page: Open) -> None:
    page = open_page()

    def divide(body: dict[str, Any]) -> None:
        for hit in body["hits"]:
            hit["probability"] = 0.8 if hit["medium"] == "image" else 0.2
        images = [hit for hit in body["hits"] if hit["medium"] == "image"]
        images[-1]["probability"] = 0.4

    change_answers(page, divide)
    ask(page, "a red cap")
    entries = page.locator(".group.image .cards > li").all()
    assert [entry.get_attribute("class") == "line" for entry in entries] == [False] * (len(entries) - 2) + [True, False]
    assert page.locator(".group.audio .cards > li.line").count() == 0  # nothing above it to be divided from


@pytest.mark.parametrize(("probability", "shown"), [(0.004, "under 1 %"), (0.996, "over 99 %"), (1.0, "100 %")])
def test_only_certainty_is_called_0_or_100_percent(open_page: Open, probability: float, shown: str) -> None:
    page = open_page()

    def be_sure(body: dict[str, Any]) -> None:
        for hit in body["hits"]:
            hit["probability"] = probability

    change_answers(page, be_sure)
    ask(page, "a red beak")
    assert all(shown in score.inner_text() for score in page.locator("li.card .score").all())


def test_a_hit_says_why_and_leads_to_its_look_alike(open_page: Open) -> None:
    page = open_page()

    def add_reason(body: dict[str, Any]) -> None:
        names = sorted({hit["class_name"] for hit in body["hits"]})
        for hit in body["hits"]:
            hit |= {
                "probability": 0.87,
                "margin": 0.123,
                "look_alike": next(each for each in names if each != hit["class_name"]),
            }

    change_answers(page, add_reason)
    ask(page, "a red beak")
    card = page.locator("li.card").first
    assert card.locator(".score").inner_text() == "87 % likely"
    assert "0.123 closer than" not in card.inner_text()
    card.locator(".why summary").click()
    card.get_by_text("0.123 closer than").wait_for()  # written when the browser tells that it is open
    card.get_by_role("button", name=re.compile(" with ")).first.click()
    page.get_by_role("heading", name="Side by side").wait_for()
    assert page.locator(".pane").count() == 8


def test_nothing_found_offers_to_clear_the_filters(open_page: Open, watch: "Watch") -> None:
    watch.expects_errors = True  # there is no such set
    page = open_page("/?q=a+red+beak&set=nowhere")
    page.get_by_role("heading", name="Nothing found").wait_for()
    page.get_by_role("button", name="Clear the filters").click()
    page.wait_for_selector(RESULTS)


def test_an_error_is_told_in_the_servers_words(open_page: Open, watch: "Watch", tmp_path: Path) -> None:
    watch.expects_errors = True
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture at all")
    page = open_page()
    with page.expect_response("**/v1/search") as response, expect_answer(page) as answer:
        page.locator("#files").set_input_files(broken)
    alert = page.get_by_role("alert").filter(has=page.get_by_role("heading"))
    alert.wait_for()
    assert response.value.status == 422
    assert answer.body["message"] in alert.inner_text()
    page.locator("#chips button").click()
    page.get_by_role("heading", name="Search with whatever you have").wait_for()


def test_a_server_that_is_gone_is_told_and_tried_again(open_page: Open, watch: "Watch") -> None:
    watch.expects_errors = True
    page = open_page()
    page.route("**/v1/search", lambda route: route.abort())
    page.get_by_role("searchbox", name="Describe it").fill("a red beak")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="The server cannot be reached").wait_for()
    page.unroute("**/v1/search")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(RESULTS)


def test_names_are_completed_while_somebody_types(open_page: Open) -> None:
    page = open_page()
    field = page.locator("#ask-text")
    wanted = page.evaluate("async () => (await (await fetch('/v1/classes')).json()).classes[1].class_name").replace(
        "_", " "
    )
    field.fill(wanted[:5].lower())
    page.wait_for_selector("#names [role=option]")
    shown = page.locator("#names [role=option] > span:first-child").all_inner_texts()
    assert wanted in shown
    for _ in range(shown.index(wanted) + 1):
        field.press("ArrowDown")
    chosen = page.locator("#names [aria-selected=true]")
    assert wanted in chosen.inner_text()
    assert field.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    field.press("Enter")
    page.wait_for_selector(RESULTS)
    assert field.input_value() == wanted
    assert page.locator("#names").is_hidden()
    assert page.locator(".verdict h2").inner_text() == wanted


def test_escape_closes_the_offered_names_and_keeps_what_was_typed(open_page: Open) -> None:
    page = open_page()
    name = page.evaluate("async () => (await (await fetch('/v1/classes')).json()).classes[0].class_name")
    page.locator("#ask-text").fill(name[:5])
    page.wait_for_selector("#names [role=option]")
    page.locator("#ask-text").press("Escape")
    assert page.locator("#names").is_hidden()
    assert page.locator("#ask-text").input_value() == name[:5]


def test_the_answer_ranks_classes_once_and_tells_contradictions_and_absences(open_page: Open) -> None:
    page = open_page()

    def rank(body: dict[str, Any]) -> None:
        body |= {"likeliest": [{"name": "Blue_Jay", "probability": 0.91}, {"name": "Green_Jay", "probability": 0.06}]}
        body["collection"] = {"probability": 0.97, "is_likely": True, "is_unlikely": False, "threshold": 0.5}

    change_answers(page, rank)
    ask(page, "a red crest")
    assert page.locator(".likeliest li").all_inner_texts() == ["Blue Jay\n91 %", "Green Jay\n6 %"]
    assert page.locator(".likeliest li").first.bounding_box()["height"] < 40  # name, bar and number in one line
    page.unroute("**/v1/search")

    def contradict(body: dict[str, Any]) -> None:
        lists = [[{"name": name, "probability": 0.9}] for name in ("Waxwing", "Wren")]
        media = ("image", "audio")
        body["parts"] = [
            {"medium": medium, "likeliest": own, "collection": None} for medium, own in zip(media, lists, strict=True)
        ]
        body["absent_media"] = ["video"]
        body["query"]["names"] = [{"name": "Blue Jay", "class_name": "Blue_Jay"}]
        body["query"]["notes"] = ["'a.jpg' holds a text and not a photo, as its name says"]

    change_answers(page, contradict)
    ask(page, "a red beak")
    assert "show different" in page.locator(".verdict h2").inner_text()
    assert [each.inner_text() for each in page.locator(".parts h3").all()] == ["Your photo alone", "Your sound alone"]
    told = page.locator(".answer").inner_text()
    assert "No videos of Blue Jay here." in told
    assert "'a.jpg' holds a text" in told


SLOW_GALLERY = """
const fetchNow = fetch;
window.fetch = async (...args) => {
  if (String(args[0]).includes("v1/gallery")) await new Promise((go) => setTimeout(go, 700));
  return fetchNow(...args);
};
"""


def test_words_typed_before_the_page_knows_its_gallery_stay(open_page: Open) -> None:
    page = open_page()
    page.add_init_script(SLOW_GALLERY)
    page.reload()
    page.get_by_role("searchbox", name="Describe it").fill("a red beak")
    page.get_by_role("heading", name="Search with whatever you have").wait_for()
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector(RESULTS)
    assert "q=a+red+beak" in page.url


def test_words_asked_before_the_script_is_there_are_not_lost(open_page: Open, watch: "Watch") -> None:
    watch.expects_errors = True  # the script is held back
    page = open_page()
    page.route("**/*.js", lambda route: route.abort())
    page.reload()
    page.locator("#ask-text").fill("a red beak")
    page.unroute("**/*.js")
    page.locator("#ask button[type=submit]").click()
    page.wait_for_selector(RESULTS)
    assert "q=a+red+beak" in page.url


def test_words_that_are_none_are_said_not_to_be_understood(open_page: Open) -> None:
    page = open_page()

    def refuse(body: dict[str, Any]) -> None:
        body |= {"hits": [], "collection": None}
        body["query"]["is_understood"] = False

    change_answers(page, refuse)
    ask(page, "asdf qwer")
    assert page.locator(".verdict h2").inner_text() == "These words are not understood"
