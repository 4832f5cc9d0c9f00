"""The web page of `boardwarden serve`, in a thread of its own: tests that drive a browser block.

Its boards are fakes at real pseudo-terminals, followed as `serve` follows them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

from cli_process import LIMIT_S, TerminalBoard

from boardwarden.serve.watched import Watched
from boardwarden.web import access
from boardwarden.web.access import Access
from boardwarden.web.server import PageOptions, served

PASSWORD = "correct horse"


def user(name, right):
    """Return a user who has PASSWORD, at the least cost: a real one's takes 0.2 s at each login."""
    salt = bytes(16)
    return access.User(name, right, salt.hex(), access._hash(PASSWORD, salt, 2, 8, 1), 2, 8, 1)


def users_file(path, **rights):
    """Write a file of users, `name="control"`, who all have PASSWORD; return its path."""
    access.save_users(path, {name: user(name, right) for name, right in rights.items()})
    return path


class PageThread:
    """Serves a page of boards: `with PageThread(access, boards) as page:`; `page.url`.

    fakes: FakeBoards by names of the test's; addresses: of others; stand_ins: see many_boards.
    start() and stop() take the server away and bring it back at the same port, while the boards are
    followed on.
    """

    def __init__(self, access=Access(), fakes=None, addresses=(), stand_ins=()):  # noqa: B008
        self._access = access
        self._fakes = fakes or {}
        self._addresses = addresses
        self._stand_ins = stand_ins
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = contextlib.AsyncExitStack()
        self._server = contextlib.AsyncExitStack()
        self.port = 0
        self.cookies = {}  # of the users who are signed in
        self.watched = []
        self.terminals = {}
        self.url = ""

    def __enter__(self):
        self._thread.start()
        self.call(self._begin())
        return self

    def __exit__(self, *_):
        self.call(self._server.aclose())
        self.call(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def call(self, work):
        """Run a coroutine, or a function, in the loop of the boards; return its result."""
        if callable(work):
            function = work

            async def work_of():
                return function()

            work = work_of()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    def board_url(self, name, more=""):
        """Return where a board's view is."""
        from urllib.parse import quote

        terminal = self.terminals.get(name)
        address = name if terminal is None else terminal.port
        return f"{self.url}#/board/{quote(address, safe='')}{more}"

    def start(self):
        """Serve, at the port of before."""
        self.call(self._serve())

    def stop(self):
        """Serve no more."""
        self.call(self._server.aclose())

    async def _begin(self):
        for name, board in self._fakes.items():
            self.terminals[name] = TerminalBoard(board)
            self._stack.callback(self.terminals[name].close)
        ports = [each.port for each in self.terminals.values()]
        self.watched = [Watched(each) for each in (*ports, *self._addresses)]
        tasks = [asyncio.create_task(each.follow()) for each in self.watched]

        async def end():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._stack.push_async_callback(end)
        self.watched += self._stand_ins
        await self._serve()

    async def _serve(self):
        self._server = contextlib.AsyncExitStack()
        options = PageOptions("127.0.0.1", self.port, self._access)
        self.url = await self._server.enter_async_context(served(options, self.watched))
        self.port = int(self.url.rstrip("/").rpartition(":")[2])
