"""The web page of a fleet: `python -m bench.page BOARDS SECONDS` prints one line of JSON.

Fake boards that sample each second, two of which a second have an event, a mosquitto, one
`boardwarden serve` with its page, a Chromium that shows it, and four viewers who only read its
stream. The figures of docs/guides/page.md come from it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import fleet

_REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_REPO / "tests" / "support"))  # the browser is the tests'

from browser import Browser  # type: ignore[import-not-found]  # noqa: E402

_VIEWERS = 4  # besides the browser
_SETTLE_S = 40.0
_WORDS = ("board9", "99", "", "critical", "")  # that the fleet is filtered by
_NOTE_FIRST_ROW = """
new MutationObserver((changes, observer) => {
  if (!document.querySelector("tbody tr")) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now(); }));
}).observe(document, {childList: true, subtree: true});
"""
_NOTE_EVENTS = """
window.seen = {};
new MutationObserver(() => {
  for (const found of document.body.innerText.matchAll(/loop_lag_worst: warn, (\\d+) ms/g))
    window.seen[found[1]] ??= Date.now();
}).observe(document.body, {childList: true, subtree: true, characterData: true});
"""
_FILTER = """
const done = arguments[1], field = document.querySelector("input[type=search]");
const began = performance.now();
field.value = arguments[0];
field.dispatchEvent(new Event("input", {bubbles: true}));
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
"""


def _read(url: str, stop: threading.Event) -> None:
    """View the fleet, as a browser does that shows nothing."""
    request = urllib.request.Request(f"{url}api/fleet/events", headers={"accept-encoding": "gzip"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
        while not stop.is_set() and answer.read1(65_536):
            pass


@contextlib.contextmanager
def _viewed(url: str) -> Iterator[None]:
    stop = threading.Event()
    viewers = [threading.Thread(target=_read, args=(url, stop)) for _ in range(_VIEWERS)]
    for viewer in viewers:
        viewer.start()
    try:
        yield
    finally:
        stop.set()
        for viewer in viewers:
            viewer.join()


def _tab_bytes(browser: Browser) -> int:
    """Memory of the largest process of a browser's tabs (Linux, proc(5))."""
    profile = browser.driver.capabilities["chrome"]["userDataDir"]
    found = [0]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_text()
            if "--type=renderer" in command and profile in command:
                found.append(int((folder / "statm").read_text().split()[1]) * 4096)
    return max(found)


def _delays(seen: dict[str, float], happened: dict[str, float], since: float) -> list[float]:
    """Return how late events were seen that happened since then: older ones stood there already."""
    return sorted(
        at / 1000 - happened[number] for number, at in seen.items() if happened[number] > since
    )


def measure(boards: int, seconds: float) -> dict[str, Any]:
    """Return times in seconds, shares of a core and bytes."""
    with fleet.served(boards, "lively", page=True) as parts, Browser() as browser:
        happened: dict[str, float] = {}

        def note() -> None:
            for line in parts.fakes.stdout or ():
                number, at = line.split()
                happened[number] = float(at)

        threading.Thread(target=note, daemon=True).start()
        time.sleep(_SETTLE_S)
        with _viewed(parts.page_url):
            driver = browser.driver
            driver.execute_cdp_cmd(
                "Page.addScriptToEvaluateOnNewDocument", {"source": _NOTE_FIRST_ROW}
            )
            painted = []
            for _ in range(3):
                browser.open(parts.page_url)
                browser.sees(f"{boards} boards")
                time.sleep(1.0)
                painted.append(driver.execute_script("return window.painted") / 1000)
            filtered = [driver.execute_async_script(_FILTER, word) / 1000 for word in _WORDS]
            driver.execute_script(_NOTE_EVENTS)
            noted = time.time()
            began, cpu_s = time.monotonic(), fleet.cpu_s(parts.worker)
            tab = [_tab_bytes(browser)]
            while time.monotonic() - began < seconds:
                time.sleep(min(10.0, seconds))
                tab.append(_tab_bytes(browser))
            lasted = time.monotonic() - began
            delays = _delays(driver.execute_script("return window.seen"), happened, noted)
            return {
                "boards": boards,
                "seconds": round(lasted),
                "viewers": _VIEWERS + 1,
                "first_paint_s": round(max(painted), 2),
                "filter_s": round(max(filtered), 3),
                "events": len(delays),
                "event_p50_s": round(delays[len(delays) // 2], 2),
                "event_p99_s": round(delays[int(len(delays) * 0.99)], 2),
                "server_core_percent": round(100 * (fleet.cpu_s(parts.worker) - cpu_s) / lasted, 1),
                "server_bytes": fleet.rss(parts.worker),
                "tab_bytes_first": tab[0],
                "tab_bytes_most": max(tab),
                "tab_bytes_last": tab[-1],
            }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), float(sys.argv[2]))))
