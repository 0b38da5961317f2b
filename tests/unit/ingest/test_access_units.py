# SPDX-License-Identifier: AGPL-3.0-or-later
"""Joining RTP pieces into frames: early where the camera has proved regular, never wrong in silence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.access_units import PROOF, AccessUnit, AccessUnits, OversizedFrameError
from vision_line.ingest.nal import H264, H265, START_CODE, NalCodec, NalRole
from vision_line.ingest.wire.payloads import PIECES

MTU = 100  # bytes of NAL unit payload in a full fragment


@dataclass(frozen=True)
class Piece:
    """What one RTP packet holds."""

    data: bytes
    pts: int
    last: bool = False  # its marker


def slice_nal(size: int, *, key: bool = False, first_mb_zero: bool = True) -> bytes:
    """Return an H.264 slice NAL unit of `size` bytes after its header."""
    return bytes([0x65 if key else 0x41, 0x80 if first_mb_zero else 0x40]) + b"\x55" * (size - 1)


def pieces_of(nal: bytes, pts: int) -> list[Piece]:
    """Send a NAL unit as senders do: whole if it fits, else in full fragments and a rest."""
    if len(nal) <= MTU + 1:
        return [Piece(START_CODE + nal, pts)]
    header, body = nal[:1], nal[1:]
    chunks = [body[at : at + MTU] for at in range(0, len(body), MTU)]
    return [Piece(START_CODE + header + chunks[0], pts), *(Piece(chunk, pts) for chunk in chunks[1:])]


def frame_pieces(number: int, sizes: list[int], markers: str = "right", *, pts: int | None = None) -> list[Piece]:
    """Return the pieces of frame `number`, with slices of `sizes` bytes; every 10th is a keyframe.

    `markers`: at the "right" place, "never", or at every "slice".
    """
    pieces: list[Piece] = []
    for index, size in enumerate(sizes):
        nal = slice_nal(size, key=number % 10 == 0, first_mb_zero=index == 0)
        pieces += pieces_of(nal, number if pts is None else pts)
        if markers == "slice" or (markers == "right" and index == len(sizes) - 1):
            pieces[-1] = replace(pieces[-1], last=True)
    return pieces


def feed(units: AccessUnits, pieces: list[Piece]) -> list[AccessUnit]:
    """Push all and return what came out."""
    return [unit for piece in pieces for unit in units.push(piece.data, piece.pts, last=piece.last)]


def test_a_regular_camera_is_handed_out_without_waiting_for_the_next_frame() -> None:
    """After the proof, a frame comes out with its own last piece, of whatever size that is."""
    units = AccessUnits(H264)
    for number in range(PROOF + 1):
        feed(units, frame_pieces(number, [250]))
    out = feed(units, frame_pieces(PROOF + 1, [3 * MTU]))
    assert [(unit.pts, unit.early, unit.damaged) for unit in out] == [(PROOF + 1, True, False)]


def test_before_the_proof_a_frame_waits_for_the_next() -> None:
    """The first frames come out when their successor begins: a marker in the wrong place costs no keyframe."""
    units = AccessUnits(H264)
    assert feed(units, frame_pieces(0, [250])) == []
    assert [unit.pts for unit in feed(units, frame_pieces(1, [250]))] == [0]


def test_a_camera_without_markers_is_never_handed_out_early() -> None:
    """Its frames come out whole, each when the next begins."""
    units = AccessUnits(H264)
    out = [unit for number in range(30) for unit in feed(units, frame_pieces(number, [250], "never"))]
    assert {(unit.early, unit.damaged) for unit in out} == {(False, False)}
    assert [unit.pts for unit in out] == list(range(29))


def test_a_marker_at_every_slice_is_seen_through() -> None:
    """Some senders set it so: their frames come out whole all the same."""
    units = AccessUnits(H264)
    out = [unit for number in range(30) for unit in feed(units, frame_pieces(number, [250, 50], "slice"))]
    assert {(unit.early, unit.damaged) for unit in out} == {(False, False)}


def test_a_frame_cut_short_is_reported_and_makes_the_assembler_careful() -> None:
    """When a regular camera sends one more slice, the damage is said, and frames are held back again."""
    units = AccessUnits(H264)
    for number in range(PROOF + 3):
        feed(units, frame_pieces(number, [250]))
    cut = feed(units, frame_pieces(PROOF + 3, [250, 250], "slice"))
    assert [unit.damaged for unit in cut] == [False]
    after = feed(units, frame_pieces(PROOF + 4, [250]))
    assert [(unit.data, unit.damaged) for unit in after] == [(b"", True)]


def test_filler_after_the_frame_is_no_damage() -> None:
    """Cameras with constant bit rate pad with filler NAL units, which may be fragmented themselves."""
    units = AccessUnits(H264)
    filler = bytes([0x0C]) + b"\xff" * 250
    out = [
        unit for number in range(30) for unit in feed(units, frame_pieces(number, [250]) + pieces_of(filler, number))
    ]
    assert not any(unit.damaged for unit in out)
    assert out[-1].early


def test_frames_that_share_a_timestamp_are_distinguished_by_the_marker() -> None:
    """A clock that stands still joins no frames."""
    units = AccessUnits(H264)
    out = [unit for number in range(30) for unit in feed(units, frame_pieces(number, [250], pts=7))]
    assert len(out) >= 29
    assert not any(unit.damaged for unit in out)


def test_lost_frames_damage_what_follows_up_to_a_keyframe() -> None:
    """Frames 5 and 6 never came: 7 refers to them, 10 to none."""
    units = AccessUnits(H264)
    out: list[AccessUnit] = []
    for number in range(12):
        if number == 7:
            units.lose()
        if number not in (5, 6):
            out += feed(units, frame_pieces(number, [250]))
    damaged = [unit.pts for unit in (*out, *units.flush()) if unit.damaged]
    assert damaged == [7]  # and the session waits for a keyframe from there on


def test_a_keyframe_right_after_a_gap_is_good() -> None:
    """It needs nothing of what was lost."""
    units = AccessUnits(H264)
    feed(units, frame_pieces(8, [250]))
    units.lose()
    out = [*feed(units, frame_pieces(10, [250])), *units.flush()]
    assert [(unit.pts, unit.damaged) for unit in out] == [(8, False), (10, False)]


def test_parameter_sets_with_a_timestamp_of_their_own_join_the_next_frame() -> None:
    """Nothing is handed out for them alone."""
    units = AccessUnits(H264)
    sps = START_CODE + b"\x67\x42\x00\x1f"
    out = [*units.push(sps, 5), *feed(units, frame_pieces(10, [250])), *units.flush()]
    assert [(unit.pts, unit.keyframe, unit.data.startswith(sps)) for unit in out] == [(10, True, True)]


def test_a_frame_whose_beginning_was_lost_is_damaged() -> None:
    """Fragments without their first one still count as a frame that arrived."""
    units = AccessUnits(H264)
    units.push(b"\x55" * MTU, 1)
    out = feed(units, frame_pieces(2, [250]))
    assert [(unit.pts, unit.damaged, bool(unit.data)) for unit in out] == [(1, True, True)]


def test_several_nal_units_in_one_piece_are_all_seen() -> None:
    """An aggregation packet with parameter sets and a slice is a keyframe."""
    units = AccessUnits(H264)
    data = START_CODE + b"\x67\x42" + START_CODE + b"\x68\xce" + START_CODE + slice_nal(20, key=True)
    units.push(data, 1)
    assert [(unit.keyframe, unit.data) for unit in units.flush()] == [(True, data)]


@pytest.mark.parametrize(
    ("codec", "header", "role"),
    [
        (H264, b"\x65", NalRole.KEY_SLICE),
        (H264, b"\x41", NalRole.SLICE),
        (H264, b"\x06\x06", NalRole.KEY_PREFIX),
        (H264, b"\x06\x05", NalRole.PREFIX),
        (H264, b"\x09", NalRole.DELIMITER),
        (H264, b"\x0c", NalRole.SUFFIX),
        (H265, b"\x26\x01", NalRole.KEY_SLICE),  # IDR_W_RADL
        (H265, b"\x2a\x01", NalRole.KEY_SLICE),  # CRA
        (H265, b"\x02\x01", NalRole.SLICE),
        (H265, b"\x42\x01", NalRole.PREFIX),  # SPS
        (H265, b"\x50\x01", NalRole.SUFFIX),  # suffix SEI
    ],
)
def test_nal_unit_types(codec: NalCodec, header: bytes, role: NalRole) -> None:
    """Keyframes are recognised by the NAL unit type."""
    assert codec.role(header + b"\x00" * 4, 0) is role


@pytest.mark.parametrize(("bits", "address"), [("1", 0), ("010", 1), ("00111", 6), ("0001000", 7)])
def test_first_macroblock_of_a_slice(bits: str, address: int) -> None:
    """first_mb_in_slice is an Exp-Golomb code."""
    body = int(bits.ljust(64, "0"), 2).to_bytes(8, "big")
    assert H264.slice_address(b"\x41" + body, 0) == address


Frames = list[list[int]]
frames_of = st.lists(st.lists(st.integers(2, 600), min_size=1, max_size=4), min_size=1, max_size=60)


@given(frames_of, st.sampled_from(["right", "never", "slice"]))
def test_no_piece_is_lost_and_no_cut_is_silent(frames: Frames, markers: str) -> None:
    """Whatever the slices: each frame comes out once, in order, whole, or is followed by the report of its damage."""
    units = AccessUnits(H264)
    out: list[AccessUnit] = []
    for number, sizes in enumerate(frames):
        out += feed(units, frame_pieces(number, sizes, markers))
    out += units.flush()
    whole = [b"".join(piece.data for piece in frame_pieces(n, sizes)) for n, sizes in enumerate(frames)]
    cut = {unit.pts for unit in out if unit.damaged}
    shown = [unit for unit in out if unit.data]
    assert [unit.pts for unit in shown] == list(range(len(frames)))
    for unit in shown:
        assert unit.pts is not None
        assert (unit.data == whole[unit.pts]) == (unit.pts not in cut)


@given(frames_of, st.sampled_from(["right", "never"]), st.sets(st.integers(0, 400), max_size=30))
def test_nothing_is_decoded_over_a_gap(frames: Frames, markers: str, lost: set[int]) -> None:
    """Whatever packets are lost: what is decoded is whole, and each frame has the one that it refers to."""
    units = AccessUnits(H264)
    pieces = [piece for number, sizes in enumerate(frames) for piece in frame_pieces(number, sizes, markers)]
    out: list[AccessUnit] = []
    for index, piece in enumerate(pieces):
        if index in lost:
            units.lose()
        else:
            out += feed(units, [piece])
    decoded, awaits_key = [], True
    for unit in (*out, *units.flush()):
        awaits_key = unit.damaged or (awaits_key and not unit.keyframe)
        if not awaits_key and unit.pts is not None:
            decoded.append(unit.pts)
            assert unit.data == b"".join(piece.data for piece in frame_pieces(unit.pts, frames[unit.pts]))
    assert all(number % 10 == 0 or number - 1 in decoded for number in decoded)


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3), st.booleans(), st.booleans()), max_size=60))
def test_garbage_is_only_garbage(packets: list[tuple[bytes, int, bool, bool]]) -> None:
    """Nothing that a camera sends makes the assembler fail."""
    for codec in (H264, H265):
        units = AccessUnits(codec)
        for payload, pts, last, lost in packets:
            if lost:
                units.lose()
            for _ in units.push(PIECES[codec.name](memoryview(payload)), pts, last=last):
                pass


@given(st.integers(1, 4), st.lists(st.integers(2, 600), min_size=40, max_size=80))
def test_a_fixed_number_of_slices_is_never_cut(slices: int, sizes: list[int]) -> None:
    """A camera that always sends the same slices is never damaged, whatever their sizes."""
    units = AccessUnits(H264)
    out = [unit for n, size in enumerate(sizes) for unit in feed(units, frame_pieces(n, [size] * slices))]
    assert not any(unit.damaged for unit in out)


@pytest.mark.parametrize("data", [b"", b"\x55", START_CODE + b"\x67", START_CODE + b"\x41\x80"])
@pytest.mark.parametrize("stands", [True, False], ids=["one timestamp", "many timestamps"])
def test_memory_is_bounded_whatever_the_pieces(data: bytes, stands: bool) -> None:
    """A frame that never ends is given up, or comes out; also one of very many very small pieces."""
    units = AccessUnits(H264, max_bytes=100_000)
    out = 0
    try:
        for number in range(10_000):
            out += len(units.push(data, 0 if stands else number))
    except OversizedFrameError:
        return
    assert out > 9_000
