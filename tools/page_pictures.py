"""Take the pictures of the web page: three simulated boards, in a real Chromium.

    python tools/page_pictures.py

All of them, fleet and boards at both widths, light and dark, are in build/pictures; the one that
README shows is docs/pictures/page.png. It takes two minutes: so much of the boards' life is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests" / "support"))  # the browser is the tests'

from browser import Browser  # type: ignore[import-not-found]  # noqa: E402

BOARDS = [f"sim:examples/{name}.py" for name in ("leaky_gateway", "blocking_station", "station")]
FOLDER = REPO / "build" / "pictures"
SHOWN = REPO / "docs" / "pictures" / "page.png"
_LIFE_S = 100.0  # until the first picture
_SETTLE_S = 3.0
_SIZES = (1400, 360)


@contextlib.asynccontextmanager
async def _served() -> AsyncIterator[str]:
    """Serve the boards while the block runs; yield the page's URL."""
    boards = [word for each in BOARDS for word in ("--board", each)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "boardwarden", "serve", *boards),
        *("--listen", "127.0.0.1:0", "--page", "127.0.0.1:0"),
        cwd=REPO,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        line = (await process.stdout.readline()).decode()
        yield line.removeprefix("the page is at ").partition(";")[0]
    finally:
        process.terminate()
        await process.wait()


async def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with _served() as url:
        with Browser(height=900) as browser:
            views = {"fleet": url, "leaking": _of(url, BOARDS[0]), "blocked": _of(url, BOARDS[1])}
            browser.open(url)
            await asyncio.sleep(_LIFE_S)
            for name, place in views.items():
                browser.open(place)
                await asyncio.sleep(_SETTLE_S)
                for width in _SIZES:
                    for dark in (False, True):
                        browser.resize(width, 900 if width > 600 else 780)
                        browser.dark(dark)
                        await asyncio.sleep(_SETTLE_S)
                        colours = "dark" if dark else "light"
                        file = FOLDER / f"{name}-{width}-{colours}.png"
                        browser.picture(file)
                        print(file.relative_to(REPO))
            browser.dark(False)
            browser.resize(1240, 690)
            browser.open(url)
            await asyncio.sleep(_SETTLE_S)
            browser.driver.save_screenshot(str(SHOWN))
    print(SHOWN.relative_to(REPO))


def _of(url: str, board: str) -> str:
    return f"{url}#/board/{quote(board, safe='')}?span=2m"


if __name__ == "__main__":
    asyncio.run(main())
