# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finds ONVIF devices on the networks of this machine (WS-Discovery 1.0): one question to all, and who answers."""

from __future__ import annotations

import logging
import selectors
import socket
import struct
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from vision_line.commissioning.soap import SoapError, descendant, descendants, envelope, parse_answer
from vision_line.words import one_line

logger = logging.getLogger(__name__)

GROUP, PORT = "239.255.255.250", 3702
#: Devices answer after a random pause of up to half a second, and the question is asked twice: datagrams get lost.
LISTEN_S = 3.0
_REPEAT_AFTER_S = 0.5
_MOST_ANSWERS = 4096  # of all devices together; a flood must end
_MOST_BYTES = 65_535
_TYPES = (
    ("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter"),
    ("http://www.onvif.org/ver10/device/wsdl", "Device"),  # what some cameras answer to alone
)
_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_SERVICE_PATH = "/onvif/device_service"  # where nearly all cameras have it


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that answered: its address, the URL of its device service there, and what it says that it is."""

    host: str
    service_url: str
    description: str = ""


def discover(listen_s: float = LISTEN_S, port: int = PORT) -> list[FoundDevice]:
    """Ask all networks of this machine, and return who answered within `listen_s`, each once, by address. Blocks.

    Raises:
        OSError: no network could be asked.
    """
    found: dict[str, FoundDevice] = {}
    with ExitStack() as sockets:
        asked = [sockets.enter_context(sock) for sock in _open_sockets(port)]
        for data, host in _answers(asked, listen_s, port):
            try:
                matches = read_matches(data, host)
            except SoapError as exc:
                logger.info("%s: its answer to the search for cameras cannot be read: %s", host, exc)
                continue
            for identity, device in matches:
                found.setdefault(identity, device)
    return sorted(_once_each(found.values()), key=lambda device: socket.inet_aton(device.host))


def _once_each(devices: Iterable[FoundDevice]) -> Iterable[FoundDevice]:
    return {device.service_url: device for device in devices}.values()


def _open_sockets(port: int) -> list[socket.socket]:
    """Return a socket for each network that took the question."""
    opened, trouble = [], OSError("this machine has no network")
    for index, _name in socket.if_nameindex():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
            sock.setblocking(False)
            _ask(sock, port)
        except OSError as exc:  # a network that is down, or has no IPv4
            sock.close()
            trouble = exc
        else:
            opened.append(sock)
    if not opened:
        raise trouble
    return opened


def _ask(sock: socket.socket, port: int) -> None:
    for namespace, name in _TYPES:
        sock.sendto(probe_message(namespace, name), (GROUP, port))


def _answers(sockets: list[socket.socket], listen_s: float, port: int) -> Iterator[tuple[bytes, str]]:
    """Yield datagrams and the address they came from until the time is over."""
    began_s = time.monotonic()
    repeated = False
    left = _MOST_ANSWERS
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ, sock)
        while left and (rest_s := began_s + listen_s - time.monotonic()) > 0:
            if not repeated and listen_s - rest_s > _REPEAT_AFTER_S:
                repeated = True
                _ask_again(sockets, port)
            for key, _ in selector.select(min(rest_s, _REPEAT_AFTER_S)):
                try:
                    data, address = key.data.recvfrom(_MOST_BYTES)
                except OSError as exc:  # a router's word that something is not there
                    logger.info("while cameras were searched for: %s", exc)
                    continue
                left -= 1
                yield data, address[0]


def _ask_again(sockets: list[socket.socket], port: int) -> None:
    for sock in sockets:
        try:
            _ask(sock, port)
        except OSError as exc:
            logger.info("the search for cameras could not be repeated: %s", exc)


def probe_message(namespace: str, name: str) -> bytes:
    """Return the question for devices of a type."""
    header = (
        f'<a:MessageID xmlns:a="{_ADDRESSING}">urn:uuid:{uuid.uuid4()}</a:MessageID>'
        f'<a:To xmlns:a="{_ADDRESSING}">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>'
        f'<a:Action xmlns:a="{_ADDRESSING}">{_DISCOVERY}/Probe</a:Action>'
    )
    return envelope(
        f'<d:Probe xmlns:d="{_DISCOVERY}"><d:Types xmlns:t="{namespace}">t:{name}</d:Types></d:Probe>', header
    )


def read_matches(data: bytes, sender: str) -> list[tuple[str, FoundDevice]]:
    """Return the devices that an answer from `sender` names, each with its own identity. Pure.

    A device is asked where it answered from, whatever addresses it names: a password is never sent elsewhere.

    Raises:
        SoapError: it is no answer.
    """
    matches = descendants(parse_answer(data), "ProbeMatch")
    return [
        (
            descendant(match, "EndpointReference", "Address") or sender,
            FoundDevice(sender, _service_url(descendant(match, "XAddrs"), sender), _description(match)),
        )
        for match in matches
    ]


def _service_url(addresses: str, sender: str) -> str:
    """Return the device service at `sender`, by port and path as the device names it for this address if it does."""
    named = [parts for word in addresses.split() if (parts := _http_parts(word)) is not None]
    here = [parts for parts in named if parts[0] == sender]
    _, port, path = (here or named or [(sender, 80, _SERVICE_PATH)])[0]
    return f"http://{sender}:{port}{path}"


def _http_parts(url: str) -> tuple[str, int, str] | None:
    """Return host, port and path of a plain http URL; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        return None
    return (parts.hostname or "", port, parts.path or _SERVICE_PATH) if parts.scheme == "http" else None


def _description(match: Element) -> str:
    """Return the name and the model of a device, as its scopes have them."""
    scopes = descendant(match, "Scopes").split()
    words = [
        unquote(scope.rpartition("/")[2]) for kind in ("name", "hardware") for scope in scopes if f"/{kind}/" in scope
    ]
    return one_line(" ".join(dict.fromkeys(words)))[:100]
