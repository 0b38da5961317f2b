# SPDX-License-Identifier: AGPL-3.0-or-later
"""ONVIF devices of real sockets are found and asked for their streams, the hostile ones among them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from tests.fakes.onvif_device import GROUP, PASSWORD, USER, Behaviour, FakeProfile, OnvifDevice
from tests.fakes.ports import free_port

from vision_line.commissioning import onvif
from vision_line.commissioning.discovery import FoundDevice, discover
from vision_line.commissioning.http_post import post
from vision_line.commissioning.onvif import Login
from vision_line.errors import SourceError, SourceErrorCode

LOGIN = Login(USER, PASSWORD)
MAIN = FakeProfile("rtsp://192.168.1.108:8554/main?profile=1&mode=2")
Start = Callable[..., OnvifDevice]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start devices that are ended with the test: `start(auth="digest")`."""
    devices: list[OnvifDevice] = []

    def start_one(discovery_port: int | None = None, **behaviour: object) -> OnvifDevice:
        values = {"profiles": {"P1": MAIN}} | behaviour
        devices.append(OnvifDevice(Behaviour(**values), discovery_port))  # type: ignore[arg-type]
        return devices[-1]

    yield start_one
    for device in devices:
        device.close()


def streams(device: OnvifDevice, login: Login | None = LOGIN) -> list[onvif.OnvifStream]:
    """Ask the device as the program does."""
    return onvif.OnvifDevice(device.service, login).streams()


def refusal(device: OnvifDevice, login: Login | None = LOGIN) -> SourceError:
    """Return the error with which asking ends."""
    with pytest.raises(SourceError) as caught:
        streams(device, login)
    return caught.value


def test_a_device_is_found_where_it_answers_from(start: Start) -> None:
    """Its other addresses are not taken, and two questions bring one device."""
    port = free_port()
    device = start(port)

    assert discover(3.0, port) == [FoundDevice("127.0.0.1", device.service, f"Line cam {device.port} X1")]


def test_nonsense_does_not_end_the_search(start: Start) -> None:
    """Another program in the group answers with no XML, and with a DTD."""
    port = free_port()
    device = start(port)
    over = threading.Event()

    def chatter() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as group:
            group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            group.bind((GROUP, port))
            member = socket.inet_aton(GROUP) + bytes(4) + socket.if_nametoindex("lo").to_bytes(4, "little")
            group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            group.settimeout(0.05)
            while not over.is_set():
                try:
                    _, address = group.recvfrom(65535)
                except TimeoutError:
                    continue
                group.sendto(b"\xff\xfe", address)
                group.sendto(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', address)

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        assert [found.service_url for found in discover(3.0, port)] == [device.service]
    finally:
        over.set()
        thread.join()


def test_nobody_there_is_an_empty_list() -> None:
    """The search ends when its time is over."""
    began_s = time.monotonic()

    assert discover(0.3, free_port()) == []
    assert time.monotonic() - began_s < 40


@pytest.mark.parametrize("auth", ["none", "token", "digest"])
def test_a_device_names_its_stream_at_its_own_host(start: Start, auth: str) -> None:
    """Whatever host it names; with a token of WS-Security, or a digest of HTTP."""
    device = start(auth=auth)

    assert [stream.url for stream in streams(device)] == ["rtsp://127.0.0.1:8554/main?profile=1&mode=2"]
    assert not [login for login in device.logins if PASSWORD in login]


def test_a_device_whose_clock_is_wrong_takes_the_token(start: Start) -> None:
    """The token has the device's time, which it says to everybody."""
    assert streams(start(clock_ahead=timedelta(days=-400)))


def test_each_video_source_gives_one_stream(start: Start) -> None:
    """Of a recorder each channel: the largest stream up to Full HD, else the smallest; Motion JPEG only if need be."""
    profiles = {
        "A0": FakeProfile("rtsp://h/a0", "A", (1920, 1080), "JPEG"),
        "A1": FakeProfile("rtsp://h/a1", "A", (3840, 2160)),
        "A2": FakeProfile("rtsp://h/a2", "A", (1280, 720)),
        "A3": FakeProfile("rtsp://h/a3", "A", (640, 360)),
        "B1": FakeProfile("rtsp://h/b1", "B", (3840, 2160)),
        "B2": FakeProfile("rtsp://h/b2", "B", (2560, 1440)),
        "C1": FakeProfile("rtsp://h/c1", "C", (640, 480), "JPEG"),
    }

    found = streams(start(profiles=profiles))
    assert [stream.url for stream in found] == ["rtsp://127.0.0.1/a2", "rtsp://127.0.0.1/b2", "rtsp://127.0.0.1/c1"]
    assert [stream.profile.size_wh for stream in found] == [(1280, 720), (2560, 1440), (640, 480)]


@pytest.mark.parametrize("auth", ["token", "digest", "basic"])
def test_a_wrong_password_is_an_error_of_its_own(start: Start, auth: str) -> None:
    """Basic is never answered: it would show the password."""
    device = start(auth=auth)

    assert refusal(device, Login(USER, "wrong")).code is SourceErrorCode.AUTH_FAILED
    assert not [login for login in device.logins if login.startswith("Basic")]


def test_a_login_that_is_missing_is_asked_for(start: Start) -> None:
    """The words say that there was none."""
    error = refusal(start(), None)

    assert error.code is SourceErrorCode.AUTH_FAILED
    assert "asks for a user" in str(error)


@pytest.mark.parametrize(
    "fixed",
    [
        b"",
        b"hello",
        b"<a/>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0" encoding="x-none"?><a/>',
        b"<a>" * 100_000,
        b"x" * (2 << 20),
    ],
    ids=["nothing", "no XML", "other XML", "DTD", "encoding", "deep", "long"],
)
def test_a_device_that_answers_nonsense_is_one_sentence(start: Start, fixed: bytes) -> None:
    """It ends, and names the device."""
    assert "127.0.0.1" in str(refusal(start(fixed=fixed)))


def test_a_profile_whose_stream_is_no_rtsp_is_refused(start: Start) -> None:
    """A device may name anything."""
    for uri in ("http://h/video", "file:///etc/passwd", "rtsp://[::1/x", "rtsp://h/{HOME}", ""):
        assert refusal(start(profiles={"P": FakeProfile(uri)})).code is SourceErrorCode.NO_VIDEO


def test_a_device_that_drips_is_left(start: Start) -> None:
    """Each byte comes in time; the answer does not."""
    device = start(drips=True)
    began_s = time.monotonic()

    post("127.0.0.1", device.port, "/", b"<a/>", {}, timeout_s=1.0)
    assert time.monotonic() - began_s < 40


def test_nobody_at_the_address(start: Start) -> None:
    """A port that nobody listens at."""
    with pytest.raises(SourceError) as caught:
        onvif.OnvifDevice(f"http://127.0.0.1:{free_port()}/", LOGIN).streams()
    assert caught.value.code is SourceErrorCode.REFUSED
