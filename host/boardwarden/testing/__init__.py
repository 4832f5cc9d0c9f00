"""Fakes for tests: a board that speaks the protocol, one at its prompt, and a transport.

    board = FakeBoard()
    async with boardwarden.connect(FakeTransport(board)) as mirrored: ...

Nothing here talks to hardware. Simulating a real agent is the address "sim".
"""

from .fake_board import FakeBoard, FakePrompt, FakeTransport, Peer
from .fake_policy import FakePolicy

__all__ = [
    "FakeBoard",
    "FakePolicy",
    "FakePrompt",
    "FakeTransport",
    "Peer",
]
