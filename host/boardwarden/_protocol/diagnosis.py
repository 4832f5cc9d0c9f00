"""Makes the errors of a connection, and maps error replies to exceptions.

Each says in a sentence what is wrong, what to do about it, and of a refusal who blocks, how much
there is, and when to try again.
"""

from __future__ import annotations

import re
from typing import Any

from boardwarden.errors import (
    AtPrompt,
    BoardRestarted,
    Denied,
    KeyRefused,
    LinkLost,
    NoAgent,
    NoPlace,
    NotFound,
    PoorLink,
    RequestError,
    RequestRefused,
    RequestTimeout,
    VersionMismatch,
)
from boardwarden.transport.address import is_serial, is_simulated
from warden_schema import ids

from .keys import NOT_PROVED, OTHER_BOARD

_MAX_SHOWN = 60  # characters of a line
_PROMPT = ">>> "
_TAIL_CHARACTERS = 512  # characters that are remembered
_TEXT_SHARE = 4  # of a line that is text, less than one in so many characters is malformed
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_SENTENCES = {
    ids.UNKNOWN_REQUEST: "The board's agent is too old for this; install a newer agent.",
    ids.BAD_ARGUMENTS: "The board refuses these arguments: its port cannot do that, as a reset by "
    "a threshold on unix, or they are out of the range that docs/wire.md has.",
    ids.FAILED: "The board's agent failed with {value}; look at what the board prints.",
}
_MAY_HAVE = "if the request was to change something, it may have"
_NOT_FOUND = "The board has no lease or operation of that id; it may have ended."
_REASONS = {
    "memory": "not enough memory is free",
    "storage": "not enough storage is free",
    "cpu_time": "not enough of the core is free",
    "bandwidth": "not enough bandwidth is free",
    "fragmented": "no free block of memory is large enough",
    "learning": "it is not known yet how much memory such an operation needs: one runs at a time",
    "operations": "no place for an operation is free",
    "table": "the board's table is full",
    "pressure": "a protected figure is critical, so only high priorities are granted any",
    "watching": "the board's application started the agent with protect=False, to measure only",
    "look_only": "over this link hosts only look; the board's application allows more",
    "needs_control": "over this link that takes the right to control: give a key for it, or have "
    "the board's application allow it to all with `control=True`",
    "needs_observe": "over this link that takes the right to observe: give a key for it",
    "collected": "garbage was collected only just now",
    "not_safe": "it is not in safe mode",
    "gc_off": "the application has switched collections off",
    "keep:worn": "the agent has written to the board's flash as often as it may for now",
    "keep:no_files": "the board has no file system to store a policy in",
    "keep:read_only": "the board's file system is read-only, so it can store no policy",
    "keep:acts_now": "under this policy something is critical at this moment, the reserve "
    "leaves nothing to grant, or a time is so short that it ends all at once",
    "keep:full": "the board's file system is too full to store a policy",
    "session": "the session is closed",
    "quota:memory": "the session's quota of memory is used up",
    "quota:storage": "the session's quota of storage is used up",
    "quota:operations": "the session's quota of operations is used up",
}
_UNITS = {"cpu_time": "of a core", "bandwidth": "bytes a second"}


def no_answer(
    address: str, timeout: float, last_line: str, damaged: int = 0, malformed: int = 0
) -> NoAgent:
    """Return the error if no agent answered.

    last_line: of the text that came; damaged, malformed: how many frames came so.
    """
    if malformed:
        message = (
            f"What answers at {address} sends frames, but none that an agent of this version would "
            "(they are too long, or malformed); install boardwarden and the agent in the same "
            "version."
        )
    elif _is_text(last_line):
        message = (
            f"No agent answered at {address} within {timeout:g} s, but a program there prints; "
            f"last: {last_line[-_MAX_SHOWN:]!r}."
        )
    elif last_line or damaged:
        at_speed = ", and at 115200 baud" if is_serial(address) else ""
        message = (
            f"What {address} sends is neither text nor from an agent; is that a MicroPython "
            f"board{at_speed}?"
        )
    else:
        message = f"Nothing at {address} answered within {timeout:g} s; is the agent running there?"
    return NoAgent(message, address, bool(malformed))


def _is_text(line: str) -> bool:
    """Return whether a line is what a program prints; it may have a strange character."""
    strange = sum(not char.isprintable() or char == "\N{REPLACEMENT CHARACTER}" for char in line)
    return strange < len(line) / _TEXT_SHARE


def silent(address: str, waited: float) -> NoAgent:
    """Return the error if nothing came from a board that said that it is connected."""
    return NoAgent(
        f"Nothing came from {address} within {waited:g} s, though it said at some time that it is "
        "online, and a board that runs sends something every 10 s: it is gone or asleep, or its "
        "loop is blocked; or it may not write its topic `up`, or this user not read it.",
        address,
    )


def no_full_state(address: str, waited: float) -> NoAgent:
    """Return the error if frames of a board came, but no full state."""
    return NoAgent(
        f"{address} sends to its broker, but sent no full state within {waited:g} s; does its "
        "application block the loop?",
        address,
    )


def not_received(address: str, timeout: float) -> RequestTimeout:
    """Return the error if a board whose stream comes answers no SUBSCRIBE of this host."""
    return RequestTimeout(
        f"{address} did not answer this host within {timeout:g} s; the broker may not let this "
        f"user write to it, or its application not read; {_MAY_HAVE}."
    )


def at_prompt(address: str, shown: bool) -> AtPrompt:
    """Return the error if the board is at its REPL prompt; not `shown`: it only echoes."""
    message = f"The board at {address} is at its REPL prompt; start the agent on it with"
    if not shown:
        message = (
            f"What is sent to {address} comes back, as from a board at its REPL prompt; start the "
            "agent there with"
        )
    return AtPrompt(f"{message} `import warden; warden.start()`.", address)


def poor_link(address: str, timeout: float, lossy: bool, malformed: int = 0) -> PoorLink:
    """Return the error if the full state did not come.

    lossy: frames were lost or damaged; malformed: how many came whole, and make no sense.
    """
    if malformed and not lossy:
        message = (
            f"The agent at {address} answers, but its state is not whole: it sends frames that are "
            "too long, or malformed; install boardwarden and the agent in the same version."
        )
    elif lossy:
        message = f"The agent at {address} answers, but too much gets lost; check the line."
    else:
        message = (
            f"The agent at {address} answers, but did not send its full state within "
            f"{timeout:g} s; does its application block the loop?"
        )
    return PoorLink(message, address, lossy, bool(malformed))


def closed_early(address: str, last_line: str) -> NoAgent:
    """Return the error if the link closed before an agent answered."""
    if last_line:
        message = f"The program at {address} ended before its agent answered; last: {last_line!r}."
    elif is_simulated(address):
        message = f"The program at {address} ended before its agent answered, and printed nothing."
    else:
        message = f"The link to {address} closed before its board answered; is it in use?"
    return NoAgent(message, address, ended=True)


def other_version(address: str, major: int, minor: int) -> VersionMismatch:
    """Return the error if the agent speaks another major version."""
    theirs, ours = f"{major}.{minor}", f"{ids.PROTOCOL_MAJOR}.{ids.PROTOCOL_MINOR}"
    message = (
        f"The agent at {address} speaks protocol {theirs} and this host {ours}; "
        "install boardwarden and the agent in the same version."
    )
    return VersionMismatch(message, address, theirs)


def other_minor_version(protocol: str | None) -> str | None:
    """Return what to say of an agent of another minor version: "1.6". None where it is ours.

    It is read all the same.
    """
    ours = f"{ids.PROTOCOL_MAJOR}.{ids.PROTOCOL_MINOR}"
    _, _, minor = (protocol or "").partition(".")
    if not minor.isdecimal() or int(minor) == ids.PROTOCOL_MINOR:
        return None
    if int(minor) < ids.PROTOCOL_MINOR:
        what = f"its agent is older than this host (protocol {protocol}, not {ours})"
        return f"{what}: what it lacks is unknown"
    what = f"its agent is newer than this host (protocol {protocol}, not {ours})"
    return f"{what}: what is new in it is not shown"


def no_place(address: str, places: list[object]) -> NoPlace:
    """Return the error if other hosts have all places; places: [host_id, its address] of each."""
    hosts = tuple(
        place[1]
        for place in places
        if isinstance(place, list)
        and len(place) > 1
        and isinstance(place[1], str)
        and place[1].isprintable()
    )
    count = {1: "one is", 2: "two are", 3: "three are"}.get(len(places), f"{len(places)} are")
    sources = f", from {', '.join(host[:_MAX_SHOWN] for host in hosts)}" if hosts else ""
    message = f"The board at {address} has no place for another host: {count} connected{sources}."
    return NoPlace(message, address, hosts)


def restarted() -> BoardRestarted:
    """Return the error if the board restarted after the request was sent."""
    return BoardRestarted(
        f"The board restarted before it replied; {_MAY_HAVE}: look at its state, then try again."
    )


def renewed() -> RequestTimeout:
    """Return the error if the board, or this host, was silent for so long that it ended."""
    return RequestTimeout(
        f"Nothing was heard of the board for long; {_MAY_HAVE}: look at its state, then try again."
    )


def no_reply(timeout: float) -> RequestTimeout:
    """Return the error if no reply came in time."""
    return RequestTimeout(
        f"The board did not reply within {timeout:g} s; {_MAY_HAVE}: look at its state, then try "
        "again."
    )


def not_understood() -> RequestError:
    """Return the error if the reply makes no sense."""
    return RequestError(
        "The board's reply is not understood; install boardwarden and the agent in one version."
    )


def closed() -> LinkLost:
    """Return the error if the board is closed."""
    return LinkLost("The board is closed; connect to it again.")


_KEY_SENTENCES = {
    ids.NEEDED: "The board at {address} demands a key: give --key-file, or set BOARDWARDEN_KEY.",
    ids.WRONG: "The board at {address} refuses this key: it is another fleet's or an old one; "
    "`boardwarden key put` writes the right one over USB.",
    ids.OTHER_VERSION: "The board at {address} proves keys in another version; "
    "install boardwarden and the agent in the same version.",
    ids.NO_RIGHT: "The board at {address} has no key for this right; "
    "`boardwarden key put` writes one over USB.",
    ids.NO_NONCE: "The board at {address} can prove no key: it has neither random numbers nor a "
    "file to count in.",
    NOT_PROVED: "What answers at {address} does not have this key, so nothing was sent to it.",
    OTHER_BOARD: "Another board than before answers at {address}, so nothing was sent to it.",
}


def key_refused(address: str, reason: int) -> KeyRefused:
    """Return the error if a key was refused, or not proved; reason: of `ids` or `keys`."""
    sentence = _KEY_SENTENCES.get(reason, "The board at {address} refuses with reason {reason}.")
    return KeyRefused(sentence.format(address=address, reason=reason), address)


def no_proof(address: str, timeout: float) -> KeyRefused:
    """Return the error if nothing answered the handshake."""
    message = (
        f"Nothing at {address} proved the key within {timeout:g} s, so nothing was sent to it: its "
        "agent has no keys, is older than they are, or serves somebody else."
    )
    return KeyRefused(message, address)


# --- error replies -------------------------------------------------------------------------------


def refusal(code: int, value: Any) -> RequestRefused:
    """Return the error that a reply with this code stands for; never raises."""
    if code == ids.DENIED:
        return _denied(value)
    if code == ids.NOT_FOUND:
        return NotFound(_NOT_FOUND, code, value)
    sentence = _SENTENCES.get(code, "The board refuses the request with code {code}.")
    if code == ids.FAILED and value is None:  # not even that could be kept
        sentence = (
            "The board's agent failed, and had no memory to say more; "
            "`boardwarden status` shows what is left of it."
        )
    return RequestRefused(sentence.format(code=code, value=value), code, value)


def denied(
    reason: str,
    available: float | None = None,
    retry_after_s: float | None = None,
    blockers: tuple[int, ...] = (),
    value: object = None,
) -> Denied:
    """Return the error for a denial; its sentence has the reason and what else is known."""
    parts = [_REASONS.get(reason) or _other(reason)]
    if available is not None:
        parts.append(f"{available:.10g} {_UNITS.get(reason, 'bytes')} are available")
    if blockers:
        parts.append(f"in the way: {', '.join(map(str, blockers))}")
    if retry_after_s is not None:
        parts.append(f"try again in {retry_after_s:.3g} s")
    return Denied(
        f"Denied: {'; '.join(parts)}.",
        ids.DENIED,
        value,
        reason=reason,
        available=available,
        retry_after_s=retry_after_s,
        blockers=blockers,
    )


def _other(reason: str) -> str:
    """Return the text of a reason that has no sentence of its own."""
    number = reason.removeprefix("keep:")
    if number != reason:
        return f"the board's file system refuses to store a policy, with error {number}"
    return reason or "the board did not say why"


def _denied(value: Any) -> Denied:
    fields = [*(value if isinstance(value, list) else ()), *[None] * 4]
    reason = fields[0] if isinstance(fields[0], str) else ""
    blockers = fields[3] if isinstance(fields[3], list) else ()
    available, retry_after_ms = _int_or_none(fields[1]), _int_or_none(fields[2])
    if available is not None and reason == "cpu_time":
        available /= 1000
    return denied(
        reason,
        available,
        None if retry_after_ms is None else retry_after_ms / 1000,
        tuple(blocker for blocker in blockers if isinstance(blocker, int)),
        value,
    )


def _int_or_none(value: Any) -> float | None:
    return value if isinstance(value, int) else None


# --- before an agent answered ---------------------------------------------------------------------


class PromptWatch:
    """Collects what comes back before the first HELLO.

    seen: the board seems to be at its prompt, which was `shown`, or as it echoes.
    """

    def __init__(self, sent: bytes) -> None:
        """`sent`: the beginning of each frame that is sent until the board answers."""
        self._echo = "".join(chr(byte) for byte in sent if 32 <= byte <= 126)
        self._text = ""
        self.seen = self.shown = False

    def on_text(self, text: str) -> None:
        """Look at what the board printed."""
        self._text = (self._text + text)[-_TAIL_CHARACTERS:]
        self.shown = self.shown or self._text.endswith(_PROMPT)
        self.seen = self.seen or self.shown or self._echo in self._text

    @property
    def last_line(self) -> str:
        """The last line of text that came, without its colours; "" if there was none."""
        lines = _COLOUR.sub("", self._text).replace("\t", " ").strip().splitlines()
        return lines[-1].strip() if lines else ""
