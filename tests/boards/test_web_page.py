"""The page in a real Chromium, used by its texts and roles: fleet, board, requests, losses.

Its boards are fakes at pseudo-terminals, where a test needs an exact moment; one is MicroPython.
"""

from __future__ import annotations

import http.server
import importlib.resources
import json
import re
import shutil
import subprocess
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from browser import Browser, need_chromium
from certificates import certificate
from cli_process import COMMAND
from command_environment import of_command
from free_ports import free_port
from full_board import full_board
from many_boards import StandIn
from places import REPO
from web_page import PASSWORD, PageThread, users_file

from boardwarden import testing
from boardwarden.render import text
from boardwarden.web.access import Access, UsersFile
from warden_schema import ids

SIZES = (360, 1400)
BAD_NAME = "<img src=x onerror=document.title='bad'>"


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests of this file."""
    need_chromium()
    with Browser() as browser:
        yield browser


@pytest.fixture(autouse=True)
def as_new(browser):
    """Begin each test with a wide, light page that nobody is signed in to."""
    browser.driver.get("about:blank")
    browser.resize(1400)
    browser.dark(False)
    browser.forget()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of three boards: one that warns, one that is well, one that is not there."""
    folder = tmp_path_factory.mktemp("page")
    file = users_file(folder / "users.json", ada="control", bob="observe")
    warned, well = full_board(), testing.FakeBoard()
    for board in (warned, well):
        board.interval_s = 0.5
        board.policy.used = True
    well.identity[1] = "1.25.0"
    warned.policy.crash_lists[ids.EXCEPTION] = []
    fakes = {"warned": warned, "well": well}
    with PageThread(Access(UsersFile(file)), fakes, ["tcp://127.0.0.1:1"]) as page:
        yield page


def sign_in(browser, page, name, url=None):
    """Open a page as a user: with the form for the first time, then with the cookie of then."""
    cookie = page.cookies.get(name)
    if cookie is None:
        browser.open(page.url)
        browser.type("Name", name)
        browser.type("Password", PASSWORD)
        browser.click("button", "Sign in")
        browser.one("heading", "Fleet")
        page.cookies[name] = browser.driver.get_cookies()[0]
        if url is None:
            return
    else:
        given = {**cookie, "url": page.url}
        browser.driver.execute_cdp_cmd("Network.setCookie", given)
    browser.open(url or page.url)


def rows(browser):
    """Return the first words of each row of the fleet."""
    return [each.text.split("\n") for each in browser.all("row") if each.text][1:]


def names(page):
    return {name: terminal.port for name, terminal in page.terminals.items()}


def fits(browser, width):
    """Check that nothing is wider than the page, which people would have to scroll to."""
    wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width, f"{wide} pixels on a page of {width}"


# --- the fleet ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_fleet_has_the_worst_board_first_at_every_size(browser, page, width, dark):
    browser.resize(width, 800)
    browser.dark(dark)
    sign_in(browser, page, "bob")
    browser.sees("lost", "warned", "well", "3 boards", "What changed lately")
    text_of = browser.one("table", "Boards").text
    places = [text_of.index(name) for name in ("tcp://127.0.0.1:1", *names(page).values())]
    assert places == sorted(places)
    assert "Nothing listens on port 1" in text_of
    assert "memory 80 %" in text_of
    assert "49 KB of 234 KB" in text_of
    fits(browser, width)
    assert browser.problems() == []


def test_the_fleet_is_filtered_by_words_and_states_and_grouped(browser, page):
    sign_in(browser, page, "bob")
    browser.sees("3 boards")
    browser.type("Filter by words", "1.25", "searchbox")
    browser.sees("1 of 3 boards")
    assert names(page)["well"] in browser.one("table", "Boards").text
    browser.type("Filter by words", "no such thing", "searchbox")
    browser.sees("No board fits this filter.")
    browser.click("button", "Show all boards")
    browser.sees("3 boards")
    browser.click("button", "1 lost")
    browser.sees("1 of 3 boards")
    assert "state=lost" in browser.driver.current_url
    browser.open(browser.driver.current_url)  # as a link that somebody sent
    browser.sees("1 of 3 boards")
    browser.click("button", "1 lost")
    browser.one("combobox", "Group by").send_keys("MicroPython")
    browser.sees("MicroPython 1.25.0: 1 board", "MicroPython 1.28.0: 1 board")


def test_an_empty_fleet_says_what_to_do(browser):
    with PageThread() as page:
        browser.open(page.url)
        browser.sees("No boards yet", "warden.MqttLink", "--board /dev/ttyACM0")


# --- a board --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SIZES)
def test_a_board_is_shown_in_depth(browser, page, width):
    browser.resize(width, 900)
    sign_in(browser, page, "ada", page.board_url("warned"))
    board = page.terminals["warned"].board
    page.call(lambda: board.print("hello from the board\n"))
    browser.sees("hello from the board")
    for region, texts in {
        "Memory": ["49 KB", "59 KB (25 %)", "234 KB", "62 KB", "64 %"],
        "Load": ["12 %", "9 ms", "2 ms"],
        "Storage and network": ["2.0 MB", "connected, -61 dBm", "writes by the agent"],
        "The agent's own cost": ["0.4 %", "1.0 %", "60 B/s"],
        "Operations": ["flash", "active", "42 %"],
        "Leases": ["ota", "8.0 KB", "spin"],
        "Sessions": ["application"],
        "Thresholds and limits": ["memory", "warn", "75 %", "85 %", "at most 4 at once"],
        "Events": ["threshold memory: warn, 80 %"],
        "Crashes": ["watchdog", "sync"],
        "Board and link": ["fakeboard", "1.28.0"],
        "Trends of the last minute": ["memory"],
    }.items():
        found = browser.region(region)
        assert all(each in found for each in texts), (region, found)
    words = "Memory: used 59 KB, from 59 KB to 59 KB; live 49 KB"
    browser.until(lambda: words in "".join(each.accessible_name for each in browser.all("img")))
    fits(browser, width)
    assert browser.problems() == []


def test_a_link_to_a_board_holds_its_time_span(browser, page):
    sign_in(browser, page, "bob", page.board_url("well", "?span=1h"))
    assert browser.one("button", "1 h").get_attribute("aria-pressed") == "true"
    browser.click("button", "24 h")
    assert browser.driver.current_url.endswith("?span=24h")
    browser.click("link", "← Fleet")
    browser.one("heading", "Fleet")
    browser.driver.back()
    assert browser.one("button", "24 h").get_attribute("aria-pressed") == "true"


def test_an_address_of_no_board_is_said(browser, page):
    sign_in(browser, page, "bob", page.board_url("tcp://127.0.0.1:2"))
    browser.sees("This server follows no board of this address.")
    browser.driver.get(page.board_url("tcp://127.0.0.1:1"))
    browser.sees("Link lost since", "Nothing listens on port 1", "it is tried again")
    assert browser.problems() == []


def test_times_are_in_the_viewers_zone(browser, page):
    for zone in ("Asia/Kolkata", "UTC"):
        browser.zone(zone)
        sign_in(browser, page, "bob", page.board_url("warned"))
        browser.sees("threshold memory: warn, 80 %")
        shown = re.search(r"(\d\d:\d\d):\d\d\s+threshold memory", browser.region("Events"))
        now = datetime.now(timezone.utc).astimezone(ZoneInfo(zone))
        minutes = int(shown[1][:2]) * 60 + int(shown[1][3:]) - (now.hour * 60 + now.minute)
        assert abs((minutes + 720) % 1440 - 720) <= 10
        browser.forget()
    browser.zone("")


def test_the_servers_clock_may_be_another_than_the_viewers(browser, page):
    day_ahead = "const now = Date.now; Date.now = () => now() + 86_400_000;"
    added = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": day_ahead}
    )
    try:
        sign_in(browser, page, "bob", page.board_url("well"))
        browser.sees("MicroPython 1.25.0", " · up ")
        assert not re.search(r" · up \d+ d", browser.text())
        browser.open(page.url)
        browser.sees("3 boards")
        assert not re.search(r"\b1 d\b", browser.text())
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


# --- requests -------------------------------------------------------------------------------------


def asked(browser, button, confirm, *fields):
    """Have a dialog send a request; return what it says then."""
    browser.click("button", button)
    for name, value in fields:
        browser.type(name, value)
    browser.click("button", confirm)
    browser.one("button", "Close")
    return browser.one("dialog").text


def test_requests_are_asked_for_and_the_boards_answer_is_shown_and_logged(browser, page):
    sign_in(browser, page, "ada", page.board_url("warned"))
    board = page.terminals["warned"].board
    browser.sees("ada may control", "flash")
    said = asked(browser, "Collect garbage…", "Collect")
    assert "The board: It collected 9.8 KB of garbage." in said
    browser.click("button", "Close")
    assert "every 250 ms" in asked(browser, "Interval…", "Change", ("Every", "250 ms"))
    browser.click("button", "Undo")
    browser.sees("every 1 s now")
    browser.click("button", "Close")
    assert "Lease 3 has ended." in asked(browser, "End… 3", "End it")
    browser.click("button", "Close")
    assert "told to stop" in asked(browser, "Cancel… 5", "Have it stop")
    browser.click("button", "Close")
    assert "memory is watched" in asked(browser, "Change… memory", "Set", ("Warn at", "70 %"))
    browser.click("button", "Close")
    browser.until(lambda: "70 %" in browser.region("Thresholds and limits"))
    log = browser.region("Requests")
    for words in ("ada", "collect", "release 3", "cancel 5", "threshold memory, warn 70 %"):
        assert words in log
    done = [operation for operation, _ in board.done]
    assert {ids.COLLECT, ids.RELEASE, ids.CANCEL, ids.SET_THRESHOLD} <= set(done)
    assert browser.problems() == []


def test_a_policy_is_shown_with_its_difference_before_it_is_applied(browser, page):
    browser.resize(360, 800)  # on a telephone
    sign_in(browser, page, "ada", page.board_url("well"))
    browser.sees("ada may control")
    browser.click("button", "Policy…")
    browser.type("Policy, as in warden.toml", "[limits]\nmax_operations = 3\n")
    browser.click("button", "Show what would change")
    browser.sees("limits.max_operations", "4 → 3")
    place = browser.one("dialog").rect
    assert 0 <= place["x"] <= place["x"] + place["width"] <= 360, place
    assert not [each for each in page.terminals["well"].board.done if each == (ids.SET_LIMITS, [3])]
    browser.click("button", "Apply")
    browser.sees("in force until the board restarts")
    browser.click("button", "Close")
    browser.until(lambda: "at most 3 at once" in browser.region("Thresholds and limits"))


def test_who_may_only_look_is_offered_no_request(browser, page):
    sign_in(browser, page, "bob", page.board_url("warned"))
    browser.sees("bob may look", "flash")
    buttons = {each.text for each in browser.all("button")}
    assert buttons == {"Sign out", "2 min", "10 min", "1 h", "24 h", "7 d"}
    answer = browser.run(
        "const answer = await fetch('/api/board/request', {method: 'POST', headers: "
        "{'Content-Type': 'application/json', 'X-Boardwarden': '1'}, "
        "body: JSON.stringify(given[0])});"
        "return [answer.status, await answer.json()];",
        {"board": names(page)["warned"], "name": "collect"},
    )
    assert answer == [403, {"error": "You may look, and not change anything."}]


def test_a_wrong_password_is_said_and_signing_out_hides_the_boards(browser, page):
    browser.open(page.url)
    browser.type("Name", "bob")
    browser.type("Password", "wrong horse")
    browser.click("button", "Sign in")
    browser.sees("The name or the password is wrong.")
    browser.type("Password", PASSWORD)
    browser.click("button", "Sign in")
    browser.one("heading", "Fleet")
    browser.click("button", "Sign out")
    browser.one("heading", "Sign in")
    assert "fakeboard" not in browser.text()
    browser.driver.get(page.board_url("warned"))
    browser.one("heading", "Sign in")


def test_inside_tls_people_sign_in_follow_a_board_and_ask_it(browser, tmp_path):
    made = certificate(tmp_path)
    users = UsersFile(users_file(tmp_path / "users.json", ada="control"))
    trust = "Security.setIgnoreCertificateErrors"
    with PageThread(Access(users, (made.file, made.key)), {"board": full_board()}) as page:
        assert page.url.startswith("https://")
        browser.driver.execute_cdp_cmd(trust, {"ignore": True})
        try:
            sign_in(browser, page, "ada", page.board_url("board"))
            browser.sees("ada may control", "flash")
            assert "It collected 9.8 KB" in asked(browser, "Collect garbage…", "Collect")
            (cookie,) = browser.driver.get_cookies()
            assert browser.problems() == []
        finally:
            browser.driver.get("about:blank")
            browser.driver.execute_cdp_cmd(trust, {"ignore": False})
    assert cookie["name"].startswith("__Host-")
    assert cookie["secure"]
    assert cookie["httpOnly"]


@pytest.fixture
def other_site(page):
    """Serve, at another port of this machine, pages that a stranger made; yield the port."""

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = f"<!doctype html><p>stranger<iframe src='{page.url}'></iframe>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


# Of one site with the page, to which the browser sends its cookie, and of another.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_can_neither_ask_nor_frame_the_page(browser, page, other_site, host):
    sign_in(browser, page, "ada")
    browser.sees("3 boards", "ada may control")
    board = page.terminals["well"].board

    def collected():
        return len([each for each in board.done if each[0] == ids.COLLECT])

    before = collected()
    body = json.dumps({"board": names(page)["well"], "name": "collect", "arguments": {}})
    send = (
        "try { await fetch(given[0], {method: 'POST', credentials: 'include', mode: given[1], "
        "headers: given[2], body: given[3]}); return 'sent'; } catch (error) { return 'refused'; }"
    )
    url = f"{page.url}api/board/request"
    browser.open(f"http://{host}:{other_site}/")
    complaints = []
    browser.until(
        lambda: (
            complaints.extend(browser.problems())
            or any("frame-ancestors" in each or "X-Frame-Options" in each for each in complaints)
        )
    )
    plain, own = {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}
    # It arrives, all the same: the browser refuses the answer.
    assert browser.run(send, url, "no-cors", plain, body) == "refused"
    assert browser.run(send, url, "cors", plain, body) == "refused"
    assert browser.run(send, url, "cors", own, body) == "refused"
    assert browser.run(send, url, "cors", {**own, "X-Boardwarden": "1"}, body) == "refused"
    read = "try { return (await fetch(given[0], {credentials: 'include'})).status; } "
    read += "catch (error) { return 'refused'; }"
    assert browser.run(read, f"{page.url}api/session") == "refused"
    assert collected() == before
    browser.open(page.url)  # the same from the page itself: the board does it
    assert browser.run(send, url, "cors", {**own, "X-Boardwarden": "1"}, body) == "sent"
    assert collected() == before + 1


# --- what is lost, and back -----------------------------------------------------------------------


def test_a_board_that_is_lost_is_said_since_when_and_comes_back(browser, page):
    sign_in(browser, page, "bob", page.board_url("well"))
    browser.sees("fakeboard")
    board = page.terminals["well"].board
    page.call(lambda: setattr(board, "mute", True))
    try:
        browser.sees("Link lost since ", "the line is there, so it hangs or has no power")
        assert browser.all("heading", names(page)["well"])
    finally:
        page.call(lambda: setattr(board, "mute", False))
    browser.loses("Link lost since ")
    browser.click("link", "← Fleet")
    browser.until(lambda: "connected again" in browser.region("What changed lately"))
    assert "the line is there" in browser.region("What changed lately")


def test_a_server_that_ends_is_said_since_when_and_comes_back(browser, page):
    sign_in(browser, page, "bob")
    browser.sees("3 boards")
    page.stop()
    browser.sees("No connection to the server since ", "What is shown is of then")
    assert browser.all("alert")
    assert "3 boards" in browser.text()
    page.start()
    page.cookies.clear()
    # Its sessions were in its memory.
    browser.one("heading", "Sign in")
    sign_in(browser, page, "bob")
    browser.sees("3 boards")
    assert not browser.all("alert")


def test_a_server_that_is_killed_is_said_and_another_one_takes_its_place(browser):
    port = free_port()
    command = [*COMMAND, "serve", "--board", "sim"]
    command += ["--listen", "127.0.0.1:0", "--page", f"127.0.0.1:{port}"]
    servers = []

    def begin():
        servers.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=of_command())
        )
        while "the page is at" not in servers[-1].stdout.readline():
            assert servers[-1].poll() is None

    def kill():
        servers[-1].kill()
        servers[-1].wait()
        servers[-1].stdout.close()

    begin()
    try:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.sees("1 board", "well")
        kill()
        browser.sees("No connection to the server since ", "What is shown is of then")
        begin()
        browser.loses("No connection to the server since ")
        browser.sees("1 board", "well")
    finally:
        kill()


def test_pages_that_were_left_do_not_keep_the_servers_connections(browser, page):
    """A browser opens six to a server, and remembers pages that were left."""
    took = []
    for _ in range(4):
        for url, words in ((page.board_url("well"), "fakeboard"), (page.url, "3 boards")):
            begin = time.monotonic()
            sign_in(browser, page, "bob", url)
            browser.sees(words)
            took.append(time.monotonic() - begin)
    assert max(took) < 6, took


# --- what a board says is text --------------------------------------------------------------------


def test_a_name_that_is_a_script_is_text(browser, tmp_path):
    application = tmp_path / f"<script>document.title='bad'<script>{BAD_NAME}.py"
    shutil.copy(REPO / "examples" / "station.py", application)
    board = full_board()
    board.identity[0] = board.identity[1] = BAD_NAME
    board.policy.put(
        ids.OPERATION, 0, [5, BAD_NAME, 2, 1, 420, BAD_NAME, None, 5, 5000, None, None]
    )
    board.policy.put(ids.LEASE, 0, [1, 0, 8192, BAD_NAME, 2, None, 5, None, True, None])
    text = f"main.py:9 main\n{BAD_NAME}\n".encode()
    board.policy.crash_lists[ids.EXCEPTION] = [[1, 3, BAD_NAME, 2, None, text]]
    with PageThread(Access(), {"bad": board}, [f"sim:{application}"]) as page:
        browser.open(page.url)
        browser.sees("2 boards", f"sim:{application.name}")
        browser.one("combobox", "Group by").send_keys("MicroPython")
        browser.sees(f"MicroPython {BAD_NAME}")
        browser.open(page.board_url("bad"))
        page.call(lambda: board.print(f"{BAD_NAME}\n"))
        browser.until(lambda: browser.text().count(BAD_NAME) >= 6)
        assert browser.driver.execute_script("return document.images.length") == 1
        assert browser.driver.execute_script("return document.scripts.length") == 1
        assert "bad" not in browser.driver.title.replace(BAD_NAME, "")
        browser.open(page.board_url(f"sim:{application}"))
        browser.one("heading", f"sim:{application.name}")
        assert browser.problems() == []


# --- everybody ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_an_audit_of_accessibility_finds_nothing(browser, page, dark):
    package = importlib.resources.files("selenium_axe_python")
    axe = Path(str(package)) / "axe-core" / "axe.min.js"
    browser.dark(dark)

    def audit(where):
        browser.driver.execute_script(axe.read_text(encoding="utf-8"))
        found = browser.run("return await axe.run(document, {resultTypes: ['violations']})")
        assert isinstance(found, dict), found
        problems = [
            (each["impact"], each["id"], [node["html"][:120] for node in each["nodes"]][:3])
            for each in found["violations"]
        ]
        assert problems == [], where

    browser.open(page.url)
    browser.one("heading", "Sign in")
    audit("sign in")
    sign_in(browser, page, "ada")
    browser.sees("3 boards")
    for width in SIZES:
        browser.resize(width)
        audit(f"fleet, {width}")
    browser.driver.get(page.board_url("warned"))
    browser.sees("flash")
    for width in SIZES:
        browser.resize(width)
        audit(f"board, {width}")
    browser.click("button", "Change… memory")
    for width in SIZES:
        browser.resize(width)
        audit(f"dialog, {width}")


def test_the_page_is_used_by_keyboard_alone(browser, page):
    from selenium.webdriver.common.keys import Keys

    sign_in(browser, page, "ada")
    browser.sees("3 boards")
    body = browser.driver.find_element("tag name", "body")
    reached = []
    for _ in range(30):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.driver.switch_to.active_element
        if active == body:
            break
        reached.append(active.accessible_name)
    wanted = ["Filter by words", "Group by", *names(page).values()]
    assert [each for each in reached if each in wanted] == wanted
    link = browser.one("link", names(page)["warned"])
    link.send_keys(Keys.ENTER)
    browser.one("heading", names(page)["warned"])
    browser.one("button", "Collect garbage…").send_keys(Keys.ENTER)
    browser.one("dialog")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.until(lambda: not browser.all("dialog"))


def test_figures_are_written_as_on_the_command_line(browser, page):
    sizes = [None, 0, 1, 1023, 1024, 1536, 10_239, 10_240, 1_023_999, 1_024_000, 5_242_880, 2.5e9]
    shares = [None, 0.0, 0.0004, 0.0125, 0.0994, 0.0995, 0.1, 0.125, 0.5, 0.995, 1.0]
    times = [None, 0.0, 0.0005, 0.0015, 0.25, 0.999, 1.0, 1.25, 9.94, 9.95, 10.5, 59.6, 61, 3600]
    times += [3661, 86_399.7, 90_000, 1e7]
    browser.open(page.url)
    found = browser.run(
        "const {size, percent, duration} = await import('/static/format.js');"
        "return [given[0].map(size), given[1].map(percent), given[2].map(duration)];",
        *(sizes, shares, times),
    )
    assert found == [
        [text.size(each) for each in sizes],
        [text.percent(each) for each in shares],
        [text.duration(each) for each in times],
    ]


@pytest.mark.alone
def test_an_event_of_a_board_is_on_the_page_within_a_second(browser, page):
    sign_in(browser, page, "bob")
    browser.sees("3 boards")
    board = page.terminals["well"].board
    took = []
    for number in range(20):
        value = 300 + number
        begin = time.monotonic()
        page.call(lambda value=value: board.policy.happen("threshold", 4, "warn", value))
        mark = text.percent(value / 1000)
        browser.until(lambda mark=mark: f"cpu: warn, {mark}" in browser.text())
        took.append(time.monotonic() - begin)
    assert max(took) <= 1.0, took


# From an action until two frames later, when it is painted; in milliseconds.
_PAINTED = (
    "const frame = () => new Promise(requestAnimationFrame);"
    "const begin = performance.now(); {act} await frame(); await frame();"
    "return performance.now() - begin;"
)
_FILTER = (
    "const field = document.querySelector('input[type=search]'); field.value = given[0];"
    "field.dispatchEvent(new Event('input', {bubbles: true}));"
)


@pytest.mark.alone
def test_a_thousand_boards_are_shown_and_filtered_at_once(browser):
    with PageThread(stand_ins=[StandIn(number) for number in range(1000)]) as page:
        browser.open(page.url)
        browser.sees("1000 boards", "100 critical", "board0")
        painted = browser.run(
            "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        assert painted <= 1500
        begin = time.monotonic()
        browser.open(page.url)
        browser.sees("1000 boards")
        assert time.monotonic() - begin <= 3.0  # with what Selenium takes of it
        script = _PAINTED.replace("{act}", _FILTER)
        took = {words: [] for words in ("board9", "critical", "kind 3", "")}
        for _ in range(3):  # the best of three: others use this machine, too
            for words, times in took.items():
                times.append(browser.run(script, words))
        assert max(map(min, took.values())) <= 100, took
        assert len(browser.driver.find_elements("css selector", "tbody tr")) == 50
        browser.click("button", "Show 450 more")
        browser.until(lambda: len(browser.driver.find_elements("css selector", "tbody tr")) == 500)
