"""What the page does while somebody uses it: figures move, addresses are spoilt, views are left."""

from __future__ import annotations

import pytest
from browser import Browser, need_chromium
from full_board import full_board
from web_page import PASSWORD, PageThread, users_file

from boardwarden import testing
from boardwarden.web.access import Access, UsersFile
from warden_schema import ids


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory):
    """Return a browser in which ada is signed in, the page, and its board."""
    need_chromium()
    file = users_file(tmp_path_factory.mktemp("users") / "users.json", ada="control")
    board = full_board()
    board.interval_s = 0.5
    with PageThread(Access(UsersFile(file)), {"board": board}) as page, Browser() as browser:
        browser.open(page.url)
        browser.type("Name", "ada")
        browser.type("Password", PASSWORD)
        browser.click("button", "Sign in")
        browser.one("heading", "Fleet")
        yield browser, page, board


def of_board(browser, page):
    browser.open(page.board_url("board"))
    return browser.one("button", "Cancel… 5")


def test_a_button_stays_where_it_is_while_its_line_changes(signed_in):
    browser, page, board = signed_in
    browser.resize(360)
    button = of_board(browser, page)
    right = browser.driver.execute_script(
        "arguments[0].focus(); return arguments[0].getBoundingClientRect().right", button
    )
    assert right <= 360  # beside the cells that do not fit
    scroll = "document.activeElement.closest('.scroll').scrollLeft"
    browser.driver.execute_script(f"{scroll} = 40")
    row = [5, "flash", 2, 1, 770, "", None, 5, 5000, None, None]
    page.call(lambda: board.policy.put(ids.OPERATION, 0, row))
    browser.sees("77 %")
    assert browser.driver.switch_to.active_element == button
    assert browser.driver.execute_script(f"return {scroll}") == 40
    table = browser.region("Operations")
    assert table.count("77 %") == 1
    assert len(browser.driver.find_elements("css selector", ".c-operations .bar")) == 1


def test_a_dialog_does_not_outlive_the_view_that_it_is_about(signed_in):
    browser, page, _ = signed_in
    browser.resize(1400)
    of_board(browser, page)
    browser.click("button", "Interval…")
    browser.one("dialog")
    browser.driver.execute_script("location.hash = '#/'")
    browser.one("heading", "Fleet")
    assert browser.all("dialog") == []


def test_a_spoilt_address_is_of_no_board(signed_in):
    browser, page, _ = signed_in
    browser.open(f"{page.url}#/board/%E0%A4%A")
    browser.sees("This server follows no board of this address.")
    assert browser.problems() == []


@pytest.mark.parametrize("user", ["ada", "a" * 64])
def test_long_names_and_a_lost_server_fit_a_telephone(tmp_path, user):
    need_chromium()
    file = users_file(tmp_path / "users.json", **{user: "observe"})
    board = testing.FakeBoard()
    board.policy.used = True
    with PageThread(Access(UsersFile(file)), {"board": board}) as page, Browser() as browser:
        browser.resize(360)
        browser.open(page.url)
        browser.type("Name", user)
        browser.type("Password", PASSWORD)
        browser.click("button", "Sign in")
        browser.sees("1 well")
        page.call(lambda: board.policy.happen("threshold", 0, "warn", 1))
        browser.sees("threshold")
        script = (
            "for (const each of document.querySelectorAll('.changes a, .cell-name a')) "
            "each.textContent = 'A'.repeat(64)"
        )
        page.stop()
        browser.sees("No connection to the server since ")
        browser.driver.execute_script(script)  # as a board at a broker may be called
        wide = "return document.documentElement.scrollWidth"
        assert browser.driver.execute_script(wide) == 360
        if user == "ada":
            high = "return document.querySelector('.may').getBoundingClientRect().height"
            assert browser.driver.execute_script(high) < 50
