"""The errors of a connection: each says in a sentence what is wrong and what to do about it."""

from __future__ import annotations

from boardwarden.errors import (
    AtPrompt,
    BoardRestarted,
    LinkLost,
    NoAgent,
    PoorLink,
    RequestError,
    RequestTimeout,
    VersionMismatch,
)
from warden_schema import ids

_MAX_SHOWN = 60  # characters of a line
_PROMPT = ">>> "
_TAIL_CHARACTERS = 512  # characters that are remembered


def no_answer(address: str, timeout: float, last_line: str) -> NoAgent:
    """Return the error if no agent answered."""
    if not last_line:
        message = f"Nothing at {address} answered within {timeout:g} s; is the agent running there?"
    elif last_line.isprintable() and "\N{REPLACEMENT CHARACTER}" not in last_line:
        message = (
            f"No agent answered at {address} within {timeout:g} s, but a program there prints; "
            f"last: {last_line[-_MAX_SHOWN:]!r}."
        )
    else:
        message = (
            f"What {address} sends is neither text nor from an agent; is that a MicroPython "
            "board, and at 115200 baud?"
        )
    return NoAgent(message, address)


def at_prompt(address: str) -> AtPrompt:
    """Return the error if the board is at its REPL prompt."""
    message = f"The board at {address} is at its REPL prompt; start the agent on it with"
    return AtPrompt(f"{message} `import warden; warden.start()`.", address)


def poor_link(address: str, timeout: float, lossy: bool) -> PoorLink:
    """Return the error if the full state did not come; lossy: frames were lost or damaged."""
    if lossy:
        message = f"The agent at {address} answers, but too much gets lost; check the line."
    else:
        message = (
            f"The agent at {address} answers, but did not send its full state within "
            f"{timeout:g} s; does its application block the loop?"
        )
    return PoorLink(message, address)


def closed_early(address: str, last_line: str) -> NoAgent:
    """Return the error if the link closed before an agent answered."""
    if last_line:
        message = f"The program at {address} ended before its agent answered, with: {last_line}"
    else:
        message = f"The link to {address} closed before its board answered; is it in use?"
    return NoAgent(message, address)


def other_version(address: str, major: int, minor: int) -> VersionMismatch:
    """Return the error if the agent speaks another major version."""
    theirs, ours = f"{major}.{minor}", f"{ids.PROTOCOL_MAJOR}.{ids.PROTOCOL_MINOR}"
    message = (
        f"The agent at {address} speaks protocol {theirs} and this host {ours}; "
        "install boardwarden and the agent in the same version."
    )
    return VersionMismatch(message, address, theirs)


def restarted() -> BoardRestarted:
    """Return the error if the board restarted after the request was sent."""
    return BoardRestarted(
        "The board restarted before it replied, so whether it did the request is unknown; "
        "look at its state, then try again."
    )


def renewed() -> RequestTimeout:
    """Return the error if the board was silent for so long that a new session began."""
    return RequestTimeout(
        "The board was silent for long, so whether it did the request is unknown; "
        "look at its state, then try again."
    )


def no_reply(timeout: float) -> RequestTimeout:
    """Return the error if no reply came in time."""
    return RequestTimeout(
        f"The board did not reply within {timeout:g} s, so whether it did the request is unknown; "
        "look at its state, then try again."
    )


def not_understood() -> RequestError:
    """Return the error if the reply makes no sense."""
    return RequestError(
        "The board's reply is not understood; install boardwarden and the agent in one version."
    )


def closed() -> LinkLost:
    """Return the error if the board is closed."""
    return LinkLost("The board is closed; connect to it again.")


class PromptWatch:
    """Collects what comes back before the first HELLO; `seen`: the board is at its prompt."""

    def __init__(self, sent: bytes) -> None:
        """`sent`: the beginning of each frame that is sent until the board answers."""
        self._echo = "".join(chr(byte) for byte in sent if 32 <= byte <= 126)
        self._text = ""
        self.seen = False

    def on_text(self, text: str) -> None:
        """Look at what the board printed."""
        self._text = (self._text + text)[-_TAIL_CHARACTERS:]
        self.seen = self.seen or self._echo in self._text or self._text.endswith(_PROMPT)

    @property
    def last_line(self) -> str:
        """The last line of text that came, "" if there was none."""
        lines = self._text.strip().splitlines()
        return lines[-1].strip() if lines else ""

    def on_echo(self) -> None:
        """A frame of our own came back."""
        self.seen = True
