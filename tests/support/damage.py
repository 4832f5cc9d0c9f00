"""Lines that damage what passes, as a seed has it: of a real transport, and of a fake one."""

from __future__ import annotations

import asyncio
import random


class DamagedTransport:
    """Loses, repeats, delays, truncates and flips pieces of up to 50 bytes.

    `rate` is the share of pieces that something happens to; 0 lets all pass.
    """

    def __init__(self, inner, seed, rate):
        self.rate = rate
        self.damaged = 0
        self._inner = inner
        self._random = random.Random(seed)
        self._held = {"in": b"", "out": b""}

    @property
    def address(self):
        return self._inner.address

    async def open(self):
        await self._inner.open()

    async def close(self):
        await self._inner.close()

    async def read(self):
        while True:
            data = await self._inner.read()
            if not data:
                return data
            if through := self._pass("in", data):
                return through

    async def write(self, data):
        if through := self._pass("out", data):
            await self._inner.write(through)

    async def damage(self, rate, seconds):
        """Damage what passes for so long, and until more than ten pieces were."""
        self.rate = rate
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while clock() < end or self.damaged <= 10:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self.rate = 0.0

    def _pass(self, way, data):
        return b"".join(self._fate(way, piece) for piece in self._pieces(data))

    def _pieces(self, data):
        while data:
            size = self._random.randint(5, 50)
            yield data[:size]
            data = data[size:]

    def _fate(self, way, piece):
        held, self._held[way] = self._held[way], b""
        if self._random.random() >= self.rate:
            return piece + held  # what was held back comes late
        self.damaged += 1
        how = self._random.choice(("lose", "repeat", "hold", "cut", "flip"))
        if how == "lose":
            return held
        if how == "repeat":
            return piece + piece + held
        if how == "hold":
            self._held[way] = piece
            return held
        at = self._random.randrange(len(piece))
        if how == "cut":
            return piece[:at] + held
        flipped = bytearray(piece)
        flipped[at] ^= 1 << self._random.randrange(8)
        return bytes(flipped) + held


class Damaging:
    """A line that loses, repeats, reorders, truncates and flips, as the drawn numbers say."""

    def __init__(self, source):
        self._source = source
        self._late = []

    def __call__(self, data):
        how = self._source.random()
        if how < 0.10:
            return
        if how < 0.20:
            self._late.append(data)  # comes after what follows
            return
        if how < 0.30:
            data = data[: self._source.randrange(len(data) + 1)]
        elif how < 0.40:
            at = self._source.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << self._source.randrange(8)]) + data[at + 1 :]
        yield data
        if how > 0.90:
            yield data
        if how > 0.60:
            yield from self._late
            self._late.clear()
