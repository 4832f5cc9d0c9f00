# targets: unix frozen
"""The link over a client of mqtt_as's kind, which publishes in tasks: a task of ours feeds it."""

import asyncio
import time

from frames import decode, deframed, framed
from harness import raises
from rig import board
from warden.launch import make_runner
from warden.mqtt_setup import MqttLink
from warden.runner import Runner
from warden.setup import make_agent

HELLO, REPLY = 1, 7
_UP, _DOWN, _STATE = b"boardwarden/b/up", b"boardwarden/b/down", b"boardwarden/b/state"


class Client:
    """Behaves to a caller as mqtt_as 0.8.3 does, by its source; the broker is in memory.

    What it is not connected for waits, and goes when it is; it reconnects by its own connect().
    Messages are in a buffer that it uses again (MSG_BYTES False).
    """

    def __init__(self):
        self._has_connected = self._isconnected = False
        self._lw_topic = False
        self._cb = None
        self.lock = asyncio.Lock()
        self.published = []
        self.subscribed = []
        self.buffer = bytearray(200)

    def _set_last_will(self, topic, msg, retain=False, qos=0):
        self._lw_topic = topic
        self.will = (topic, msg, retain)

    def isconnected(self):
        return self._isconnected

    async def connect(self, *, quick=False):
        await asyncio.sleep_ms(1)
        self.subscribed.clear()
        self._isconnected = self._has_connected = True

    async def disconnect(self):
        self._isconnected = self._has_connected = False

    async def _connection(self):
        while not self._isconnected:
            await asyncio.sleep_ms(5)

    async def publish(self, topic, msg, retain=False, qos=0, properties=None):
        await self._connection()
        async with self.lock:
            await asyncio.sleep_ms(1)
            topic = topic if isinstance(topic, bytes) else topic.encode()
            self.published.append((topic, bytes(msg), retain))

    async def subscribe(self, topic, qos=0, properties=None):
        await self._connection()
        async with self.lock:
            await asyncio.sleep_ms(1)
            self.subscribed.append(topic)

    def deliver(self, topic, msg, retained=False):
        self.buffer[: len(msg)] = msg
        self._cb(topic, memoryview(self.buffer)[: len(msg)], retained)
        self.buffer[: len(msg)] = bytes(len(msg))

    def sent(self):
        """Return the agent's messages, each a frame that is whole by itself."""
        found = []
        for topic, message, _ in self.published:
            if topic == _UP:
                payloads, text, bad = deframed(message, 300)
                assert len(payloads) == 1 and not text and not bad, message
                found.append(decode(payloads[0]))
        return found

    def states(self):
        return [message for topic, message, retain in self.published if topic == _STATE and retain]


async def _until(condition):
    deadline = time.ticks_add(time.ticks_ms(), 10_000)
    while not condition():
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0
        await asyncio.sleep_ms(5)


async def test_frames_state_and_requests_go_through_the_clients_tasks():
    client = Client()
    got = []
    client._cb = lambda topic, message, retained: got.append((topic, bytes(message)))
    link = MqttLink(client, "b", control=True)
    assert client.will == (_STATE.decode(), b"\x91\0", True)
    agent = make_agent(board(), 50, 1000, link, (4, 300_000, 100, 5000))
    runner = make_runner(agent)
    runner.start()
    try:
        await client.connect()
        await _until(lambda: len(client.sent()) > 8)
        messages = client.sent()
        assert messages[0][0] == HELLO
        assert client.subscribed == [_DOWN]
        assert [decode(state)[0] for state in client.states()] == [1]
        assert messages[0][8][18] == 0  # the last will is set
        client.deliver(b"app/in", b"one")
        client.deliver(_DOWN, framed([67, 100, 1, 0, []]), True)  # retained: of the past
        client.deliver(_DOWN, framed([67, 100, 2, 0, []]))
        await _until(lambda: REPLY in [message[0] for message in client.sent()])
        replies = [message[2:] for message in client.sent() if message[0] == REPLY]
        assert replies == [[2, 0, None, 100]], replies
        assert got == [(b"app/in", b"one")]
        messages = client.sent()
        numbers = [message[1] for message in messages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

        client._set_last_will("own", b"gone")
        client._isconnected = False  # as when Wi-Fi is lost; it reconnects by connect()
        await asyncio.sleep_ms(200)
        client.published.clear()
        await asyncio.sleep_ms(100)
        assert not client.published
        await client.connect()
        await _until(lambda: HELLO in [message[0] for message in client.sent()])
        assert client.subscribed == [_DOWN]
        assert [decode(state)[0] for state in client.states()] == [1]
        hello = [message for message in client.sent() if message[0] == HELLO][-1]
        assert hello[8][18] == 20  # the application's own

        await client.disconnect()
        assert client.states()[1:] == [b"\x91\0"]
        raises(ValueError, MqttLink, await _connected(), "b")
        assert agent.faults == 0
    finally:
        runner.stop()


async def test_an_application_that_is_run_again_goes_on_over_the_client_that_it_makes_then():
    client = Client()
    link = MqttLink(client, "b", control=True)
    agent = make_agent(board(), 50, 1000, link, (4, 300_000, 100, 5000))
    Runner.current = runner = make_runner(agent)
    runner.start()
    try:
        await client.connect()
        await _until(lambda: len(client.sent()) > 8)
        former = link.worker
        next_client = Client()
        assert MqttLink(client, "b") is MqttLink(next_client, "b") is link
        await _until(former.done)
        client.published.clear()
        await next_client.connect()
        await _until(lambda: HELLO in [message[0] for message in next_client.sent()])
        assert next_client.subscribed == [_DOWN]
        next_client.deliver(_DOWN, framed([67, 100, 2, 0, []]))
        await _until(lambda: REPLY in [message[0] for message in next_client.sent()])
        assert not client.published
        raises(ValueError, MqttLink, await _connected(), "b")
        assert link.client is next_client
        await client.disconnect()  # the one that there was before is the application's alone
        assert next_client.isconnected() and not client.isconnected()
        await client.connect()
        await asyncio.sleep_ms(20)
        assert client._cb is None and not client.subscribed and not client.published
        assert agent.faults == 0
    finally:
        Runner.current = None
        runner.stop()


async def _connected():
    client = Client()
    await client.connect()
    return client
