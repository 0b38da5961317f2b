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
    ends: bool = True  # a NAL unit


def slice_nal(size: int, *, key: bool = False, first_mb_zero: bool = True, codec: NalCodec = H264) -> bytes:
    """Return a slice NAL unit of `size` bytes after its header."""
    header = {(H264, True): b"\x65", (H264, False): b"\x41", (H265, True): b"\x26\x01", (H265, False): b"\x02\x01"}
    return header[codec, key] + bytes([0x80 if first_mb_zero else 0x40]) + b"\x55" * (size - 1)


def pieces_of(nal: bytes, pts: int) -> list[Piece]:
    """Send a NAL unit as senders do: whole if it fits, else in full fragments and a rest."""
    if len(nal) <= MTU + 2:
        return [Piece(START_CODE + nal, pts)]
    chunks = [nal[at : at + MTU] for at in range(0, len(nal), MTU)]
    chunks[0] = START_CODE + chunks[0]
    return [Piece(chunk, pts, ends=index == len(chunks)) for index, chunk in enumerate(chunks, 1)]


def frame_pieces(
    number: int, sizes: list[int], markers: str = "right", *, pts: int | None = None, codec: NalCodec = H264
) -> list[Piece]:
    """Return the pieces of frame `number`, with slices of `sizes` bytes; every 10th is a keyframe.

    `markers`: at the "right" place, "never", or at every "slice".
    """
    pieces: list[Piece] = []
    for index, size in enumerate(sizes):
        nal = slice_nal(size, key=number % 10 == 0, first_mb_zero=index == 0, codec=codec)
        pieces += pieces_of(nal, number if pts is None else pts)
        if markers == "slice" or (markers == "right" and index == len(sizes) - 1):
            pieces[-1] = replace(pieces[-1], last=True)
    return pieces


def feed(units: AccessUnits, pieces: list[Piece]) -> list[AccessUnit]:
    """Push all and return what came out."""
    return [unit for piece in pieces for unit in units.push(piece.data, piece.pts, ends=piece.ends, last=piece.last)]


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
    assert damaged == [4, 7]  # 4, as its marker is not proved: something of it may be missing too


def test_a_gap_behind_a_frame_that_was_handed_out_at_its_marker_is_none_in_it() -> None:
    """The marker is proved: only what follows is damaged."""
    units = AccessUnits(H264)
    feed(units, [piece for number in range(PROOF) for piece in frame_pieces(number, [250])])
    out = feed(units, frame_pieces(PROOF, [250]))
    units.lose()
    out += [*feed(units, frame_pieces(PROOF + 3, [250])), *units.flush()]
    assert [(unit.pts, unit.damaged) for unit in out[-2:]] == [(PROOF, False), (PROOF + 3, True)]


def test_a_keyframe_right_after_a_gap_is_good() -> None:
    """It needs nothing of what was lost."""
    units = AccessUnits(H264)
    feed(units, frame_pieces(8, [250]))
    units.lose()
    out = [*feed(units, frame_pieces(10, [250])), *units.flush()]
    assert [(unit.pts, unit.damaged) for unit in out] == [(8, True), (10, False)]


@pytest.mark.parametrize("codec", [H264, H265], ids=["h264", "hevc"])
def test_a_slice_lost_between_two_with_markers_is_missed(codec: NalCodec) -> None:
    """HEVC decoders say nothing of missing slices; a marker that is not proved is no end."""
    units = AccessUnits(codec)
    feed(units, frame_pieces(10, [50, 50, 50], "slice", codec=codec))
    first, _, third = frame_pieces(11, [50, 50, 50], "slice", codec=codec)
    feed(units, [first])
    units.lose()
    out = [*feed(units, [third]), *units.flush()]
    assert [(unit.pts, unit.damaged) for unit in out] == [(11, True)]


def test_damaged_frames_prove_no_marker() -> None:
    """Where the second of two slices is lost again and again, the first one's marker would be believed."""
    units, out = AccessUnits(H264), list[AccessUnit]()
    for number in range(1, 3 * PROOF):
        out += feed(units, frame_pieces(number, [50, 50], "slice")[:1])
        units.lose()
    assert {(unit.damaged, unit.early) for unit in out} == {(True, False)}


PREFIX = [START_CODE + nal for nal in (b"\x67\x42\x00\x1f", b"\x68\xce", b"\x06\x06\x01\x80")]  # to a recovery point


def test_slices_lost_behind_a_recovery_point_are_missed() -> None:
    """What is left of that frame is damaged, and the next frame is no place to begin, nor has it anything of it."""
    units = AccessUnits(H264)
    feed(units, [*frame_pieces(1, [250]), *(Piece(nal, 2) for nal in PREFIX)])
    units.lose()
    out = feed(units, [*frame_pieces(2, [250])[1:], *frame_pieces(3, [250])])
    assert [(unit.pts, unit.damaged) for unit in (*out, *units.flush())] == [(2, True), (3, True)]
    assert not any(unit.data.startswith(PREFIX[0]) for unit in units.flush())


def test_a_recovery_point_of_which_no_slice_came_is_not_the_next_frames() -> None:
    """It is counted as a frame that is damaged."""
    units = AccessUnits(H264)
    out = feed(units, [*frame_pieces(1, [250]), *(Piece(nal, 2) for nal in PREFIX)])
    units.lose()
    out += [*feed(units, frame_pieces(3, [250])), *units.flush()]
    assert [(unit.pts, unit.keyframe, unit.damaged) for unit in out] == [
        (1, False, False),
        (2, True, True),
        (3, False, True),
    ]
    assert out[-1].data == b"".join(piece.data for piece in frame_pieces(3, [250]))


def test_a_recovery_point_right_behind_a_handed_out_frame_is_not_that_of_one_after_a_gap() -> None:
    """Some senders give it the timestamp of the frame before."""
    units = AccessUnits(H264)
    feed(units, [piece for number in range(1, PROOF + 2) for piece in frame_pieces(number, [250])])
    feed(units, [Piece(nal, PROOF + 1) for nal in PREFIX])
    units.lose()
    assert feed(units, frame_pieces(PROOF + 1, [250])[1:]) == []
    out = [*feed(units, frame_pieces(PROOF + 3, [250])), *units.flush()]
    assert [(unit.pts, unit.damaged, unit.data.endswith(slice_nal(250))) for unit in out] == [(PROOF + 3, True, True)]


def test_a_recovery_point_behind_slices_is_not_that_of_their_frame() -> None:
    """Where frames wait for the next one, it is in the frame whose timestamp it has."""
    units = AccessUnits(H264)
    units.lose()
    feed(units, [*frame_pieces(2, [250]), *(Piece(nal, 2) for nal in PREFIX)])
    assert [(unit.keyframe, unit.damaged) for unit in units.flush()] == [(False, True)]


@pytest.mark.parametrize("own_time", [True, False])
def test_a_gap_before_parameter_sets_harms_no_keyframe_behind_them(own_time: bool) -> None:
    """And they are kept for it."""
    units = AccessUnits(H264)
    feed(units, frame_pieces(8, [250]))
    units.lose()
    sent = [*(Piece(nal, 9 if own_time else 10) for nal in PREFIX), *frame_pieces(10, [250])]
    *_, unit = (*feed(units, sent), *units.flush())
    assert (unit.pts, unit.keyframe, unit.damaged) == (10, True, False)
    assert unit.data == b"".join(piece.data for piece in sent)


def test_parameter_sets_before_a_gap_are_kept_for_the_keyframe_behind_it() -> None:
    """Those with a timestamp of their own and no recovery point are of no frame that was lost."""
    units = AccessUnits(H264)
    feed(units, [Piece(nal, 9) for nal in PREFIX[:2]])
    units.lose()
    sent = frame_pieces(10, [250])
    (unit,) = (*feed(units, sent), *units.flush())
    assert (unit.keyframe, unit.damaged) == (True, False)
    assert unit.data == b"".join(PREFIX[:2]) + b"".join(piece.data for piece in sent)


def whole_then(pieces: list[Piece]) -> list[tuple[int | None, bool]]:
    """Return what becomes of pieces behind a whole frame, and of frame 3 behind them: times, and whether damaged."""
    units = AccessUnits(H264)
    out = [*feed(units, [*frame_pieces(1, [250]), *pieces, *frame_pieces(3, [250])]), *units.flush()]
    return [(unit.pts, unit.damaged) for unit in out[1:]]


def test_a_frame_whose_rest_was_left_out_is_damaged() -> None:
    """An encoder or a relay may do so before it numbers its packets."""
    assert whole_then(frame_pieces(2, [350])) == [(2, False), (3, False)]
    assert whole_then(frame_pieces(2, [350])[:-1])[0] == (2, True)


def test_a_slice_whose_end_was_left_out_is_damaged() -> None:
    """Another NAL unit begins, or a whole one comes, before the end."""
    for second in (50, 350):
        first, rest = frame_pieces(2, [350]), frame_pieces(2, [350, second])[4:]
        assert whole_then(first + rest)[0] == (2, False)
        assert whole_then(first[:-1] + rest)[0] == (2, True)


def test_fragments_without_a_beginning_are_not_the_rest_of_the_unit_before() -> None:
    """Whether that came whole or in fragments."""
    for first in (50, 350):
        pieces = frame_pieces(2, [first, 350])
        assert whole_then(pieces)[0] == (2, False)
        assert whole_then(pieces[:-4] + pieces[-3:])[0] == (2, True)


def test_a_marker_is_no_end_of_a_fragmented_unit() -> None:
    """Also of a camera whose frames are handed out at it."""
    units = AccessUnits(H264)
    feed(units, [piece for number in range(PROOF + 2) for piece in frame_pieces(number, [250])])
    first, second, _ = frame_pieces(PROOF + 2, [250])
    assert [unit.damaged for unit in feed(units, [first, replace(second, last=True)])] == [True]


def proved(size: int = 250) -> AccessUnits:
    """Return an assembler that has just handed out frame `PROOF + 1` at its marker."""
    units = AccessUnits(H264)
    out = [unit for number in range(1, PROOF + 2) for unit in feed(units, frame_pieces(number, [size]))]
    assert (out[-1].pts, out[-1].early) == (PROOF + 1, True)
    return units


def behind_the_marker(pieces: list[Piece], units: AccessUnits) -> list[tuple[bool, bool, bool]]:
    """Return what comes of pieces behind a handed-out frame and of a frame then: data or none, keyframe, damaged."""
    out = [*feed(units, pieces), *feed(units, frame_pieces(PROOF + 3, [250]))]
    return [(bool(unit.data), unit.keyframe, unit.damaged) for unit in out]


def test_what_was_left_out_behind_a_handed_out_frame_is_missed() -> None:
    """A recovery point without its end, or the rest of a slice, is a gap before the next frame."""
    now = PROOF + 1
    assert behind_the_marker([], proved()) == [(True, False, False)]
    assert behind_the_marker([Piece(PREFIX[2], now)], proved()) == [(True, True, False)]
    assert behind_the_marker([Piece(PREFIX[2], now, ends=False)], proved()) == [(True, False, True)]
    assert behind_the_marker([Piece(PREFIX[0], now), Piece(b"\x55", now)], proved()) == [(True, False, True)]


def test_a_unit_that_goes_on_behind_its_end_was_cut_short() -> None:
    """The frame was handed out without the rest: that is said."""
    out = behind_the_marker([Piece(b"\x55", PROOF + 1)], proved())
    assert out[0] == (False, False, True)


def test_the_first_frame_in_fragments_is_followed_by_a_good_one() -> None:
    """Also where it is handed out at its marker, and its own ends are the first that come."""
    units = proved(50)
    assert [unit.early for unit in feed(units, frame_pieces(PROOF + 2, [250]))] == [True]
    assert behind_the_marker([], units) == [(True, False, False)]


def test_slices_lost_behind_sei_in_fragments_are_no_part_of_it() -> None:
    """Large messages are sent in fragments too; nothing of them, and of what came behind them, is the next frame's."""
    units = AccessUnits(H264)
    feed(units, pieces_of(b"\x06\x05" + b"\x55" * 250, 9))
    units.lose()
    out = [*feed(units, [*frame_pieces(9, [250])[1:], *frame_pieces(10, [250])]), *units.flush()]
    assert [(unit.pts, unit.damaged) for unit in out] == [(9, True), (10, False)]
    assert out[-1].data == b"".join(piece.data for piece in frame_pieces(10, [250]))


def test_a_gap_teaches_nothing_of_ends() -> None:
    """A sender that marks only a frame's last fragment would be refused for ever once a beginning was lost."""
    units, out = AccessUnits(H264), list[AccessUnit]()
    for number in range(10, 30):
        for index, piece in enumerate(frame_pieces(number, [250, 250])):
            if (number, index) == (12, 3):
                units.lose()
            else:
                out += feed(units, [replace(piece, ends=index == 5)])
    assert [unit.pts for unit in out if unit.damaged] == [12, 13]


@pytest.mark.parametrize("ends", ["never", "always", "last"])
def test_a_sender_that_marks_no_right_ends_is_decoded(ends: str) -> None:
    """No decoder minds: no fragment has the bit, each but the first has it, or only a frame's last."""
    units = AccessUnits(H264)
    out: list[AccessUnit] = []
    for number in range(30):
        for piece in (pieces := frame_pieces(number, [350, 350])):
            starts = piece.data.startswith(START_CODE)
            marked = {"never": False, "always": not starts, "last": piece is pieces[-1]}[ends]
            out += feed(units, [replace(piece, ends=marked)])
    assert [(unit.pts, unit.damaged) for unit in out] == [(number, False) for number in range(len(out))]
    assert len(out) >= 29


def test_parameter_sets_with_a_timestamp_of_their_own_join_the_next_frame() -> None:
    """Nothing is handed out for them alone."""
    units = AccessUnits(H264)
    sps = START_CODE + b"\x67\x42\x00\x1f"
    out = [*units.push(sps, 5, ends=True), *feed(units, frame_pieces(10, [250])), *units.flush()]
    assert [(unit.pts, unit.keyframe, unit.data.startswith(sps)) for unit in out] == [(10, True, True)]


def test_a_frame_whose_beginning_was_lost_is_damaged() -> None:
    """Fragments without their first one still count as a frame that arrived."""
    units = AccessUnits(H264)
    units.push(b"\x55" * MTU, 1, ends=False)
    out = feed(units, frame_pieces(2, [250]))
    assert [(unit.pts, unit.damaged, bool(unit.data)) for unit in out] == [(1, True, True)]


def test_several_nal_units_in_one_piece_are_all_seen() -> None:
    """An aggregation packet with parameter sets and a slice is a keyframe."""
    units = AccessUnits(H264)
    data = START_CODE + b"\x67\x42" + START_CODE + b"\x68\xce" + START_CODE + slice_nal(20, key=True)
    units.push(data, 1, ends=True)
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


def decoded_of(units: list[AccessUnit]) -> list[AccessUnit]:
    """Return what a session decodes: from a keyframe on, up to damage."""
    decoded, awaits_key = [], True
    for unit in units:
        awaits_key = unit.damaged or (awaits_key and not unit.keyframe)
        if not awaits_key and unit.data:
            decoded.append(unit)
    return decoded


@pytest.mark.parametrize("codec", [H264, H265], ids=["h264", "hevc"])
@given(frames_of, st.sampled_from(["right", "never", "slice"]), st.sets(st.integers(0, 400), max_size=30))
def test_nothing_is_decoded_over_a_gap(codec: NalCodec, frames: Frames, markers: str, lost: set[int]) -> None:
    """Whatever packets are lost: what is decoded is whole, and each frame has the one that it refers to."""
    units = AccessUnits(codec)
    if markers == "slice":  # of a sender whose frames have one slice again and again, no loss of a further one is seen
        frames = [[*sizes, 20] for sizes in frames]
    sent = [frame_pieces(number, sizes, markers, codec=codec) for number, sizes in enumerate(frames)]
    out: list[AccessUnit] = []
    for index, piece in enumerate(piece for pieces in sent for piece in pieces):
        if index in lost:
            units.lose()
        else:
            out += feed(units, [piece])
    decoded = decoded_of([*out, *units.flush()])
    numbers = [unit.pts for unit in decoded if unit.pts is not None]
    for unit, number in zip(decoded, numbers, strict=True):
        assert unit.data == b"".join(piece.data for piece in sent[number])
    assert all(number % 10 == 0 or number - 1 in numbers for number in numbers)


@given(
    st.lists(st.integers(2, 350), min_size=1, max_size=60),
    st.sampled_from(["right", "never"]),
    st.sampled_from(["own", "frame's", "frame's before"]),
    st.sets(st.integers(0, 300), max_size=30),
)
def test_nothing_is_decoded_over_a_gap_of_a_camera_without_keyframes(
    sizes: list[int], markers: str, time: str, lost: set[int]
) -> None:
    """A recovery point and a frame's slices may be lost without each other, whatever time the former has."""
    units, out, whole, index = AccessUnits(H264), list[AccessUnit](), list[bytes](), 0
    for number, size in enumerate(sizes):
        pts = 2 * number
        pieces = frame_pieces(11, [size], markers, pts=pts)
        whole.append(b"".join(piece.data for piece in pieces))
        if number % 10 == 0:
            pieces = [Piece(nal, pts - {"own": 1, "frame's": 0, "frame's before": 2}[time]) for nal in PREFIX] + pieces
        for piece in pieces:
            if index in lost:
                units.lose()
            else:
                out += feed(units, [piece])
            index += 1
    decoded = decoded_of([*out, *units.flush()])
    numbers = [unit.pts // 2 for unit in decoded if unit.pts is not None]
    for unit, number in zip(decoded, numbers, strict=True):
        data = unit.data
        for nal in PREFIX:  # where they are is another test's matter
            data = data.replace(nal, b"")
        assert data == whole[number]
    assert all(number % 10 == 0 or number - 1 in numbers for number in numbers)


@given(
    st.lists(st.tuples(st.lists(st.integers(210, 600), min_size=1, max_size=3), st.integers(0, 99)), max_size=40),
    st.sampled_from(["right", "never", "slice"]),
)
def test_nothing_that_was_left_out_of_a_unit_is_silent(frames: list[tuple[list[int], int]], markers: str) -> None:
    """Without any gap in the numbers: damaged are those frames of which the end or the beginning of a slice lacks."""
    units, lacking = AccessUnits(H264), set[int]()
    out = feed(units, frame_pieces(0, [250], markers))
    for number, (sizes, chosen) in enumerate(frames, 1):
        pieces = frame_pieces(number, sizes, markers)
        firsts = [at for at, piece in enumerate(pieces) if piece.data.startswith(START_CODE)]
        at = firsts[chosen % len(firsts)]
        if chosen % 4 == 0:
            del pieces[at]
        elif chosen % 4 == 1:
            del pieces[next(end for end in range(at, len(pieces)) if pieces[end].ends)]
        if chosen % 4 < 2:
            lacking.add(number)
        out += feed(units, pieces)
    out += units.flush()
    damaged = {unit.pts for unit in out if unit.damaged}
    assert lacking <= damaged
    assert damaged <= lacking | {number + 1 for number in lacking}  # which the session would not decode anyway


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3), st.booleans(), st.booleans()), max_size=60))
def test_garbage_is_only_garbage(packets: list[tuple[bytes, int, bool, bool]]) -> None:
    """Nothing that a camera sends makes the assembler fail."""
    for codec in (H264, H265):
        units = AccessUnits(codec)
        for payload, pts, last, lost in packets:
            if lost:
                units.lose()
            piece, ends = PIECES[codec.name](memoryview(payload))
            for _ in units.push(piece, pts, ends=ends, last=last):
                pass


@given(st.integers(1, 4), st.lists(st.integers(2, 600), min_size=40, max_size=80))
def test_a_fixed_number_of_slices_is_never_cut(slices: int, sizes: list[int]) -> None:
    """A camera that always sends the same slices is never damaged, whatever their sizes."""
    units = AccessUnits(H264)
    out = [unit for n, size in enumerate(sizes) for unit in feed(units, frame_pieces(n, [size] * slices))]
    assert not any(unit.damaged for unit in out)


@pytest.mark.parametrize("data", [b"", b"\x55", START_CODE + b"\x67", START_CODE + b"\x41\x80"])
@pytest.mark.parametrize("stands", [True, False], ids=["one timestamp", "many timestamps"])
@pytest.mark.parametrize("ends", [True, False])
def test_memory_is_bounded_whatever_the_pieces(data: bytes, stands: bool, ends: bool) -> None:
    """A frame that never ends is given up, or comes out; also one of very many very small pieces."""
    units = AccessUnits(H264, max_bytes=100_000)
    out = 0
    try:
        for number in range(10_000):
            out += len(units.push(data, 0 if stands else number, ends=ends))
    except OversizedFrameError:
        return
    assert out > 9_000
