"""Makes a link over the application's own MQTT connection; let go when that is made."""

from micropython import const

from warden.link.mqtt import UmqttLink
from warden.mqtt_session import MqttSession
from warden.runner import Runner
from warden.sensors.threads import import_lock, new_lock

_OFFLINE = const(b"\x91\x00")  # as in `link.mqtt`
_MAX_BOARD_ID = const(64)
_ID = const("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_MAX_MESSAGES = const(4)
_TOPIC_AT = const(5)  # where the topic of a PUBLISH begins
_MAX_WIRE = const(406)
_OBSERVE = const(1)  # rights of a host, see docs/security.md
_CONTROL = const(2)
# A client's functions that are the link's instead while it is over that one.
_WRAPPED = const("connect disconnect reconnect publish subscribe unsubscribe set_callback")


def MqttLink(client, board_id, key=None, control_key=None, control=False):
    """Return a link over a client of umqtt.simple, umqtt.robust or mqtt_as; it has not connected.

    Where the agent runs and has one of this board_id it is that one, which goes on over the client:
    of an application that is run again.

    board_id: 1 to 64 of `A-Z a-z 0-9 . _ -`, what is between `boardwarden/` and `/up`. key,
    control_key: as of `TcpServer`; who proves none only reads what is sent. Without both, who may
    publish on `boardwarden/ID/down` looks; control=True lets him change what he likes, which the
    broker's access rules then limit. ValueError for another board_id, or where the client has
    connected.
    """
    if not isinstance(board_id, str) or not (
        hasattr(client, "sock") or hasattr(client, "_has_connected")
    ):
        raise TypeError("a client of umqtt or mqtt_as, and a text")
    if not 0 < len(board_id) <= _MAX_BOARD_ID or board_id.strip(_ID):
        raise ValueError("board_id")
    link_class = UmqttLink
    attach = None
    with import_lock:
        if key is not None or control_key is not None:
            from warden.keyed_mqtt import attach
        if not hasattr(client, "sock"):
            from warden.link.mqtt_as import MqttAsLink

            link_class = MqttAsLink
    topic = "boardwarden/" + board_id + "/"
    down = (topic + "down").encode()
    runner = Runner.current
    link = None if runner is None else runner.agent.link
    is_new = link.__class__ is not link_class or link.topic != down
    if not is_new and link.client is client:
        return link
    if client.sock is not None if link_class is UmqttLink else client._has_connected:
        raise ValueError("it has connected")
    if is_new:
        link = link_class()
        link.session = MqttSession
        link.right = _CONTROL if control else _OBSERVE
        if attach is not None:
            attach(link, key, control_key)
        link.topic = down
        link.state = topic + "state"
        link.agent = None
        link.opened = False
        link.queue = [None] * _MAX_MESSAGES
        link.received = link.used = 0
        link.wire = packet = bytearray(_TOPIC_AT) + (topic + "up").encode() + bytearray(_MAX_WIRE)
        link.head = size = len(packet) - _MAX_WIRE
        packet[_TOPIC_AT - 1] = size - _TOPIC_AT
        link.buf = memoryview(packet)[size:]
    if link_class is UmqttLink:
        link.sock = None  # before the rest: no frame goes meanwhile
        if not is_new:  # the client that there was before is the application's alone
            for name, function in zip(_WRAPPED.split(), link.wrapped):
                setattr(link.client, name, function)
            link.client.cb = link.callback
        lock = new_lock(False)  # a thread may be stuck in a client that there was before
        link.acquire = lock.acquire
        link.releases = (bool, lock.release)
        link.owner = [None]
        link.active = False
        link.joining = None
        link.client = client
        if client.lw_topic is None:
            client.set_last_will(link.state, _OFFLINE, True)
        link.wrapped = [getattr(client, name, None) for name in _WRAPPED.split()]
        for name in ("publish", "subscribe", "unsubscribe"):
            setattr(client, name, link.locked(getattr(client, name)))
        client.connect = link.connect
        client.disconnect = link.disconnect
        client.reconnect = link.reconnect
        client.set_callback = link.set_callback
        link.set_callback(client.cb)
    else:
        link.attach(client)
    return link
