"""Every view: narrow and wide, light and dark, for axe, by keyboard alone, and in German."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from search_answers import expect_answer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow  # the page is waited for in a real browser

Open = Callable[..., "Page"]
RESULTS = ".results:not(.waiting)"
WEB = Path(__file__).resolve().parents[2] / "src" / "fieldmark" / "web"
VIEWS = {
    "welcome": ("/", ".tiles img"),
    "results": ("/?q=a+red+beak&k=2", ".card.audio .stage"),
    "table": ("/?q=a+red+beak&k=2&as=table", "tr[data-item]"),
    "map": ("/?view=map", ".chart canvas"),
    "compare": ("/?view=compare&a=FIRST&b=SECOND", ".pane img"),
    "collection": ("/?view=collection", ".numbers"),
}


def path_of(path: str, class_names: list[str]) -> str:
    return path.replace("FIRST", class_names[0]).replace("SECOND", class_names[1])


def open_view(open_page: Open, view: str, class_names: list[str], **options: object) -> "Page":
    path, sign = VIEWS[view]
    page = open_page(path_of(path, class_names), reduced_motion="reduce", **options)
    page.locator(sign).first.wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    if view == "results":  # what is selected and unfolded is seen too
        page.locator(".card.audio .stage").first.scroll_into_view_if_needed()
        page.locator(".spectrogram[src]").first.wait_for()
        page.locator("[data-pick]").first.check()
        page.locator(".player-more summary").first.click()
        page.locator(".why summary").first.click()
    return page


@pytest.mark.parametrize("widths", [(320, 390), (1280, 1920)], ids=["phone", "desk"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_width_holds_every_view_and_axe_finds_nothing(
    open_page: Open,
    class_names: list[str],
    find_faults: Callable[["Page"], list[tuple[str, str]]],
    view: str,
    widths: tuple[int, int],
) -> None:
    page = open_view(open_page, view, class_names, width=widths[0], color_scheme="light")
    for width, scheme in zip(widths, ("light", "dark"), strict=True):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("width => document.documentElement.clientWidth === width", arg=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert find_faults(page) == []


FOCUS = """() => {
    const focused = document.activeElement;
    const marks = [focused, focused.closest(".choice"), focused.closest(".ask-box")].filter(Boolean);
    const isMarked = node => {
        const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(node);
        const isRinged = node.matches(".ask-box") && boxShadow.includes("0px 0px 0px 3px");
        return isRinged || (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2);
    };
    const box = (focused.closest(".choice") ?? focused).getBoundingClientRect();
    const middle = (from, to, limit) => (Math.max(0, from) + Math.min(limit, to)) / 2;
    const [x, y] = [middle(box.left, box.right, innerWidth), middle(box.top, box.bottom, innerHeight)];
    const at = document.elementFromPoint(x, y);
    const place = focused.closest("label") ?? focused;
    return {
        name: `${focused.localName}#${focused.id}.${focused.className} ${focused.ariaLabel ?? ""}`,
        isEnd: focused === document.body,
        isMarked: marks.some(isMarked),
        isSeen: place.contains(at) || at?.contains(focused),
    };
}"""


def press_tab(page: "Page") -> dict[str, object]:
    """Go to the next control by keyboard; fails if it is not marked, or lies under something."""
    page.keyboard.press("Tab")
    focus = page.evaluate(FOCUS)
    assert focus["isEnd"] or (focus["isMarked"] and focus["isSeen"]), focus
    return focus


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_is_reached_by_the_tab_key_and_shows_it(
    open_page: Open, class_names: list[str], view: str
) -> None:
    page = open_view(open_page, view, class_names)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0); document.querySelector('.skip').focus()")
    reached = 1
    while not press_tab(page)["isEnd"]:
        reached += 1
        assert reached < 400, "the tab key never comes to an end"
    controls = "a[href], button, input, select, summary, [tabindex='0'], audio[controls], video[controls]"
    visible = page.locator(f":is({controls}):not([tabindex='-1'], :disabled):visible").count()
    assert reached >= visible - page.locator("input[type=radio]").count()


def walk_to(page: "Page", selector: str, *, most: int = 90) -> None:
    """Press the tab key until the focus is on an element."""
    for _ in range(most):
        press_tab(page)
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"the tab key never reaches {selector}")


def test_the_page_can_be_searched_filtered_played_and_marked_by_keyboard_alone(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    page.locator(".tile").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    walk_to(page, "#add-files")
    page.evaluate(
        """() => document.querySelector("#files").addEventListener("click", event => {
            event.preventDefault();
            window.isChoosing = true;
        }, {once: true})"""
    )
    page.keyboard.press("Enter")
    assert page.evaluate("window.isChoosing")
    page.keyboard.press("/")
    page.keyboard.type("a red beak")
    page.keyboard.press("Enter")
    page.wait_for_selector(RESULTS)
    walk_to(page, ".menu[data-name=Species] summary")
    page.keyboard.press("Enter")
    walk_to(page, ".menu[data-name=Species] input[type=checkbox]")
    with page.expect_response("**/v1/search"):
        page.keyboard.press("Space")
    page.wait_for_function("() => location.search.includes('class=')")
    page.wait_for_function("() => document.activeElement.checked")  # the focus outlives the filters made anew
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.matches('.menu:not([open]) > summary')")
    walk_to(page, "[data-mark$=' relevant']")
    with page.expect_response("**/v1/search") as answer:
        page.keyboard.press("Space")
    assert answer.value.ok
    page.wait_for_function("() => document.activeElement.ariaPressed === 'true'")
    assert page.locator("#tray strong").all_text_contents() == ["1", "0"]
    page.locator(".jumps .audio").focus()
    page.keyboard.press("Enter")
    walk_to(page, ".strip input[type=range]")
    page.keyboard.press("ArrowRight")
    walk_to(page, ".play")
    page.keyboard.press("Enter")
    page.wait_for_function("() => [...document.querySelectorAll('audio')].some(each => each.currentTime > 0)")
    walk_to(page, ".player-more summary")
    page.keyboard.press("Enter")
    page.locator(".player-panel button").first.wait_for()
    walk_to(page, ".player-panel button[aria-label='Zoom in']")
    page.keyboard.press("Enter")
    walk_to(page, ".why summary")
    page.keyboard.press("Enter")
    page.get_by_text("larger is closer").first.wait_for()


def test_the_table_labels_and_their_way_back_are_worked_by_keyboard_alone(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path]
) -> None:
    page = open_page("/?q=a+red+beak&k=2", base=served(copy_gallery()), reduced_motion="reduce")
    page.wait_for_selector(RESULTS)
    walk_to(page, ".switch button[aria-pressed=false]")
    page.keyboard.press("Enter")
    page.locator("tr[data-item]").first.wait_for()
    walk_to(page, "th:last-child button")
    page.keyboard.press("Enter")
    page.wait_for_selector("th:last-child[aria-sort=ascending]")
    walk_to(page, "tr[data-item] .linkish")
    page.keyboard.press("Enter")
    page.locator("dialog[open] article").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    assert page.evaluate("document.activeElement.matches('tr[data-item] .linkish')")
    walk_to(page, "[data-pick]")
    page.keyboard.press("Space")
    walk_to(page, "#tray-selection .primary")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Label the selection")
    dialog.wait_for()
    page.keyboard.type("Evening singer")
    page.keyboard.press("Enter")
    dialog.wait_for(state="hidden")
    page.locator("tr[data-item] .linkish").get_by_text("Evening singer").wait_for()
    page.locator("nav [data-view=collection]").focus()
    page.keyboard.press("Enter")
    row = page.locator("tr[data-class='Evening singer']")
    row.wait_for()
    walk_to(page, "[aria-label='Undo Evening singer']")
    page.keyboard.press("Enter")
    row.wait_for(state="detached")


def focused(page: "Page", selector: str) -> bool:
    """Tell whether the focus is on an element."""
    return bool(page.evaluate("selector => document.activeElement.matches(selector)", selector))


def save_label(page: "Page", name: str) -> None:
    """Write a name into the dialog that asks for one, and save it."""
    page.locator("dialog[open] #class-name").wait_for()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="hidden")
    page.locator("#toast button").wait_for()


def test_labels_of_many_are_undone_by_keyboard_alone_and_the_offer_waits_while_it_has_the_focus(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path]
) -> None:
    page = open_page("/?q=a+red+beak&k=2&as=table", base=served(copy_gallery()), reduced_motion="reduce")
    named = page.locator("tr[data-item] .linkish").get_by_text("Evening singer")
    page.locator("tr[data-item]").first.wait_for()
    page.clock.install()
    for _ in range(2):
        walk_to(page, "[data-pick]")
        page.keyboard.press("Space")
    walk_to(page, "#tray-selection .primary")
    page.keyboard.press("Enter")
    save_label(page, "Evening singer")
    named.nth(1).wait_for()
    assert focused(page, "#tray-selection .primary")  # where it was, in a tray made anew
    # A few steps on stands Undo; it is there as long as the focus is.
    walk_to(page, "#toast button", most=5)
    page.clock.fast_forward(60_000)
    assert page.locator("#toast button").is_visible()
    page.keyboard.press("Enter")
    page.get_by_text("The former classes are back.").wait_for()
    named.first.wait_for(state="detached")
    assert page.evaluate("document.activeElement !== document.body")
    # Left alone, the offer goes after its time.
    page.locator("#tray-selection .primary").focus()
    page.keyboard.press("Enter")
    save_label(page, "Evening singer")
    named.nth(1).wait_for()
    page.clock.fast_forward(60_000)
    page.wait_for_selector("#toast", state="hidden")


def test_what_was_marked_and_saved_is_undone_by_two_keys_from_anywhere(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path]
) -> None:
    page = open_page("/?q=a+red+beak&k=2", base=served(copy_gallery()), reduced_motion="reduce")
    page.wait_for_selector(RESULTS)
    named = page.locator("li.card h3").get_by_text("Evening singer")
    walk_to(page, "[data-mark$=' relevant']")
    with page.expect_response("**/v1/search"):
        page.keyboard.press("Space")
    walk_to(page, "#tray-marks .primary")
    page.keyboard.press("Enter")
    save_label(page, "Evening singer")
    named.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("x")
    page.keyboard.press("Control+z")  # what was typed, and no label
    assert page.locator("#toast button").is_visible()
    walk_to(page, "#add-files")
    page.keyboard.press("Control+z")
    page.get_by_text("The former classes are back.").wait_for()
    named.wait_for(state="detached")


def test_species_are_chosen_and_compared_and_the_map_is_walked_by_keyboard_alone(
    open_page: Open, class_names: list[str]
) -> None:
    page = open_page("/?view=compare", reduced_motion="reduce")
    for number, name in enumerate(class_names[:2]):
        label = ("first-species", "second-species")[number]
        page.locator(f"#{label}").wait_for()
        walk_to(page, f"#{label}")
        for _ in range(number + 1):
            page.keyboard.press("ArrowDown")
            page.wait_for_function("() => !document.querySelector('main').hasAttribute('aria-busy')")
        assert page.locator(f"#{label}").input_value() == name
    page.locator(".zoomed img").first.wait_for()
    page.wait_for_load_state("networkidle")  # what comes late moves what has the focus
    walk_to(page, ".zoomed")
    page.keyboard.press("+")
    assert "scale(1.5)" in (page.locator(".zoomed img").first.get_attribute("style") or "")
    page.locator("nav [data-view=map]").focus()
    page.keyboard.press("Enter")
    page.locator(".chart canvas").wait_for()
    walk_to(page, ".chart canvas")
    page.locator(".point-name").wait_for()
    for key in ("ArrowRight", "ArrowDown", "+", "Enter"):
        page.keyboard.press(key)
    page.locator(".map-side article").wait_for()
    page.locator("nav [data-view=map]").focus()
    walk_to(page, ".map-bar button:nth-of-type(2)")
    page.keyboard.press("Enter")
    walk_to(page, ".area-bar .primary")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.search.includes('area=')")


def test_a_recording_is_begun_and_ended_by_keyboard_alone(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    page.locator(".tile").first.wait_for()
    walk_to(page, "#record")
    page.keyboard.press("Enter")
    page.locator("#dock").get_by_text(re.compile(r"0:0[1-9]")).wait_for()
    walk_to(page, "#dock button")
    with expect_answer(page) as answer:
        page.keyboard.press("Enter")
    assert answer.body["query"]["medium"] == "audio"


def test_the_page_is_german_where_the_reader_is(open_page: Open, address: str, class_names: list[str]) -> None:
    table = dict(
        re.findall(r'^  "((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)",$', (WEB / "german.js").read_text("utf-8"), re.M)
    )
    assert len(table) > 200
    page = open_page("/", locale="de-DE")
    page.get_by_role("heading", name="Suchen Sie mit dem, was Sie haben.").wait_for()
    assert page.evaluate("document.documentElement.lang") == "de"
    said: set[str] = set()
    for path, sign in VIEWS.values():
        page.goto(address + path_of(path, class_names))
        page.locator(sign).first.wait_for(state="attached")
        page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
        said |= set(
            page.evaluate(
                """() => {
                    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                    const found = [];
                    while (walker.nextNode()) found.push(walker.currentNode.textContent.trim());
                    for (const each of document.querySelectorAll("*"))
                        for (const name of ["aria-label", "title", "placeholder"])
                            found.push((each.getAttribute(name) ?? "").trim());
                    return found.filter(Boolean);
                }"""
            )
        )
    assert {each for each in said if table.get(each, each) != each} == set()
    assert {"Suchen", "Fotos", "Karte", "Rang"} <= said
    page.get_by_label("Language").select_option("en")
    page.get_by_role("link", name="Search").wait_for()


def test_classes_have_their_names_in_the_language_of_the_reader(
    open_page: Open, served: Callable[..., str], copy_gallery: Callable[[], Path], class_names: list[str]
) -> None:
    folder = copy_gallery()
    rows = [f"{name},Erfundener Piep {number}" for number, name in enumerate(class_names)]
    (folder / "taxonomy.csv").write_text("\n".join(["class_name,name_de", *rows]), encoding="utf-8")
    page = open_page("/?q=a+red+beak", base=served(folder), locale="de-DE")
    page.wait_for_selector(RESULTS)
    german, english = {row.split(",")[1] for row in rows}, {name.replace("_", " ") for name in class_names}
    assert set(page.locator("li.card h3").all_inner_texts()) <= german
    page.locator("#ask-text").fill("piep 1")
    page.locator("#names [role=option]").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Erfundener Piep 1", level=2).wait_for()
    assert page.locator("#ask-text").input_value() == "Erfundener Piep 1"
    assert page.locator("li.card h3").first.inner_text() == "Erfundener Piep 1"
    page.get_by_label("Sprache").select_option("en")
    page.get_by_role("link", name="Search").wait_for()
    page.wait_for_function(
        "names => names.includes(document.querySelector('li.card h3')?.innerText)", arg=list(english)
    )


@pytest.mark.parametrize(
    ("locale", "said"), [("en", "This collection knows 3 classes."), ("de", "Diese Sammlung kennt")]
)
def test_a_collection_of_other_things_is_spoken_of_in_its_own_words(open_page: Open, locale: str, said: str) -> None:
    page = open_page(locale=locale)

    gallery = page.evaluate("async () => (await fetch('/v1/gallery')).json()")
    gallery["words"] = {"one": "class", "many": "classes", "item": "item", "sound": "sound"}
    page.route("**/v1/gallery", lambda route: route.fulfill(json=gallery))
    page.reload()
    page.locator(".welcome").wait_for()
    shown = page.locator("body").inner_text()
    assert said in shown
    assert "{" not in shown
    assert "3 class" not in shown.replace("3 classes", "")
