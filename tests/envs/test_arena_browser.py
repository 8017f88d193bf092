"""The page of a tournament in a browser: nothing of a model runs, keys step through games, filters find them."""

import json

import pytest
from browser import Watched, browser
from synthetic_arena import AGENTS, HOSTILE, KUHN, TIC, write_hostile, write_tournament

from spiral_envs.arena.report import write_report
from spiral_envs.printable import one_line, printable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_report(write_tournament(tmp_path_factory.mktemp("plain")), resamples=50).page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return write_report(write_hostile(tmp_path_factory.mktemp("hostile")), resamples=50).page


@pytest.fixture
def watch(opened):
    """Opens files; at the end of the test nothing may have gone wrong on any of them."""
    windows = []

    def watched(file, **options):
        windows.append(Watched(opened, file, **options))
        windows[-1].page.wait_for_selector("#viewer:not([hidden])")
        return windows[-1].page

    yield watched
    complaints = [complaint for window in windows for complaint in window.complaints]
    for window in windows:
        window.close()
    assert complaints == []


def data_of(page):
    return json.loads(page.locator("#games-data").text_content())


def choose(page, **filters):
    for name, label in filters.items():
        page.select_option(f"#filter-{name}", label=label)


def open_game(page, game_id):
    index = next(index for index, game in enumerate(data_of(page)["games"]) if game["id"] == game_id)
    page.select_option("#game-list", value=str(index))
    page.focus("#game-list")


def test_a_hostile_reply_is_shown_as_text_and_runs_nothing(watch, hostile):
    page = watch(hostile)
    open_game(page, "hostile")
    # A browser that read it as markup would have no such text, and would have the elements.
    assert page.locator("#reply-text").text_content() == printable(HOSTILE)
    assert page.locator("#seen").text_content() == printable(HOSTILE)
    assert "<script>window.hacked" in page.locator("#turn-fault").text_content()
    assert "<img src=x onerror=" in page.locator("#turn-role").text_content()
    assert one_line(f"evil{HOSTILE}")[:100] in page.locator("#ratings ~ .scroll").first.text_content()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img, iframe, a[href^=javascript], svg[onload], [onerror]").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator("body").is_visible()


def test_the_policy_of_the_page_forbids_any_other_script_and_every_request(opened, hostile):
    window = Watched(opened, hostile)
    window.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.hacked = 5";
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:9/x.png";
            document.body.append(script, image);
            document.body.insertAdjacentHTML("beforeend", '<a onclick="window.hacked = 6" id="trap">x</a>');
            document.getElementById("trap").click();
            return fetch("http://127.0.0.1:9/").catch(() => 0);
        }"""
    )
    window.page.wait_for_timeout(100)
    assert window.page.evaluate("typeof window.hacked") == "undefined"
    refused = [each for each in window.complaints if "Content Security Policy" in each]
    # The script, the image, the attribute and the fetch.
    assert len(refused) >= 4
    assert not [each for each in window.complaints if each.startswith(("dialog", "error", "popup"))]
    window.close()


def test_a_reply_of_a_million_characters_is_shortened_and_its_end_is_kept(watch, hostile):
    page = watch(hostile)
    open_game(page, "hostile")
    page.click("#to-next")
    shown = page.locator("#reply-text").text_content()
    assert shown.endswith("[4]")
    assert "1,094,003 of 1,100,003 characters left out" in shown
    assert len(shown) < 6_200
    assert "1,100,003 characters" in page.locator("#reply-note").text_content()


def test_half_a_surrogate_pair_is_shown_as_its_number(watch, hostile):
    page = watch(hostile)
    open_game(page, "hostile")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#reply-text").text_content() == "\U0001f600 and ‹U+D83D›"


def test_arrow_keys_step_through_the_boards_of_a_game(watch, plain):
    page = watch(plain)
    choose(page, game=TIC)
    game = data_of(page)["games"][int(page.input_value("#game-list"))]
    seen = [turn["seen"] for turn in game["turns"]]
    assert len(set(seen)) == len(seen) >= 3
    page.locator("#to-next").focus()
    for number, text in enumerate(seen):
        assert page.locator("#seen").text_content() == text
        assert page.locator("#where").text_content() == f"Move {number + 1} of {len(seen)}"
        assert page.locator("[aria-current=step]").text_content().startswith(f"{number + 1}. ")
        page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content() == "End of the game"
    assert page.locator("#end").is_visible()
    assert not page.locator("#turn").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#seen").text_content() == seen[-1]


def test_a_click_on_the_text_of_a_move_is_enough_for_the_keys(watch, plain):
    page = watch(plain)
    page.click("#seen")
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content().startswith("Move 2 of")
    page.keyboard.press("End")
    assert page.locator("#where").text_content() == "End of the game"


def test_without_focus_arrows_step_only_while_the_viewer_is_in_sight(watch, plain):
    page = watch(plain)
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content().startswith("Move 1 of")
    page.locator("#moves").scroll_into_view_if_needed()
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content().startswith("Move 2 of")


def test_buttons_home_and_end_step_as_well(watch, plain):
    page = watch(plain)
    assert page.locator("#to-previous").get_attribute("aria-disabled") == "true"
    assert page.locator("#to-next").get_attribute("aria-disabled") == "false"
    first = page.locator("#seen").text_content()
    page.click("#to-next")
    assert page.locator("#seen").text_content() != first
    page.keyboard.press("End")
    assert page.locator("#where").text_content() == "End of the game"
    page.keyboard.press("Home")
    assert page.locator("#seen").text_content() == first
    page.locator("#moves button").nth(1).click()
    assert page.locator("#where").text_content().startswith("Move 2 of")


def test_in_the_list_up_and_down_choose_games_and_left_and_right_step(watch, plain):
    page = watch(plain)
    page.focus("#game-list")
    details = page.locator("#game-details").text_content()
    page.keyboard.press("ArrowDown")
    assert page.locator("#game-details").text_content() != details
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content().startswith("Move 2 of")
    page.keyboard.press("ArrowUp")
    assert page.locator("#game-details").text_content() == details


def test_filters_show_exactly_the_games_that_are_as_asked_for(watch, plain):
    page = watch(plain)
    data = data_of(page)
    names, games = data["names"], data["games"]
    choose(page, game=KUHN, agent="greedy", against="clumsy", result="agent won", ending="with a fault")
    expected = [
        str(index)
        for index, game in enumerate(games)
        if names[game["game"]] == KUHN
        and {names[agent] for agent in game["agents"]} == {"greedy", "clumsy"}
        and names[game["agents"][0 if game["score"] == 1 else 1]] == "greedy"
        and game["score"] != 0.5
        and game["faults"]
    ]
    assert page.locator("#game-list option").evaluate_all("all => all.map((each) => each.value)") == expected
    assert 0 < len(expected) < len(games)
    assert page.locator("#matched").text_content() == f"{len(expected)} of {len(games)} games"
    page.keyboard.press("Tab")
    choose(page, against="greedy")
    assert page.locator("#nothing").is_visible()
    assert not page.locator("#stage").is_visible()
    page.click("#clear")
    assert page.locator("#game-list option").count() == len(games)
    assert page.locator("#stage").is_visible()


def test_reasoning_collapses_and_stays_collapsed_on_the_next_move(watch, plain):
    page = watch(plain)
    assert page.locator("#reply-text").is_visible()
    page.click("#reply-summary")
    assert not page.locator("#reply-text").is_visible()
    page.click("#to-next")
    assert not page.locator("#reply-text").is_visible()
    page.focus("#reply-summary")
    page.keyboard.press("Enter")
    assert page.locator("#reply-text").is_visible()


def test_a_fault_is_marked_in_the_strip_the_turn_and_the_end(watch, plain):
    page = watch(plain)
    choose(page, ending="with fault: malformed")
    page.locator("#moves .bad").first.click()
    assert page.locator("#turn-fault").is_visible()
    assert page.locator("#turn-fault").text_content().startswith("Fault: malformed, ")
    assert page.locator("#turn-plays").text_content() == "made no move"
    page.keyboard.press("End")
    assert "forfeited: " in page.locator("#end-fault").text_content()
    choose(page, ending="without faults")
    assert page.locator("#moves .bad").count() == 0
    assert not page.locator("#turn-fault").is_visible()


def test_the_end_shows_what_each_seat_saw_last(watch, plain):
    page = watch(plain)
    choose(page, game=TIC, ending="without faults")
    page.click("#to-last")
    shown = page.locator("#end-seen pre").all_text_contents()
    assert [text.splitlines()[0] for text in shown] == ["Board:", "Board:"]
    assert all("You have" in text or "draw" in text for text in shown)
    choose(page, ending="with fault: malformed")
    page.locator("#moves .bad").first.click()
    assert page.locator("#reply-summary").text_content().endswith(", no move found in it")


def test_a_cell_of_the_heatmap_leads_to_its_games(watch, plain):
    page = watch(plain)
    names = data_of(page)["names"]
    button = page.locator(f"button[data-game='{names.index(KUHN)}']").first
    label = button.get_attribute("aria-label")
    button.click()
    chosen = [page.locator(f"#filter-{name} option:checked").text_content() for name in ("game", "agent", "against")]
    assert chosen[0] == KUHN
    assert label.startswith(f"{chosen[1]} against {chosen[2]}: ")
    assert page.locator("#game-list option").count() > 0


def test_the_address_of_a_move_opens_it_again(watch, plain):
    page = watch(plain)
    choose(page, game=KUHN)
    page.locator("#game-list").press("ArrowDown")
    page.click("#to-next")
    where, details = page.locator("#where").text_content(), page.locator("#game-details").text_content()
    fragment = page.evaluate("location.hash")
    again = watch(plain, fragment=fragment)
    assert again.locator("#where").text_content() == where
    assert again.locator("#game-details").text_content() == details


@pytest.mark.parametrize("which", ["plain", "hostile"])
@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(watch, request, which, width, scheme):
    page = watch(request.getfixturevalue(which), width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if which == "hostile":
        open_game(page, "hostile")
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_marks_stacked_on_a_letter_of_a_name_do_not_cover_what_is_above(watch, hostile):
    page = watch(hostile)
    open_game(page, "hostile")
    for place in ("#game-name", "#turn-role", "#turn-fault", "#reply-text", "#seats bdi"):
        box = "(each) => getComputedStyle(each.closest('h3, p, li, pre')).contain"
        assert page.locator(place).first.evaluate(box) == "paint"


def test_ink_and_paper_follow_the_scheme_of_the_reader(watch, plain):
    dark, light = (watch(plain, color_scheme=scheme) for scheme in ("dark", "light"))
    colours = [
        page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
        for page in (dark, light)
    ]
    assert colours == [["rgb(228, 231, 236)", "rgb(18, 21, 26)"], ["rgb(29, 35, 48)", "rgb(255, 255, 255)"]]


def test_on_paper_the_controls_are_gone_and_the_tables_are_not_cut(watch, plain):
    page = watch(plain)
    page.emulate_media(media="print")
    assert not page.locator(".filters").is_visible()
    assert not page.locator("#to-next").is_visible()
    assert page.locator("#seen").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    # A4 with margins of a centimetre, in pixels of the browser.
    page.set_viewport_size({"width": 718, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") == 718
    assert page.pdf().startswith(b"%PDF")


def test_every_control_can_be_reached_with_the_tab_key_and_has_a_name(watch, plain):
    page = watch(plain)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, select, summary, a")]
            .filter((each) => !(each.getAttribute("aria-label") || each.labels?.length || each.textContent.trim()))
            .length"""
    )
    assert unnamed == 0
    page.locator("#filter-game").focus()
    reached = []
    for _ in range(12):
        reached.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert reached[:6] == ["filter-game", "filter-agent", "filter-against", "filter-result", "filter-ending", "clear"]
    assert "game-list" in reached
    assert len(AGENTS) + 1 == page.locator("#filter-agent option").count()
