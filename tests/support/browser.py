"""Debian's Chromium, headless, in which tests use a page as people do: by its texts and roles."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

LIMIT_S = 20.0
# Without these it looks for servers of its maker at each start, and as root it needs no sandbox.
_OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-GB"),
]
_TAGS = {
    "button": "button",
    "link": "a[href]",
    "heading": "h1, h2",
    "textbox": "input:not([type=checkbox]):not([type=search]), textarea",
    "searchbox": "input[type=search]",
    "checkbox": "input[type=checkbox]",
    "combobox": "select",
    "table": "table",
    "row": "tr",
    "region": "section",
    "alert": "[role=alert]",
    "dialog": "dialog[open]",
    "img": "[role=img]",
    "log": "[role=log]",
}


def need_chromium():
    """Return chromium and its driver; skip the test where they are not installed; in CI fail."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if None in found and os.environ.get("CI") != "true":
        pytest.skip("no chromium here (Debian: apt-get install chromium chromium-driver)")
    assert None not in found, "CI has no chromium"
    return found


class Browser:
    """One Chromium with one tab; `with Browser() as browser:`."""

    def __init__(self, width=1400, height=1000):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        chromium, driver = need_chromium()
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for each in (*_OPTIONS, f"--user-data-dir={self._profile}"):
            options.add_argument(each)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(driver))
        self.driver.set_script_timeout(LIMIT_S)
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    # --- how it is set up -------------------------------------------------------------------------

    def resize(self, width, height=1000):
        """Have the page so many CSS pixels; narrow ones are a telephone's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def dark(self, on):
        """Prefer dark colours, or light ones."""
        value = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [value]})

    def zone(self, name):
        """Be in a time zone, as "Asia/Tokyo"."""
        self.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": name})

    def open(self, url):
        """Open a page anew."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def forget(self):
        """Forget cookies, and what went wrong on former pages."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.problems()

    def picture(self, file):
        """Write a PNG of the whole page."""
        options = {"captureBeyondViewport": True, "format": "png"}
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        Path(file).write_bytes(base64.b64decode(found["data"]))

    # --- what is on it ----------------------------------------------------------------------------

    def all(self, role, name=None):
        """Return the visible elements of a role; `name`: that have it as their accessible name."""
        from selenium.common.exceptions import StaleElementReferenceException

        found = []
        for each in self.driver.find_elements("css selector", _TAGS[role]):
            try:
                if each.is_displayed() and (name is None or each.accessible_name.strip() == name):
                    found.append(each)
            except StaleElementReferenceException:  # drawn anew meanwhile
                continue
        return found

    def one(self, role, name=None):
        """Wait for an element of a role, and return the first."""
        return self.until(lambda: self.all(role, name), f"no {role} {name!r}")[0]

    def click(self, role, name):
        """Click on an element."""
        self.until(lambda: [each.click() or True for each in self.all(role, name)[:1]], name)

    def type(self, name, text, role="textbox"):
        """Put text into a field that has such a label."""
        field = self.one(role, name)
        field.clear()
        field.send_keys(text)

    def text(self):
        """Return all that can be read."""
        return self.driver.execute_script("return document.body.innerText")

    def region(self, name):
        """Return what can be read in a region that has such a name."""
        return self.until(lambda: [each.text for each in self.all("region", name)], name)[0]

    def sees(self, *texts):
        """Wait until all of these can be read."""
        self.until(lambda: all(text in self.text() for text in texts), f"no {texts}")

    def loses(self, text):
        """Wait until something cannot be read any more."""
        self.until(lambda: text not in self.text(), f"still {text!r}")

    def until(self, holds, what=""):
        """Wait until holds() is true, and return that."""
        from selenium.common.exceptions import StaleElementReferenceException

        deadline = time.monotonic() + LIMIT_S
        while True:
            with contextlib.suppress(StaleElementReferenceException):  # drawn anew meanwhile
                if found := holds():
                    return found
            assert time.monotonic() < deadline, f"{what}\n{self.text()}\n{self.problems()}"
            time.sleep(0.02)

    def run(self, script, *arguments):
        """Run the body of an async function in the page; return its value."""
        whole = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{{script}}})(...[...arguments].slice(0, -1))"
            ".then(done, (error) => done(String(error)));"
        )
        return self.driver.execute_async_script(whole, *arguments)

    def problems(self):
        """Return what the browser complained about since it was asked last: errors, CSP."""
        return [each["message"] for each in self.driver.get_log("browser")]
