"""Addresses of boards behind a broker, and what a board says of itself there; no broker."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import msgpack
import pytest
from virtual_time import until

from boardwarden import AddressError, ConnectError, connect
from boardwarden.transport import mqtt_broker, transport_for
from boardwarden.transport.address import Place, parse_broker, parse_mqtt
from boardwarden.transport.mqtt import BoardState, decode_state
from boardwarden.transport.mqtt_broker import Broker


@pytest.mark.parametrize(
    ("address", "place", "board"),
    [
        ("mqtt://broker/green-1", Place("mqtt", None, "broker", 1883), "green-1"),
        ("mqtts://ann@10.0.0.1:1884/A_b.9", Place("mqtts", "ann", "10.0.0.1", 1884), "A_b.9"),
        ("mqtt://[fe80::1]/x", Place("mqtt", None, "fe80::1", 1883), "x"),
    ],
)
def test_an_address_names_a_broker_and_a_board(address: str, place: Place, board: str) -> None:
    assert parse_mqtt(address) == (place, board)
    assert transport_for(address).address == address
    assert parse_mqtt(f"{place}/{board}") == (place, board)


@pytest.mark.parametrize(
    "address",
    [
        *("mqtt:", "mqtt://", "mqtt://broker", "mqtt://broker/", "mqtt:///x", "mqtt://broker/a/b"),
        *("mqtt://broker/+", "mqtt://broker/a%23", "mqtt://broker:no/x", "mqtt://broker:0/x"),
        *(f"mqtt://broker/{'x' * 65}", "mqtt://broker/x?a=b", "mqtt://broker/x#y", "mqttx://b/x"),
    ],
)
def test_a_wrong_address_is_refused_with_the_forms_that_there_are(address: str) -> None:
    with pytest.raises(AddressError, match="mqtt://broker/name") as caught:
        transport_for(address)
    assert caught.value.address == address


def test_where_a_broker_belongs_a_boards_address_is_refused_and_its_broker_named() -> None:
    assert parse_broker("mqtts://ann@broker/") == Place("mqtts", "ann", "broker", 8883)
    with pytest.raises(AddressError, match=r"names a board; its broker is mqtt://ann@broker:9\.$"):
        parse_broker("mqtt://ann@broker:9/green-1")


@pytest.mark.parametrize("scheme", ["mqtt://", "mqtts:", "mqtt:/"])
@pytest.mark.parametrize("user", ["ann:secret", "ann:", ":secret", "a:sec@ret", "a:b:secret"])
def test_a_password_in_an_address_is_refused_and_not_repeated(user: str, scheme: str) -> None:
    with pytest.raises(AddressError, match="BOARDWARDEN_MQTT_PASSWORD") as caught:
        transport_for(f"{scheme}{user}@broker/x")
    assert "secret" not in str(caught.value) + caught.value.address


@pytest.mark.parametrize("text", ["\udcff", "x" * 65_536], ids=["no UTF-8", "long"])
async def test_what_mqtt_cannot_carry_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with pytest.raises(AddressError, match="user's name") as caught:
        transport_for(f"mqtt://{text}@broker/x")
    assert len(str(caught.value)) < 300
    monkeypatch.setattr("os.environ", {"BOARDWARDEN_MQTT_PASSWORD": text})
    with pytest.raises(ConnectError, match="BOARDWARDEN_MQTT_PASSWORD is no text"):
        async with connect("mqtt://ann@127.0.0.1:1/x"):
            pass


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ([0], BoardState(False)),
        ([1, [], 7, None], BoardState(True, {}, 7, None)),
        ([1, ["esp32"], None, 1, "later"], BoardState(True, {"machine": "esp32"}, None, 1)),
        ([1, [], 7, b"\xab\xcd"], BoardState(True, {}, 7, "abcd")),
        ([1, [], 7, 0, 0, "later"], BoardState(True, {}, 7, 0)),
        *(([2, [], 7, None], BoardState(None)), ([1, [], 7, {}], BoardState(None))),
        *(([True, [], 7], BoardState(None)), ([1], BoardState(None)), ([1, "x"], BoardState(None))),
        *(([1, [[]], 1], BoardState(None)), ([], BoardState(None)), (7, BoardState(None))),
        ([1, ["x" * 600], 1, None], BoardState(None)),
    ],
)
def test_a_boards_state_is_read_and_a_strangers_is_malformed(
    fields: object, state: BoardState
) -> None:
    assert decode_state(msgpack.packb(fields)) == state


def test_an_empty_state_is_no_board_and_noise_is_malformed() -> None:
    assert decode_state(b"") is None
    assert decode_state(b"online") == decode_state(b"\xc1") == BoardState(None)


def test_a_topic_that_is_no_text_is_nobodys() -> None:
    client = pytest.importorskip("paho.mqtt.client")
    message = client.MQTTMessage(topic=b"boardwarden/\xff/up")
    Broker(Place("mqtt", None, "broker", 1883))._on_message(None, None, message)


@contextlib.asynccontextmanager
async def _slow_broker(taken: bytearray) -> AsyncIterator[Place]:
    """Run a broker that reads little at a time, sends much, and answers what has to be."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x02\x00\x00")  # CONNACK
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (kind,), length, shift = await reader.readexactly(1), 0, 0
                while True:
                    (byte,) = await reader.readexactly(1)
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                packet = await reader.readexactly(length)
                if kind >> 4 == 3:  # PUBLISH
                    taken.extend(packet)
                    writer.write(b"\x30\x06\x00\x03a/bx" * 50)  # comes back, unread
                    await asyncio.sleep(0.005)
                elif kind >> 4 == 10:  # UNSUBSCRIBE
                    writer.write(b"\xb0\x02" + packet[:2])
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    yield Place("mqtt", None, "127.0.0.1", server.sockets[0].getsockname()[1])
    await asyncio.wait_for(ended.wait(), 10)
    server.close()


async def test_what_was_published_last_is_taken_before_the_connection_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("paho.mqtt.client")
    monkeypatch.setattr(mqtt_broker, "_LEAVE_S", 60.0)  # a busy machine takes its time
    taken = bytearray()
    async with _slow_broker(taken) as place:
        broker = mqtt_broker.shared(place)
        await broker.enter()
        sent = 0
        while sent < 40 and broker.publish("a/b", b"%06d" % sent + bytes(3000)):
            sent += 1
        await broker.leave()
    assert sent > 1
    assert taken.count(b"a/b") >= sent
    assert b"%06d" % (sent - 1) in taken


async def test_who_is_cancelled_while_it_leaves_or_subscribes_waits_for_no_answer() -> None:
    pytest.importorskip("paho.mqtt.client")
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x02\x00\x00")  # CONNACK, and no more
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    place = Place("mqtt", None, "127.0.0.1", server.sockets[0].getsockname()[1])
    broker = mqtt_broker.shared(place)
    await broker.enter()
    broker.publish("a/b", b"")
    for work in (broker.subscribe(["a/b"], lambda *_: None), broker.leave()):
        task = asyncio.ensure_future(work)
        await until(lambda: broker._pending)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not broker._pending  # else its error would be nobody's
    assert broker.is_lost
    await asyncio.wait_for(ended.wait(), 10)
    server.close()


async def test_who_comes_while_the_last_one_leaves_has_the_connection() -> None:
    pytest.importorskip("paho.mqtt.client")
    async with _slow_broker(bytearray()) as place:
        broker = mqtt_broker.shared(place)
        await broker.enter()
        broker.publish("a/b", bytes(3000))
        leaving = asyncio.create_task(broker.leave())
        await asyncio.sleep(0)
        assert mqtt_broker.shared(place) is broker
        await broker.enter()
        await leaving
        assert not broker.is_lost
        await broker.leave()
        assert broker.is_lost


@pytest.mark.parametrize(("before", "after"), [(20, 0), (20, 20)])
async def test_who_comes_and_goes_while_another_leaves_costs_no_message(
    monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    pytest.importorskip("paho.mqtt.client")
    monkeypatch.setattr(mqtt_broker, "_LEAVE_S", 60.0)  # a busy machine takes its time
    taken = bytearray()
    sent = []
    async with _slow_broker(taken) as place:
        broker = mqtt_broker.shared(place)

        def publish(numbers: range) -> None:
            for number in numbers:
                text = b"<%d>" % number
                if broker.publish("a/b", text + bytes(3000)):
                    sent.append(text)

        await broker.enter()
        publish(range(before))
        leaving = asyncio.create_task(broker.leave())
        await until(lambda: broker._pending and not broker._client.want_write())
        await broker.enter()
        publish(range(before, before + after))
        await asyncio.gather(leaving, broker.leave())
        assert broker.is_lost
    assert len(sent) >= max(before, after)
    assert [text for text in sent if text not in taken] == []


async def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(ConnectError, match=r"pip install 'boardwarden\[mqtt\]'"):
        async with connect("mqtt://broker/x"):
            pass
