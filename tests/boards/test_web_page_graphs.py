"""The points of graphs on a page that stays open for long, in a real Chromium."""

from __future__ import annotations

import pytest
from browser import Browser, need_chromium
from web_page import PageThread

# Show a board whose server sends a week of history, and then a point a second, as fast as it can.
OPEN_FOR = """
const [seconds] = given;
const now = Math.floor(Date.now() / 1000) - seconds;
const points = (step, from, to) => Array.from({length: (from - to) / step},
  (_, at) => [now - from + at * step, 1]);
const sources = [];
window.EventSource = class extends EventTarget {
  constructor() { super(); sources.push(this); }
  close() {}
};
const { Chart } = await import('/static/chart.js');
let shown = null;
Chart.prototype.show = (series) => { shown = series.live; };
const { showBoard } = await import('/static/board.js');
const end = showBoard(document.createElement('main'), {
  session: {right: 'observe', metrics: []}, parameters: new URLSearchParams(),
}, 'board');
const tell = (name, data) => sources[0].dispatchEvent(
  Object.assign(new Event(name), {data: JSON.stringify(data)}));
const week = [...points(600, 604800, 86400), ...points(60, 86400, 600), ...points(1, 600, 0)];
const row = {state: 'well', name: 'b', id: 'b', note: '', started: null};
const memory = {live: 1, used: 1, total: 9, marks: [], rows: []};
tell('board', {row, memory});
tell('history', {series: {live: week}});
for (let at = 0; at < seconds; at++) {
  tell('board', {point: [now + at, at === 100 ? 9 : 1, 1, 1, 1, 1, 1]});
}
const before = [...shown];
tell('board', {point: [now + seconds - 1800.5, 5, 1, 1, 1, 1, 1]});
end();
return [now, before, shown.at(-1)];
"""


@pytest.fixture(scope="module")
def browser():
    need_chromium()
    with Browser() as browser:
        yield browser


def test_graphs_of_a_week_stay_a_weeks_while_the_page_is_open(browser):
    open_s = 4 * 3600
    with PageThread() as page:
        browser.open(page.url)
        browser.sees("No boards yet")
        now, points, set_back = browser.run(OPEN_FOR, open_s)
    times = [at for at, _ in points]
    end = now + open_s
    assert times == sorted(times)
    assert end - times[0] > 6.9 * 86_400
    assert len([at for at in times if at > end - 600]) >= 599  # each of the last minutes
    hours = [at for at in times if end - 86_400 < at < end - 700]
    assert 1300 <= len(hours) <= 1500  # of each minute of the last day
    assert [value for _, value in points if value == 9] == [9]  # its highest
    assert len(points) < 3500
    assert set_back == [end - 1800.5, 5]  # the clock of the server: what was later is dropped
