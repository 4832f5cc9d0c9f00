"""Every error that boardwarden raises; each message says in one sentence what to do.

BoardError
├── ConnectError            no session with the board; .address
│   ├── AddressError        the address means nothing
│   ├── PortMissing         no such port or host
│   ├── PortBusy            another program has it
│   ├── PermissionDenied    the system, or a broker, does not let this user in
│   ├── SimulatorMissing    the simulator's program is not installed
│   ├── NoAgent             connected, and nothing there speaks the protocol
│   ├── AtPrompt            connected, and the board sits at its REPL prompt
│   ├── PoorLink            connected, and the agent's state does not arrive whole
│   ├── VersionMismatch     the board's agent speaks another major version; .board_version
│   ├── BoardOffline        the broker is there, and the board is not
│   ├── NoPlace             as many hosts are connected as the board has places for; .hosts
│   └── KeyRefused          the board demands another key, or has not proved ours
├── KeyFileError            a key file cannot be used; .path
├── PolicyError             a policy file that cannot be used; .path, .line, .key
├── RecordingError          a recording cannot be read or written
├── LinkLost                the link broke, or the board is closed
├── DeployError             the agent could not be put on the board, or taken off it
└── RequestError            a request has no good answer
    ├── RequestTimeout      no reply in time: whether it was done is unknown
    ├── RequestRefused      the board said no; .code, .value
    │   ├── Denied          it cannot be had now; .reason, .available, .retry_after_s, .blockers
    │   └── NotFound        there is no lease or operation of that id (any more)
    └── BoardRestarted      the board restarted meanwhile: whether it was done is unknown
"""

from __future__ import annotations


class BoardError(Exception):
    """The base of all errors of this package."""


class ConnectError(BoardError):
    """There is no session with the board at `address`."""

    def __init__(self, message: str, address: str = "") -> None:
        super().__init__(message)
        self.address = address


class AddressError(ConnectError):
    """The address has none of the known forms, or names what is not there."""


class PortMissing(ConnectError):
    """There is no such port, host or file."""


class PortBusy(ConnectError):
    """Another program has the port."""


class PermissionDenied(ConnectError):
    """The system does not let this user open the port, or the broker does not let it in."""


class SimulatorMissing(ConnectError):
    """The program that simulates a board is not installed."""


class NoAgent(ConnectError):
    """No agent answered at the address.

    malformed: frames came whole, and none makes sense to this host. ended: the link closed, as that
    to a simulated board does when its program ends.
    """

    def __init__(
        self, message: str, address: str = "", malformed: bool = False, ended: bool = False
    ) -> None:
        super().__init__(message, address)
        self.malformed = malformed
        self.ended = ended


class AtPrompt(ConnectError):
    """The board sits at its REPL prompt, so no agent is running."""


class PoorLink(ConnectError):
    """An agent answers, but does not send its full state.

    lossy: frames were lost or damaged. malformed: some came whole, and make no sense to this host.
    """

    def __init__(
        self, message: str, address: str = "", lossy: bool = False, malformed: bool = False
    ) -> None:
        super().__init__(message, address)
        self.lossy = lossy
        self.malformed = malformed


class VersionMismatch(ConnectError):
    """The agent speaks another major version; `board_version` is like "2.0"."""

    def __init__(self, message: str, address: str = "", board_version: str = "") -> None:
        super().__init__(message, address)
        self.board_version = board_version


class BoardOffline(ConnectError):
    """The broker is there, and the board is not connected to it."""


class KeyRefused(ConnectError):
    """The board demands a key that was not given, or did not prove that it has the one given."""


class KeyFileError(BoardError):
    """A key file cannot be read or written, or holds no key."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class NoPlace(ConnectError):
    """The board serves as many hosts as it can; `hosts`: the addresses they are connected from."""

    def __init__(self, message: str, address: str = "", hosts: tuple[str, ...] = ()) -> None:
        super().__init__(message, address)
        self.hosts = hosts


class PolicyError(BoardError):
    """A policy file cannot be read or is not valid.

    line: counted from 1, key: such as "limits.max_operations"; None where it is about no one line.
    """

    def __init__(
        self, message: str, path: str = "", line: int | None = None, key: str | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.key = key


class LinkLost(BoardError):
    """The link to the board broke or was closed."""


class DeployError(BoardError):
    """The agent could not be put on the board, or taken off it; the text says what remains."""


class RequestError(BoardError):
    """A request to the board did not succeed."""


class RequestTimeout(RequestError):
    """No reply came in time; whether the board did it is unknown."""


class RequestRefused(RequestError):
    """The board refused: `code` is a reply code of the schema, `value` its detail."""

    def __init__(self, message: str, code: int = 0, value: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.value = value


class Denied(RequestRefused):
    """The board cannot grant it now.

    reason: a code, see docs/board.md; available: what could be had, in the unit asked for, None
    where the reason is none of amount; retry_after_s: when it may be otherwise, None if nobody
    knows; blockers: ids of the leases or operations that stand in the way.
    """

    def __init__(
        self,
        message: str,
        code: int = 0,
        value: object = None,
        *,
        reason: str = "",
        available: float | None = None,
        retry_after_s: float | None = None,
        blockers: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message, code, value)
        self.reason = reason
        self.available = available
        self.retry_after_s = retry_after_s
        self.blockers = blockers


class NotFound(RequestRefused):
    """The board knows no lease or operation of that id; it may have ended."""


class BoardRestarted(RequestError):
    """The board restarted before it replied; whether it did the request is unknown."""


class RecordingError(BoardError):
    """A recording cannot be read or written; the text says in one sentence why."""
