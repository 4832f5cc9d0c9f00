"""Fake boards behind a real broker, over one connection or each over its own.

python tests/support/mqtt_boards.py mqtt://127.0.0.1:1883 960    # board0 to board959; or a name
python tests/support/mqtt_boards.py mqtt://127.0.0.1:1883 960 own    # each over its own connection
python tests/support/mqtt_boards.py mqtt://127.0.0.1:1883 960 lively    # see Lively
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time

import msgpack
from fake_stream import FakeStreamBoard

from boardwarden.transport.address import parse_mqtt
from boardwarden.transport.mqtt_broker import Broker

_STEP_S = 0.1
_LAG = 6  # of ids.THRESHOLD_METRICS


class MqttBoards:
    """Boards by their ids, at a broker: `async with MqttBoards(address, boards):`.

    own: each has a connection of its own.
    """

    def __init__(self, address: str, boards: dict[str, FakeStreamBoard], own: bool = False) -> None:
        self.boards = boards
        self._broker = Broker(parse_mqtt(address)[0])
        self._own = {name: Broker(parse_mqtt(address)[0]) for name in boards} if own else {}
        self._life: asyncio.Task[None] | None = None

    async def __aenter__(self) -> MqttBoards:
        for broker in (self._broker, *self._own.values()):
            await broker.enter()
        for board_id, board in self.boards.items():
            topic = f"boardwarden/{board_id}/up"
            board.send = lambda data, topic=topic, name=board_id: self.publish(topic, data, of=name)
            await self.set_online(board_id, True)
        self._life = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life
        for broker in (self._broker, *self._own.values()):
            await broker.leave()

    async def set_online(self, board_id: str, online: bool) -> None:
        """Publish a board's state, and wait until the broker has it."""
        board = self.boards[board_id]
        state = [1, board.identity, board.boot_id, board.policy.stored] if online else [0]
        self.publish(f"boardwarden/{board_id}/state", msgpack.packb(state), True, board_id)
        topics = [f"boardwarden/{board_id}/down"]
        broker = self._own.get(board_id, self._broker)
        broker.unsubscribe(topics, self._on_message)
        await broker.subscribe(topics, self._on_message)  # it answers in order

    def publish(self, topic: str, data: bytes, retain: bool = False, of: str = "") -> None:
        """Publish anything, as the user that all boards are here; of: whose connection it takes."""
        broker = self._own.get(of, self._broker)
        if not broker.is_lost:
            broker.publish(topic, data, retain)

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        self.boards[topic.split("/")[1]].receive(payload)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        every = list(self.boards.values())
        groups = [every[at::10] for at in range(10)]
        while True:
            for group in groups:
                for board in group:
                    board.step(loop.time())
                await asyncio.sleep(_STEP_S / len(groups) if len(every) > 1 else _STEP_S)


class Lively(FakeStreamBoard):
    """A board whose figures move; now and then one of them has an event, whose time is printed."""

    events = 0
    of = 1  # so many boards, which have two events a second together

    def sample(self, **values: object) -> None:
        """Send a sample with other figures than the last."""
        live = self.values["live_bytes"] + random.randint(-4000, 4000)
        live = max(20_000, min(230_000, live))
        values.update(live_bytes=live, free_bytes=240_000 - live)
        values.update(cpu_permille=random.randint(50, 400), loop_lag_worst_ms=random.randint(1, 60))
        super().sample(**values)
        if random.random() < 2 * self.interval_s / self.of:
            Lively.events += 1
            self.policy.happen("threshold", _LAG, "warn", Lively.events)
            print(Lively.events, time.time(), flush=True)


async def _main(address: str, which: str, own: bool, lively: bool) -> None:
    names = [f"board{number}" for number in range(int(which))] if which.isdecimal() else [which]
    boards = {name: Lively() if lively else FakeStreamBoard() for name in names}
    Lively.of = len(names)
    async with MqttBoards(address, boards, own):
        for number, board in enumerate(boards.values()):
            board.interval_s = 1.0
            board._sampled_at = board._full_state_at = random.random() * number
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:3], "own" in sys.argv[3:], "lively" in sys.argv[3:]))
