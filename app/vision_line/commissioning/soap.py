# SPDX-License-Identifier: AGPL-3.0-or-later
"""SOAP 1.2 as ONVIF devices speak it: requests as text, answers read safely. Pure.

An answer comes from a device that nobody vouches for. SOAP forbids document type declarations, and without one XML has
no entities of its own: no expansion that fills the memory, no file or address that is read. So an answer with one is
refused at its first character. What is left is bounded by the size of the answer.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape

_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_DIGEST = f"{_WSS}-username-token-profile-1.0#PasswordDigest"
_BASE64 = f"{_WSS}-soap-message-security-1.0#Base64Binary"

__all__ = ["SoapError", "children", "descendant", "descendants", "envelope", "escape", "parse_answer"]


class SoapError(ValueError):
    """Bytes are no SOAP answer; the message says why, in words of ours."""


def envelope(body: str, header: str = "") -> bytes:
    """Return the message with `body` and `header`, both XML."""
    head = f"<s:Header>{header}</s:Header>" if header else ""
    message = f'<s:Envelope xmlns:s="{_SOAP}">{head}<s:Body>{body}</s:Body></s:Envelope>'
    return f'<?xml version="1.0" encoding="UTF-8"?>{message}'.encode()


def username_token(user: str, password: str, nonce: bytes, created: datetime) -> str:
    """Return the header that proves to know the password without saying it (WS-Security UsernameToken 1.0, digest).

    `created` is in UTC by the device's clock: it refuses what is minutes old.
    """
    stamp = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + stamp.encode() + password.encode(), usedforsecurity=False).digest()
    secext, utility = f"{_WSS}-wssecurity-secext-1.0.xsd", f"{_WSS}-wssecurity-utility-1.0.xsd"
    return (
        f'<w:Security s:mustUnderstand="1" xmlns:w="{secext}" xmlns:u="{utility}"><w:UsernameToken>'
        f"<w:Username>{escape(user)}</w:Username>"
        f'<w:Password Type="{_DIGEST}">{_base64(digest)}</w:Password>'
        f'<w:Nonce EncodingType="{_BASE64}">{_base64(nonce)}</w:Nonce>'
        f"<u:Created>{stamp}</u:Created></w:UsernameToken></w:Security>"
    )


def parse_answer(data: bytes) -> Element:
    """Return the tree of an answer; its elements and attributes have their local names, without namespaces.

    Raises:
        SoapError: it is no XML, or has a document type declaration.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = lambda name, attributes: builder.start(_local(name), _locals(attributes))
    parser.EndElementHandler = lambda name: builder.end(_local(name))
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as exc:  # an unknown encoding is a LookupError
        raise exc if isinstance(exc, SoapError) else SoapError(f"no XML: {exc}") from exc
    return builder.close()


def descendants(tree: Element, name: str) -> list[Element]:
    """Return all elements of that local name, in their order."""
    return list(tree.iter(name))


def descendant(tree: Element, *path: str) -> str:
    """Return the stripped text of the first element of that name, below those before it; "" where there is none."""
    here: Element | None = tree
    for name in path:
        here = None if here is None else next(here.iter(name), None)
    return "" if here is None else (here.text or "").strip()


def children(tree: Element, name: str) -> list[Element]:
    """Return the direct children of that local name."""
    return tree.findall(name)


def _refuse_doctype(*_: object) -> None:
    raise SoapError("found a document type declaration, which SOAP forbids")


def _locals(attributes: dict[str, str]) -> dict[str, str]:
    return {_local(name): value for name, value in attributes.items()}


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
