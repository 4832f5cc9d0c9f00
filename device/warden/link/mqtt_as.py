"""A link over the application's own MQTT connection, by mqtt_as, which a task of its own feeds."""

import asyncio

from micropython import const

from warden.link.mqtt import UmqttLink, status

_OFFLINE = const(b"\x91\x00")  # as in `link.mqtt`
_TOPIC_AT = const(5)  # where the topic of a PUBLISH begins


class MqttAsLink(UmqttLink):
    """Publishes with the client's own functions, one frame after the other."""

    will = "_lw_topic"
    event = None

    def attach(self, client):
        """Wrap the client's functions, and set its last will where there is none."""
        self.up = bytes(self.wire[_TOPIC_AT : self.head])
        former = self.event
        self.event = asyncio.Event()  # there is something for the task
        if former is not None:  # the client that there was before is the application's alone
            self.client.connect = self.client_connect
            self.client.disconnect = self.client_disconnect
            self.client._cb = self.callback
            former.set()  # its task ends
        self.client = client
        self.worker = None
        self.is_joined = self.must_join = False
        self.length = 0  # of the frame that the task publishes
        self.status = None  # the payload of `state` that it publishes
        if not client._lw_topic:
            client._set_last_will(self.state, _OFFLINE, True, 0)
        self.callback = client._cb
        client._cb = self.on_any
        self.client_connect = client.connect
        self.client_disconnect = client.disconnect
        client.connect = self.connect
        client.disconnect = self.disconnect

    def on_any(self, topic, message, *more):
        """Take a message, which the client may have in a buffer that it uses again."""
        if topic == self.topic:
            message = bytes(message)
        self.feed(topic, message, *more)

    async def connect(self, *args, **kwargs):
        """Connect, and have the task subscribe to `down`."""
        self.is_joined = False
        await self.client_connect(*args, **kwargs)
        self.must_join = True
        if self.worker is None or self.worker.done():  # it is the first, or of another event loop
            self.worker = asyncio.create_task(self.work())
        self.event.set()

    async def disconnect(self):
        """Say that the board is offline, for no will does, and disconnect."""
        if self.isconnected():
            self.is_joined = False
            await self.client.publish(self.state, _OFFLINE, True, 0)
        await self.client_disconnect()

    async def work(self):
        """Subscribe over each new connection, and publish what there is."""
        client = self.client
        event = self.event
        while True:
            await event.wait()
            if event is not self.event:
                break
            event.clear()
            if self.must_join:
                self.must_join = False
                self.length = 0
                await client.subscribe(self.topic, 0)
                self.opened = self.is_joined = True
                if self.agent is not None:
                    self.report(status(self.agent))
            state = self.status
            if state is not None:
                self.status = None
                await client.publish(self.state, state, True, 1)
            if self.length:
                await client.publish(self.up, self.buf[: self.length], False, 0)
                self.length = 0

    def isconnected(self):
        """Tell whether frames can go; else not until the client connects."""
        return self.is_joined and self.client.isconnected()

    def report(self, state=_OFFLINE):
        """Have the task publish `state`, before the next frame."""
        if self.is_joined:
            self.status = state
            self.event.set()

    close = report  # the connection goes on to be the application's

    def write(self, buf, start, end):
        """Have the task publish buf[:end]; return 1 at first, and the rest when that is done.

        So the session puts no other one there meanwhile.
        """
        if start:
            return 0 if self.length else end - start
        if not self.isconnected():
            return 0
        self.length = end
        self.event.set()
        return 1
