"""MicroPython's source from Debian, without touching the machine's own apt set-up.

apt runs with its lists, cache and sources in a directory of ours. The archive's address and the
key that signs it are those of the machine's own Debian entry, so a mirror stays a mirror; only
the suite is ours, because bookworm's MicroPython is too old.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from firmware_errors import BuildError, need, run_logged, say

SUITE = "trixie"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT = Path("/etc/apt")

Entry = tuple[str, str]  # address of the archive, what signs it ("" when apt's default does)


def _deb822(text: str) -> list[dict[str, str]]:
    """The stanzas of a .sources file; a value keeps its continuation lines (embedded keys)."""
    stanzas: list[dict[str, str]] = [{}]
    field = ""
    for line in text.splitlines():
        if not line.strip():
            stanzas.append({})
        elif line[0] in " \t":
            if field:
                stanzas[-1][field] += "\n" + line
        elif not line.startswith("#") and ":" in line:
            field, _, value = line.partition(":")
            field = field.strip().lower()
            stanzas[-1][field] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def _from_deb822(text: str) -> list[Entry]:
    found = []
    for stanza in _deb822(text):
        disabled = stanza.get("enabled", "yes").lower() in ("no", "false", "0")
        if disabled or not _is_main(stanza.get("suites", ""), stanza.get("components", "")):
            continue
        signed = stanza.get("signed-by", "")
        found += [(uri, signed) for uri in stanza.get("uris", "").split()]
    return found


def _from_list(text: str) -> list[Entry]:
    """One-line entries: `deb [option=value …] address suite component …`."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+(.+)", line)
        if match and _is_main(match[3], match[4].split("#")[0]):
            signed = re.search(r"signed-by=(\S+)", match[1] or "")
            found.append((match[2], signed[1] if signed else ""))
    return found


def _is_main(suites: str, components: str) -> bool:
    """Whether this is a base suite's `main`: security and updates have another pool."""
    return "main" in components.split() and any(
        "-" not in suite and "/" not in suite for suite in suites.split()
    )


def _is_debian(entry: Entry) -> bool:
    uri, signed = entry
    return "debian-archive" in signed or "debian" in uri.rstrip("/").split("/")


def find_archive(apt: Path = _APT) -> Entry:
    """The machine's own Debian archive, from either form of apt's sources."""
    entries: list[Entry] = []
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        entries += _from_deb822(path.read_text())
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        if path.exists():
            entries += _from_list(path.read_text())
    for entry in entries:
        if _is_debian(entry):
            return entry
    raise BuildError(
        "apt has no Debian archive on this machine: "
        "give a MicroPython source tree with --source DIR"
    )


def _stanza(entry: Entry) -> str:
    uri, signed = entry
    if not signed and _KEYRING.exists():
        signed = str(_KEYRING)
    lines = ["Types: deb-src", f"URIs: {uri}", f"Suites: {SUITE}", "Components: main"]
    return "\n".join(lines + ([f"Signed-By: {signed}"] if signed else [])) + "\n"


def downloaded(cache: Path) -> Path | None:
    trees = sorted((cache / SUITE).glob("micropython-*/"))
    return trees[-1] if trees else None


def download(cache: Path) -> Path:
    """The unpacked source tree in `cache`, fetched the first time. The caller holds the lock."""
    ready = downloaded(cache)
    if ready is not None:
        return ready
    if shutil.which("apt-get") is None:
        raise BuildError(
            "apt-get is missing (not Debian?): give a MicroPython source tree with --source DIR"
        )
    need("dpkg-source", "dpkg-dev")
    need("xz", "xz-utils")
    need("patch", "patch")
    stanza = _stanza(find_archive())

    aside = cache / ".partial"
    shutil.rmtree(aside, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "tree"):
        (aside / part).mkdir(parents=True)
    sources = aside / f"{SUITE}.sources"
    sources.write_text(stanza)
    options = [
        f"Dir::Etc::SourceList={sources}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={aside / 'lists'}",
        f"Dir::Cache={aside / 'cache'}",
        "Acquire::Retries=3",
        "Acquire::Languages=none",
        "APT::Update::Error-Mode=any",  # else `update` succeeds with nothing fetched
    ]
    if os.geteuid() == 0:
        options.append("APT::Sandbox::User=root")  # else apt warns: _apt cannot write here
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]

    say(f"downloading MicroPython's source from Debian {SUITE}")
    logs = cache.parent / "logs"
    run_logged("downloading Debian's package lists", [*apt, "update"], logs / "apt-update.log")
    run_logged(
        "downloading MicroPython's source package",
        [*apt, "source", f"micropython/{SUITE}"],
        logs / "apt-source.log",
        cwd=aside / "tree",
    )
    trees = list((aside / "tree").glob("micropython-*/"))
    if len(trees) != 1:
        raise BuildError(f"Debian {SUITE} has no source package of micropython")
    for archive in (aside / "tree").glob("micropython_*"):
        archive.unlink()
    (aside / "tree").rename(cache / SUITE)
    shutil.rmtree(aside)
    return cache / SUITE / trees[0].name
