"""Certificates for servers of the tests on the loopback, made by Debian's `openssl`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Certificate(NamedTuple):
    """A certificate and its key: PEM for programs here, DER for a board, which reads no PEM key."""

    file: Path
    key: Path
    board_file: Path
    board_key: Path


def certificate(
    folder: Path, name: str = "board", names: str = _NAMES, expired: bool = False
) -> Certificate:
    """Make a certificate that is signed by itself, for localhost and 127.0.0.1."""
    made = Certificate(*(folder / f"{name}{end}" for end in (".pem", ".key", ".der", ".key.der")))
    subject = ("-x509", "-days", "2", "-subj", f"/CN={name}", "-addext", names)
    _openssl("req", *_CURVE, *subject, "-out", made.file, "-keyout", made.key)
    if expired:
        again = ("-signkey", made.key, "-days", "-1", "-out", made.file)
        _openssl("x509", "-in", made.file, *again)
    _openssl("x509", "-in", made.file, "-outform", "der", "-out", made.board_file)
    _openssl("pkey", "-in", made.key, "-outform", "der", "-out", made.board_key)
    return made


def signed_by_plain_authority(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority as mosquitto's manual does, without keyUsage, and what it signed.

    Return the authority's certificate, that for localhost and 127.0.0.1, and its key.
    """
    authority, asked, extensions, signed, key = (
        folder / name for name in ("ca.pem", "asked.csr", "names", "signed.pem", "signed.key")
    )
    subject = ("-x509", "-days", "2", "-subj", "/CN=authority")
    _openssl("req", *_CURVE, *subject, "-out", authority, "-keyout", folder / "ca.key")
    _openssl("req", *_CURVE, "-subj", "/CN=broker", "-out", asked, "-keyout", key)
    extensions.write_text(_NAMES + "\n", encoding="utf-8")
    signing = ("-CA", authority, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2")
    _openssl("x509", "-req", "-in", asked, *signing, "-extfile", extensions, "-out", signed)
    return authority, signed, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(("openssl", *arguments), check=True, capture_output=True, timeout=60)
