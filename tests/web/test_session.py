"""A long session on the page: nothing is drawn twice, and nothing that the reader holds is lost on the way."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from search_answers import expect_answer

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from conftest import Watch

pytestmark = pytest.mark.slow  # the page is waited for in a real browser

Open = Callable[..., "Page"]
RESULTS = ".results:not(.waiting)"
TOP_OF_FOCUS = "document.activeElement.getBoundingClientRect().top"


def count_searches(watch: "Watch") -> int:
    return sum(url.endswith("/v1/search") for url in watch.requests)


def test_jumps_marks_more_hits_and_back_keep_the_place_the_focus_and_the_sound(open_page: Open, watch: "Watch") -> None:
    page = open_page("/?q=a+red+beak&k=4", reduced_motion="reduce")  # a place in a smooth scroll is no place
    page.wait_for_selector(RESULTS)
    # A jump moves the focus and the page, and asks nothing.
    before = page.evaluate("history.length")
    page.get_by_role("navigation", name="Media of the hits").get_by_role("link", name="Sounds").press("Enter")
    assert page.evaluate("document.activeElement.id") == "group-audio"
    page.wait_for_function("() => Math.abs(document.activeElement.getBoundingClientRect().top - 66) < 40")
    assert page.locator(".results-bar").bounding_box()["y"] == 0
    assert (count_searches(watch), page.evaluate("history.length")) == (1, before)
    # A sound plays on while it is marked and while more hits come; the marked card stays where it was.
    card = page.locator("li.card.audio").first
    item = card.get_attribute("data-item")
    card.get_by_role("button", name="Repeat the moment").click()
    card.get_by_role("button", name="Play the moment").click()
    page.wait_for_function("audio => audio.currentTime > 0", arg=card.locator("audio").element_handle())
    page.evaluate(
        """() => document.querySelector("li.card.audio audio").addEventListener("pause", event => {
            window.paused ||= !event.target.ended; // at the end of the file it begins again
        })"""
    )
    card.get_by_role("button", name="Right").focus()
    top = card.bounding_box()["y"]
    with page.expect_response("**/v1/search"):
        page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('main').hasAttribute('aria-busy')")
    marked = page.locator(f"li.card.audio[data-item='{item}']").first
    assert marked.bounding_box()["y"] == pytest.approx(top, abs=2)
    assert page.evaluate("document.activeElement.dataset.mark") == f"{item} relevant"
    page.evaluate("document.querySelectorAll('li.card').forEach((each, index) => (each.number = index + 1))")
    page.get_by_role("button", name="Show more of these: Sounds").press("Enter")
    page.wait_for_function("() => document.querySelectorAll('li.card').length === 32")
    assert page.evaluate("[...document.querySelectorAll('li.card')].filter(each => each.number).length") == 16
    assert not page.evaluate("window.paused")
    # More like another hit: the sound goes on in the dock, and Back finds it in its card, without a search.
    page.locator("li.card.audio").nth(1).get_by_role("button", name="More like").focus()
    searches, top = count_searches(watch), page.evaluate(TOP_OF_FOCUS)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#dock audio') && document.querySelectorAll('li.card').length")
    page.wait_for_function("() => !document.querySelector('main').hasAttribute('aria-busy')")
    assert page.locator("#tray").is_hidden()
    page.go_back()
    page.wait_for_selector("#dock", state="hidden")
    sound = page.locator(f"li.card.audio[data-item='{item}'] audio").first
    assert not sound.evaluate("audio => audio.paused")
    assert page.evaluate("[...document.querySelectorAll('li.card')].filter(each => each.number).length") == 16
    page.wait_for_function(f"() => Math.abs({TOP_OF_FOCUS} - {top}) <= 2")
    assert not page.evaluate("window.paused")
    assert "More like" in page.evaluate("document.activeElement.ariaLabel")
    assert page.locator("#tray strong").all_text_contents() == ["1", "0"]
    assert count_searches(watch) == searches + 1


def test_a_dropped_file_is_an_entry_of_the_history_and_a_reload_says_what_it_needs(
    open_page: Open, toy_manifest: Path
) -> None:
    photo = sorted((toy_manifest.parent / "image").rglob("*.*"))[0]
    page = open_page("/?q=a+red+beak")
    page.wait_for_selector(RESULTS)
    first = page.locator("li.card").first.get_attribute("data-item")
    page.locator("#files").set_input_files(photo)
    page.wait_for_function("() => document.querySelectorAll('#chips li').length === 1")
    page.wait_for_function("() => !document.querySelector('main').hasAttribute('aria-busy')")
    page.go_back()
    page.wait_for_function("() => document.querySelector('#chips').hidden")
    assert page.locator("li.card").first.get_attribute("data-item") == first
    page.go_forward()
    page.get_by_text(photo.name, exact=True).wait_for()
    page.wait_for_selector(RESULTS)
    page.get_by_label("With all hits").click()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the link").click()
    page.get_by_text("Your files are not in it").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    page.reload()
    page.get_by_role("heading", name="This search needs your file again").wait_for()
    assert photo.name in page.locator("main").inner_text()
    page.locator("#files").set_input_files(photo)
    page.wait_for_selector(RESULTS)
    assert page.locator("#chips li").count() == 1


def test_the_place_of_a_reader_holds_though_what_is_above_it_grows(open_page: Open) -> None:
    page = open_page("/?q=a+red+beak", reduced_motion="reduce")
    page.wait_for_selector(RESULTS)
    page.locator("li.card.audio").nth(3).get_by_role("button", name="More like").focus()
    top = page.evaluate(TOP_OF_FOCUS)
    page.evaluate("window.former = document.querySelector('.groups')")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.groups:not([aria-busy])') !== window.former")
    page.wait_for_function("() => !document.querySelector('main').hasAttribute('aria-busy')")
    # As a text above that arrives only now: its card is higher than when the reader left.
    page.evaluate("window.former.querySelector('li.card').style.minHeight = '60rem'")
    page.go_back()
    page.wait_for_function("() => document.querySelector('.groups') === window.former")
    page.wait_for_function(f"() => Math.abs({TOP_OF_FOCUS} - {top}) <= 2")


def test_a_recording_is_stopped_from_another_view_and_shows_how_loud_it_is(open_page: Open) -> None:
    page = open_page("/", width=390)
    page.get_by_role("button", name=re.compile("A (song|sound)")).click()
    page.get_by_role("meter", name="Loudness").wait_for()
    page.wait_for_function("() => Number(document.querySelector('[role=meter]').ariaValueNow) > 5")  # the device beeps
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("heading", name="Side by side").wait_for()
    with expect_answer(page) as answer:
        page.get_by_role("button", name="Stop and search").click()
    assert answer.body["query"]["medium"] == "audio"
    page.wait_for_selector(RESULTS)
    assert page.locator("#dock").is_hidden()
    # On a phone the first hit stands above the fold, under a verdict of one line.
    assert page.locator("li.card img, li.card .stage").first.bounding_box()["y"] < 500
    assert page.locator(".verdict").bounding_box()["height"] < 60


PHONE = {"has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("width", [320, 360, 390])
def test_every_way_to_ask_is_there_on_a_phone_after_a_search_too(open_page: Open, width: int) -> None:
    page = open_page("/", width=width, **PHONE)
    page.locator(".tile").first.wait_for()
    ways = [page.get_by_role("button", name=name, exact=True) for name in ("Files", "Camera", "Record", "Search")]
    for _ in range(2):
        for way in ways:
            box = way.bounding_box()
            assert box is not None, way
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert min(box["width"], box["height"]) >= 24
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#ask-text").fill("a red beak")
        page.keyboard.press("Enter")
        page.wait_for_selector(RESULTS)
    assert page.locator("#ask-text").bounding_box()["width"] >= 90
    with page.expect_file_chooser() as choice:
        page.get_by_role("button", name="Files", exact=True).tap()
    assert choice.value.is_multiple()


def test_a_photo_from_the_camera_of_a_phone_is_searched_with(open_page: Open, tmp_path: Path) -> None:
    photo = tmp_path / "image.jpg"
    Image.effect_noise((64, 48), 90).convert("RGB").save(photo)
    page = open_page("/", width=390, **PHONE)
    page.locator(".tile").first.wait_for()
    with page.expect_file_chooser() as choice:
        page.get_by_role("button", name="Camera", exact=True).tap()
    camera = choice.value
    # The camera on the back of the phone, for one photo.
    assert camera.element.get_attribute("capture") == "environment"
    assert camera.element.get_attribute("accept") == "image/*"
    assert not camera.is_multiple()
    with expect_answer(page) as answer:
        camera.set_files(photo)
    assert answer.body["query"]["medium"] == "image"
    page.wait_for_selector(RESULTS)
    assert page.locator("#chips img").evaluate("photo => photo.complete && photo.naturalWidth") == 64
    # The next photo stands beside the first: both are one query.
    with page.expect_response("**/v1/search") as answer, page.expect_file_chooser() as choice:
        page.get_by_role("button", name="Camera", exact=True).tap()
        Image.effect_noise((32, 48), 60).convert("RGB").save(photo)
        choice.value.set_files(photo)
    assert answer.value.ok
    page.wait_for_function("() => document.querySelectorAll('#chips img').length === 2")


def test_a_machine_with_a_mouse_has_no_camera_button(open_page: Open) -> None:
    page = open_page("/")
    page.locator(".tile").first.wait_for()
    assert page.get_by_role("button", name="Camera", exact=True).count() == 0


def multiply(body: dict[str, Any], *, each: int) -> None:
    """Give an answer that many hits of each medium, by repeating those that it has under other ids."""
    hits: list[dict[str, Any]] = []
    for medium in ("image", "text", "video", "audio"):
        own = [hit for hit in body["hits"] if hit["medium"] == medium]
        hits += [{**own[n % len(own)], "item_id": f"{own[n % len(own)]['item_id']} {n}"} for n in range(each)]
    body["hits"] = [{**hit, "rank": rank} for rank, hit in enumerate(hits, start=1)]


def find_longest_task(trace: bytes) -> float:
    """Return the milliseconds of work in the longest task of a page's main thread, however busy the machine is."""
    events = json.loads(trace)["traceEvents"]
    names = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each["name"] == "thread_name"}
    own = (each for each in events if each.get("ph") == "X" and each["name"].endswith("RunTask"))
    main = [each for each in own if names.get((each["pid"], each["tid"])) == "CrRendererMain"]
    # Of a task that took no time to speak of, newer versions of Chromium tell no processor time.
    return max(each.get("tdur", each["dur"]) for each in main) / 1000


SHIFT = """() => {
    window.shift = 0;
    const add = each => each.hadRecentInput || (window.shift += each.value);
    new PerformanceObserver(list => list.getEntries().forEach(add)).observe({type: "layout-shift"});
}"""
READY = "!document.querySelector('main').hasAttribute('aria-busy')"
CARDS = "document.querySelectorAll('main li.card').length === 800"
ROWS = "document.querySelectorAll('tr[data-item]').length === 800"


def test_800_hits_hold_nothing_up_and_move_nothing(open_page: Open, watch: "Watch") -> None:
    watch.expects_errors = True  # ids that only this test knows

    def pass_on(route: "Route") -> None:
        asked = route.request.post_data_json
        is_marked = bool(asked["marks"]["relevant"])
        answer = route.fetch(post_data=json.dumps(asked | {"marks": {"relevant": [], "irrelevant": []}}))
        body = answer.json()
        multiply(body, each=200)
        if is_marked:  # the most that a mark can change
            body["hits"].reverse()
        route.fulfill(response=answer, body=json.dumps(body))

    page = open_page("/?q=a+blue+beak")
    page.wait_for_selector(RESULTS)
    page.evaluate(SHIFT)
    page.route("**/v1/search", pass_on)
    browser = page.context.browser
    longest = {}

    def measure(step: str, act: Callable[[], object], until: str) -> None:
        browser.start_tracing(page=page, categories=["toplevel"])
        act()
        page.wait_for_function(f"() => {READY} && {until}", timeout=60_000)
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        longest[step] = find_longest_task(browser.stop_tracing())

    # By keys, and by selectors that cost nothing: to find a button by its role takes seconds of the page's own time.
    field, views, mark = page.locator("#ask-text"), page.locator(".switch button"), page.locator(".mark-right").first
    collection = page.locator("nav [data-view=collection]")
    field.fill("a red beak")
    measure("search", lambda: field.press("Enter"), CARDS)
    middle = "scrollTo({top: document.body.scrollHeight / 2, behavior: 'instant'})"
    measure("scroll", lambda: page.evaluate(middle), "scrollY > 9000")
    measure("table", lambda: views.nth(1).press("Enter"), ROWS)
    shift = page.evaluate("window.shift")  # to sort and to mark is to move what is there
    measure("sort", lambda: page.locator("th button").last.press("Enter"), ROWS)
    measure("cards", lambda: views.nth(0).press("Enter"), CARDS)
    measure("mark", lambda: mark.press("Enter"), "document.querySelector('#tray-marks strong')")
    measure("leave", lambda: collection.press("Enter"), "document.querySelector('.numbers')")
    measure("back", lambda: page.evaluate("history.back()"), CARDS)
    assert {step: took for step, took in longest.items() if took >= 200} == {}
    assert shift < 0.02
