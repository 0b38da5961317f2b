# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks the peer of an `rtsps://` connection: a certificate that a trusted CA signed for this host, or a pinned one.

The pin is the SHA-256 of the certificate in DER form. It is checked on the very connection that is then used, before
a byte is sent over it.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from dataclasses import dataclass


class TrustError(Exception):
    """The peer is not the expected one, or TLS failed; the message says what was found and what to set."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What a certificate is checked against.

    Args:
        ca_file: PEM file of the CAs that are trusted; None: the system's.
        fingerprint: SHA-256 of the one certificate that is right, as 64 hex digits; takes the place of CAs and names.
        verify: False: any peer is trusted, unless there is a fingerprint.
    """

    ca_file: str | None = None
    fingerprint: str | None = None
    verify: bool = True


def fingerprint_of(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate in DER form, as `openssl x509 -fingerprint -sha256` writes it."""
    return hashlib.sha256(certificate).digest().hex(":").upper()


def secure(sock: socket.socket, host: str, trust: Trust) -> ssl.SSLSocket:
    """Return `sock` with TLS on it, with the right peer; the whole takes no longer than the socket's timeout.

    Raises:
        TrustError: wrong peer, or no TLS.
        TimeoutError: it does not answer.
    """
    pinned = trust.fingerprint
    context = _context(trust)
    try:
        secured = context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as exc:
        raise TrustError(f"the certificate is not trusted: {exc.verify_message.rstrip('.')}") from exc
    except ssl.SSLError as exc:
        raise TrustError(f"no TLS connection: {(exc.reason or str(exc)).replace('_', ' ').lower()}") from exc
    except ValueError as exc:  # a host name that cannot stand in a certificate
        raise TrustError(f"no TLS connection: {exc}") from exc
    found = fingerprint_of(secured.getpeercert(binary_form=True) or b"")
    if pinned is not None and not hmac.compare_digest(_plain(found), _plain(pinned)):
        secured.close()
        raise TrustError(f"found another certificate than tls_fingerprint names: sha256 {found}")
    return secured


def presented_fingerprint(sock: socket.socket, host: str) -> str | None:
    """Return the fingerprint of whatever certificate is shown on a connection made for nothing else; None: none is."""
    context = _context(Trust(verify=False))
    try:
        with context.wrap_socket(sock, server_hostname=host) as secured:
            return fingerprint_of(secured.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return None


def ca_file_problem(path: str) -> str | None:
    """Return why `path` cannot be used as `tls_ca_file`; None if it can."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        return "expected certificates in PEM form, found none"
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


def _context(trust: Trust) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=trust.ca_file)
    except ssl.SSLError as exc:
        raise TrustError(f"tls_ca_file {trust.ca_file!r}: expected certificates in PEM form, found none") from exc
    except OSError as exc:
        raise TrustError(f"tls_ca_file {trust.ca_file!r}: {exc.strerror or exc}") from exc
    if trust.fingerprint is not None or not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _plain(fingerprint: str) -> str:
    return fingerprint.replace(":", "").lower()
