"""Reads the keys of terminals that send something else than UTF-8, as one set to Latin-1 does."""

from __future__ import annotations

import sys

from textual.driver import Driver


def tolerant(driver: type[Driver]) -> type[Driver]:
    """Return a driver that ignores bytes that are no UTF-8; Textual's own ends the view."""
    if sys.platform == "win32":
        return driver  # reads characters, not bytes
    from textual.drivers.linux_driver import LinuxDriver

    if not issubclass(driver, LinuxDriver):
        return driver

    class Tolerant(driver):  # type: ignore[misc, valid-type]
        def run_input_thread(self) -> None:
            while True:
                try:
                    super().run_input_thread()
                except UnicodeDecodeError:  # what was read with these bytes is lost, too
                    continue
                break

    return Tolerant
