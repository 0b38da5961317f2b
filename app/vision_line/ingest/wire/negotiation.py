# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a camera's URL to its packets: connect, DESCRIBE, SETUP, PLAY, and what a camera may answer to each."""

from __future__ import annotations

import logging
import re
import socket
import threading
from dataclasses import dataclass

from vision_line.config.models import Stream
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.wire.address import Address, parse_address
from vision_line.ingest.wire.authorization import choose_challenge
from vision_line.ingest.wire.connection import Connection
from vision_line.ingest.wire.datagrams import DatagramPair
from vision_line.ingest.wire.description import CODECS, Description, VideoTrack, parse_description
from vision_line.ingest.wire.dialogue import Dialogue
from vision_line.ingest.wire.message import Message
from vision_line.ingest.wire.trust import Trust, TrustError, presented_fingerprint, secure

logger = logging.getLogger(__name__)

MAX_REDIRECTS = 3
DEFAULT_SESSION_S = 60.0
_REFUSALS = {
    401: SourceErrorCode.AUTH_FAILED,
    403: SourceErrorCode.AUTH_FAILED,
    404: SourceErrorCode.NOT_FOUND,
    410: SourceErrorCode.NOT_FOUND,
}
_INTERLEAVED = re.compile(r"interleaved=(\d{1,3})(?:-(\d{1,3}))?")
_SERVER_PORT = re.compile(r"server_port=(\d{1,5})(?:-(\d{1,5}))?")
_SESSION = re.compile(r"([^;\s]{1,256})(?:.*?;\s*timeout\s*=\s*(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Playing:
    """A camera that sends: over channels of its connection, or to a pair of UDP ports."""

    connection: Connection
    dialogue: Dialogue
    track: VideoTrack
    control_url: str
    channels: tuple[int, int]  # of RTP and RTCP; mean nothing with `datagrams`
    datagrams: DatagramPair | None
    life_method: str
    life_every_s: float


class Negotiation:
    """Opens one camera, all within one deadline; used once."""

    def __init__(self, stream: Stream, stop: threading.Event, clocks: Clocks) -> None:
        """Prepare.

        Raises:
            SourceError: the URL is none.
        """
        self._stream = stream
        self._stop = stop
        self._clocks = clocks
        self._deadline_s = clocks.monotonic() + stream.connect_timeout_s
        try:
            self._address = parse_address(stream.url.get_secret_value())
        except ValueError as exc:
            raise self._fault(SourceErrorCode.NOT_FOUND, str(exc)) from None

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"{self._address.host}:{self._address.port}"

    def run(self) -> Playing:
        """Open the camera and have it play.

        Raises:
            SourceError: it rejects the request, breaks a bound, or sends nothing that can be read.
            TimeoutError, OSError, StoppedError: the connection is lost, silent, or not wanted any more.
        """
        self._resolve()
        connection = Connection(self._connect())
        try:
            return self._agree(connection)
        except BaseException:
            connection.close()
            raise

    def _agree(self, connection: Connection) -> Playing:
        credentials, silence_s = self._address.credentials, self._stream.read_timeout_s
        dialogue = Dialogue(connection, credentials, self._stop, self._clocks, silence_s)
        options = dialogue.ask("OPTIONS", self._address.url, self._deadline_s)
        if options.status == 401:
            self._demand(dialogue, options, "OPTIONS")
        description = self._describe(dialogue)
        track = self._checked_track(description)
        datagrams = self._datagrams(connection)
        try:
            channels, session_s = self._set_up(dialogue, track, datagrams)
            headers = {"Range": "npt=0.000-"}
            played = dialogue.ask("PLAY", description.aggregate_url, self._deadline_s, headers)
            self._demand(dialogue, played, "PLAY")
        except BaseException:
            if datagrams is not None:
                datagrams.close()
            raise
        life = "GET_PARAMETER" if "GET_PARAMETER" in (options.header("public") or "") else "OPTIONS"
        return Playing(
            connection=connection,
            dialogue=dialogue,
            track=track,
            control_url=description.aggregate_url,
            channels=channels,
            datagrams=datagrams,
            life_method=life,
            life_every_s=session_s / 2,
        )

    def _resolve(self) -> None:
        """Make sure that the host has an address. May hang as long as the system's resolver does."""
        host = self._address.host
        try:
            socket.getaddrinfo(host, self._address.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as exc:
            raise self._fault(SourceErrorCode.NAME_UNKNOWN, f"host {host!r} has no address") from exc

    def _connect(self) -> socket.socket:
        address = self._address
        sock = socket.create_connection((address.host, address.port), timeout=self._left_s())
        if not address.is_secure:
            return sock
        try:
            sock.settimeout(self._left_s())
            return secure(sock, address.host, self._trust())
        except TrustError as exc:
            sock.close()
            raise self._fault(SourceErrorCode.TLS_FAILED, f"{exc}{self._advice()}") from exc
        except OSError:
            sock.close()
            raise

    def _trust(self) -> Trust:
        stream = self._stream
        return Trust(stream.tls_ca_file, stream.tls_fingerprint, stream.tls_verify)

    def _advice(self) -> str:
        """Return what an operator can set, with the certificate that is shown now."""
        if self._stream.tls_fingerprint is not None:
            return "; if the camera's certificate was changed on purpose, set tls_fingerprint to this one"
        try:
            sock = socket.create_connection((self._address.host, self._address.port), timeout=self._left_s())
        except OSError:
            return ""
        with sock:
            found = presented_fingerprint(sock, self._address.host)
        if found is None:
            return ""
        return (
            f"; set tls_ca_file to the CA that signed it, or, for this one certificate, tls_fingerprint to {found}"
            " once you have compared it with the one on the camera itself"
        )

    def _describe(self, dialogue: Dialogue) -> Description:
        for _ in range(MAX_REDIRECTS + 1):
            url = self._address.url
            answer = dialogue.ask("DESCRIBE", url, self._deadline_s, {"Accept": "application/sdp"})
            if answer.status is not None and 300 <= answer.status < 400:
                self._address = self._redirected(answer)
                continue
            self._demand(dialogue, answer, "DESCRIBE")
            base_url = answer.header("content-base") or answer.header("content-location") or url
            return parse_description(answer.body, base_url)
        raise self._fault(SourceErrorCode.REDIRECTED, f"more than {MAX_REDIRECTS} times")

    def _redirected(self, answer: Message) -> Address:
        """Return where the camera sends us, if that is itself; to nobody else does a camera's word lead."""
        location = answer.header("location") or ""
        try:
            target = parse_address(location)
        except ValueError:
            raise self._fault(SourceErrorCode.REDIRECTED, "to something that is no RTSP URL") from None
        if not self._address.is_same_camera(target):
            detail = f"to {target.url[:200]}: another source is never taken silently; if it is right, make it the url"
            raise self._fault(SourceErrorCode.REDIRECTED, detail)
        logger.warning("camera %s: redirected to %s on the same host", self._stream.name, target.url[:200])
        return self._address.redirected(target)

    def _checked_track(self, description: Description) -> VideoTrack:
        track = description.video
        if track is None:
            raise self._fault(SourceErrorCode.NO_VIDEO, "the camera offers no video")
        if not track.is_taken:
            expected = ", ".join(sorted(set(CODECS.values())))
            raise self._fault(SourceErrorCode.CODEC_UNSUPPORTED, f"found {track.codec}, expected one of {expected}")
        return track

    def _datagrams(self, connection: Connection) -> DatagramPair | None:
        # Packets beside an encrypted connection would travel in the clear.
        if self._stream.transport == "udp" and not self._address.is_secure:
            return DatagramPair(connection.socket)
        return None

    def _set_up(
        self, dialogue: Dialogue, track: VideoTrack, datagrams: DatagramPair | None
    ) -> tuple[tuple[int, int], float]:
        """Return the channels, and how long the camera keeps the session without a sign of life, in seconds."""
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        if datagrams is not None:
            transport = "RTP/AVP/UDP;unicast;client_port={}-{}".format(*datagrams.ports)
        answer = dialogue.ask("SETUP", track.control_url, self._deadline_s, {"Transport": transport})
        self._demand(dialogue, answer, "SETUP")
        session = _SESSION.match(answer.header("session") or "")
        dialogue.session = session[1] if session else None
        said = answer.header("transport") or ""
        if datagrams is not None:
            datagrams.face(_pair(_SERVER_PORT, said))
        kept_s = float(session[2]) if session and session[2] else DEFAULT_SESSION_S
        return _pair(_INTERLEAVED, said) or (0, 1), max(2.0, kept_s)

    def _demand(self, dialogue: Dialogue, answer: Message, method: str) -> None:
        """Reject every answer but a good one."""
        if answer.status is not None and 200 <= answer.status < 300:
            return
        code = _REFUSALS.get(answer.status or 0, SourceErrorCode.FAILED)
        if answer.status == 401:
            raise self._fault(code, self._unauthorized(dialogue))
        advice = f"; it may send by another transport than {self._stream.transport}" if answer.status == 461 else ""
        raise self._fault(code, f"the camera answers {method} with {answer.reason}{advice}")

    def _unauthorized(self, dialogue: Dialogue) -> str:
        if self._address.credentials is None:
            return "the camera asks for a name and a password, and the URL has none"
        if dialogue.offered and choose_challenge(dialogue.offered) is None:
            wanted = ", ".join(challenge.wants for challenge in dialogue.offered[:4])
            return f"the camera asks for {wanted}; vision-line knows Digest with MD5 and SHA-256, and Basic"
        return "the camera rejects this name and password"

    def _left_s(self) -> float:
        """Return what is left of the time for opening.

        Raises:
            TimeoutError: nothing.
        """
        left_s = self._deadline_s - self._clocks.monotonic()
        if left_s <= 0:
            raise TimeoutError("opening takes too long")
        return left_s

    def _fault(self, code: SourceErrorCode, detail: str) -> SourceError:
        return SourceError(self._stream.name, code, detail)


def _pair(pattern: re.Pattern[str], text: str) -> tuple[int, int] | None:
    found = pattern.search(text)
    if found is None:
        return None
    first = int(found[1])
    return first, int(found[2]) if found[2] else first + 1
