# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is good about a camera's video for inspection, and what to change in the camera, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vision_line.config.models import Stream
from vision_line.errors import SourceErrorCode
from vision_line.ingest.file_search import too_few_frames
from vision_line.ingest.probe import Examination
from vision_line.ingest.stream_meter import SentVideo

CODEC_NAMES = {"h264": "H.264", "hevc": "H.265", "mjpeg": "Motion JPEG"}
#: After a lost packet nothing can be inspected up to the next keyframe.
_GOOD_GAP_S = 1.1
_LONGEST_GAP_S = 2.1
_IRREGULAR = 1.5  # times the shortest interval
_LARGE_PIXELS = 2560 * 1440
_SMALL_PIXELS = 480 * 270
_CLOCK_OFF_S = 2.0
_MUCH_MEGABITS = 30.0

_REMEDIES = {
    SourceErrorCode.AUTH_FAILED: "the camera does not take this user and password: correct them",
    SourceErrorCode.NOT_FOUND: "the camera has no such path: look up its RTSP URL in its manual or on its web page",
    SourceErrorCode.REFUSED: "nothing listens there: switch RTSP on in the camera, or correct the port (usually 554)",
    SourceErrorCode.UNREACHABLE: "nobody answers at this address: check cable, power and network",
    SourceErrorCode.NAME_UNKNOWN: "no machine has this name: check the spelling, or write the address",
    SourceErrorCode.TIMEOUT: "nothing came in time: check address, cable and network",
    SourceErrorCode.TLS_FAILED: "its certificate is not trusted: compare the SHA-256 with the one on the camera's own"
    " web page, then set tls_fingerprint",
    SourceErrorCode.CODEC_UNSUPPORTED: "set its codec to H.264",
    SourceErrorCode.FRAME_TOO_LARGE: "set a smaller frame size",
    SourceErrorCode.REDIRECTED: "it sends whoever asks to another address: write that one if you trust it",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence; `is_good` says that nothing has to be done about it."""

    is_good: bool
    text: str


def described(examined: Examination) -> str:
    """Return what the camera sends in a line; "" where nothing came."""
    found, sent = examined.found, examined.sent
    parts = [CODEC_NAMES.get(found.codec or "", found.codec or "")]
    parts += [] if found.size_wh is None else [f"{found.size_wh[0]}x{found.size_wh[1]}"]
    fps = sent.fps or found.fps
    parts += [] if fps is None else [f"{fps:.1f} frames/s"]
    parts += [] if sent.megabits_per_s is None else [f"{sent.megabits_per_s:.1f} Mbit/s"]
    return ", ".join(filter(None, parts))


def advise(stream: Stream, examined: Examination) -> list[Advice]:
    """Return what is to be said about a camera with the settings of `stream`, what has to be changed first."""
    found = examined.found
    said = [] if found.code is None else [Advice(False, _remedy(examined))]
    if found.size_wh is not None:
        said += [*_on_codec(found.codec), *_on_rate(stream, examined), *_on_size(found.size_wh)]
    if stream.is_live:
        said += [*_on_keyframes(found.codec, examined.sent), *_on_load(examined.sent), *_on_clock(examined.sent)]
    return sorted(said, key=lambda one: one.is_good)


def _remedy(examined: Examination) -> str:
    code, sent = examined.found.code, examined.sent
    if code is SourceErrorCode.TIMEOUT and sent.frames and not sent.keyframes:
        return f"no keyframe came in {sent.seconds:.0f} s ({sent.frames} frames did)"
    remedy = _REMEDIES.get(code) if code is not None else None
    return f"{remedy} ({examined.found.trouble})" if remedy else examined.found.trouble


def _on_codec(codec: str | None) -> Iterator[Advice]:
    if codec == "h264":
        yield Advice(True, "H.264 is the codec that costs least here")
    elif codec == "hevc":
        yield Advice(True, "H.265 works; H.264 takes less processor time if this machine is short of it")
    elif codec == "mjpeg":
        yield Advice(True, "Motion JPEG works: each frame stands alone, and takes more network; H.264 takes less")


def _on_rate(stream: Stream, examined: Examination) -> Iterator[Advice]:
    fps = examined.sent.fps or examined.found.fps
    if fps is None:
        return
    if lack := too_few_frames(stream, fps):
        yield Advice(False, f"raise the frame rate, or correct dwell_s: {lack}")
    elif fps < stream.spare_fps:
        yield Advice(False, f"raise the frame rate: {fps:.1f} frames/s leave no margin; {stream.spare_fps:.1f} would")
    else:
        yield Advice(True, f"{fps:.1f} frames/s are enough for parts that stay in view for {stream.dwell_s:g} s")


def _on_size(size_wh: tuple[int, int]) -> Iterator[Advice]:
    width, height = size_wh
    times = width * height / (1920 * 1080)
    if width * height > _LARGE_PIXELS:
        yield Advice(
            False,
            f"choose a smaller frame size if the defects stay visible: {width}x{height} takes {times:.1f} times"
            " the decoding of 1920x1080",
        )
    elif width * height < _SMALL_PIXELS:
        yield Advice(False, f"check the frame size: {width}x{height} is small, perhaps the camera's second stream")
    else:
        yield Advice(True, f"{width}x{height} is a good size")


def _on_keyframes(codec: str | None, sent: SentVideo) -> Iterator[Advice]:
    if codec == "mjpeg" or not sent.frames:
        return
    longest_s = sent.longest_gap_s
    if longest_s > _LONGEST_GAP_S or not sent.keyframes:
        yield Advice(
            False,
            f"{_set_keyframes(sent.fps)}: {_rare(sent)}; after a lost packet nothing is inspected until"
            " the next one. Switch off 'smart codec' (H.264+, H.265+, Zipstream, ...) and 'intra refresh'",
        )
    elif _is_irregular(sent):
        yield Advice(
            False,
            f"switch off 'smart codec': keyframes come every {min(sent.keyframe_gaps_s):.1f} to"
            f" {longest_s:.1f} s, so they may become rarer when nothing moves",
        )
    elif longest_s > _GOOD_GAP_S:
        yield Advice(
            False,
            f"{_set_keyframes(sent.fps)}: one comes every {longest_s:.1f} s, and after a lost packet"
            " nothing is inspected for so long",
        )
    elif sent.keyframe_gaps_s:
        yield Advice(True, f"a keyframe comes every {longest_s:.1f} s, regularly")


def _set_keyframes(fps: float | None) -> str:
    return f"set the keyframe interval (I-frame interval, GOP) to 1 s, which is {max(1, round(fps or 25))} frames"


def _rare(sent: SentVideo) -> str:
    if not sent.keyframe_gaps_s:
        return f"no second keyframe came within {sent.open_gap_s:.0f} s"
    return f"up to {sent.longest_gap_s:.1f} s pass between keyframes"


def _is_irregular(sent: SentVideo) -> bool:
    return len(sent.keyframe_gaps_s) > 1 and max(sent.keyframe_gaps_s) > _IRREGULAR * min(sent.keyframe_gaps_s)


def _on_load(sent: SentVideo) -> Iterator[Advice]:
    rate = sent.megabits_per_s
    if rate is not None and rate > _MUCH_MEGABITS:
        yield Advice(False, f"lower the bit rate: {rate:.0f} Mbit/s are much for a network with many cameras")


def _on_clock(sent: SentVideo) -> Iterator[Advice]:
    if not sent.frames:
        return
    ahead_s = sent.clock_offset_s
    if ahead_s is None:
        yield Advice(True, "it sends no clock (RTCP); ages of frames are estimated without it")
    elif abs(ahead_s) > _CLOCK_OFF_S:
        way = "ahead of" if ahead_s > 0 else "behind"
        yield Advice(False, f"set its time server (NTP): its clock is {_span(abs(ahead_s))} {way} this machine's")
    else:
        yield Advice(True, "its clock agrees with this machine's")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
