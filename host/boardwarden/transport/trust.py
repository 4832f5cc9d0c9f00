"""Whose certificates are believed, where a connection is inside TLS."""

from __future__ import annotations

import os
import ssl

from boardwarden.errors import ConnectError

CA_FILE = "BOARDWARDEN_CA"  # PEM, of who signed the other end's certificate, or that one itself


def trusted(address: str) -> ssl.SSLContext:
    """Return what believes the system's authorities, or else the file that CA_FILE names.

    address: for the ConnectError of a file that is none.
    """
    place = os.environ.get(CA_FILE) or None
    try:
        return ssl.create_default_context(cafile=place)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConnectError(
            f"{CA_FILE} names no file with certificates: {place}: {error}.", address
        ) from None


def not_trusted(who: str, error: ssl.SSLCertVerificationError, address: str) -> ConnectError:
    """Return the error of a certificate that is not believed."""
    return ConnectError(
        f"The certificate of {who} is not trusted ({error.verify_message}): {CA_FILE} names the "
        "file with the certificate of who signed it, and the address has the name that it is for.",
        address,
    )
