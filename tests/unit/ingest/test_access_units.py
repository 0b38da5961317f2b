# SPDX-License-Identifier: AGPL-3.0-or-later
"""Joining RTP pieces into pictures: early where the camera has proved regular, never wrong in silence."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.access_units import PROOF, AccessUnit, AccessUnits
from vision_line.ingest.nal import H264, H265, START_CODE, NalCodec, NalRole

MTU = 100  # bytes of NAL unit payload in a full fragment


@dataclass(frozen=True)
class Piece:
    """What FFmpeg hands out for one RTP packet."""

    data: bytes
    pts: int


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


def picture_pieces(number: int, sizes: list[int]) -> list[Piece]:
    """Return the pieces of picture `number`, with slices of `sizes` bytes; every 10th is a key picture."""
    pieces: list[Piece] = []
    for index, size in enumerate(sizes):
        pieces += pieces_of(slice_nal(size, key=number % 10 == 0, first_mb_zero=index == 0), number)
    return pieces


def feed(units: AccessUnits, pieces: list[Piece]) -> list[AccessUnit]:
    """Push all and return what came out."""
    return [unit for piece in pieces for unit in units.push(piece.data, piece.pts)]


def test_a_regular_camera_is_handed_out_without_waiting_for_the_next_picture() -> None:
    """After the proof, a picture comes out with its own last piece."""
    units = AccessUnits(H264)
    for number in range(PROOF + 3):
        feed(units, picture_pieces(number, [250]))
    out = feed(units, picture_pieces(PROOF + 3, [250]))
    assert [(unit.pts, unit.early, unit.damaged) for unit in out] == [(PROOF + 3, True, False)]


def test_before_the_proof_a_picture_waits_for_the_next() -> None:
    """The first pictures come out when their successor begins, as FFmpeg's parser does it."""
    units = AccessUnits(H264)
    assert feed(units, picture_pieces(0, [250])) == []
    assert [unit.pts for unit in feed(units, picture_pieces(1, [250]))] == [0]


def test_a_picture_that_fills_its_last_fragment_waits() -> None:
    """A last fragment of full size shows no end: the picture comes out with the next one, whole."""
    units = AccessUnits(H264)
    for number in range(PROOF + 3):
        feed(units, picture_pieces(number, [250]))
    assert feed(units, picture_pieces(PROOF + 3, [3 * MTU])) == []
    out = feed(units, picture_pieces(PROOF + 4, [250]))
    assert [(unit.pts, unit.early, unit.damaged) for unit in out] == [
        (PROOF + 3, False, False),
        (PROOF + 4, True, False),
    ]


def test_a_picture_cut_short_is_reported_and_makes_the_assembler_careful() -> None:
    """When a regular camera sends one more slice, the damage is said, and pictures are held back again."""
    units = AccessUnits(H264)
    for number in range(PROOF + 3):
        feed(units, picture_pieces(number, [250]))
    cut = feed(units, picture_pieces(PROOF + 3, [250, 250]))
    assert [unit.damaged for unit in cut] == [False]
    after = feed(units, picture_pieces(PROOF + 4, [250]))
    assert [(unit.data, unit.damaged) for unit in after] == [(b"", True)]


def test_filler_after_the_picture_is_no_damage() -> None:
    """Cameras with constant bit rate pad with filler NAL units, which may be fragmented themselves."""
    units = AccessUnits(H264)
    filler = bytes([0x0C]) + b"\xff" * 250
    out = [
        unit for number in range(30) for unit in feed(units, picture_pieces(number, [250]) + pieces_of(filler, number))
    ]
    assert not any(unit.damaged for unit in out)
    assert out[-1].early


def test_parameter_sets_with_a_timestamp_of_their_own_join_the_next_picture() -> None:
    """Nothing is handed out for them alone."""
    units = AccessUnits(H264)
    sps = START_CODE + b"\x67\x42\x00\x1f"
    out = [*units.push(sps, 5), *feed(units, picture_pieces(10, [250])), *units.flush()]
    assert [(unit.pts, unit.keyframe, unit.data.startswith(sps)) for unit in out] == [(10, True, True)]


def test_a_picture_whose_beginning_was_lost_is_damaged() -> None:
    """Fragments without their first one still count as a picture that arrived."""
    units = AccessUnits(H264)
    units.push(b"\x55" * MTU, 1)
    out = feed(units, picture_pieces(2, [250]))
    assert [(unit.pts, unit.damaged, bool(unit.data)) for unit in out] == [(1, True, True)]


def test_several_nal_units_in_one_piece_are_all_seen() -> None:
    """An aggregation packet with parameter sets and a slice is a key picture."""
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
    """Key pictures are recognised by the NAL unit type."""
    assert codec.role(header + b"\x00" * 4, 0) is role


@pytest.mark.parametrize(("bits", "address"), [("1", 0), ("010", 1), ("00111", 6), ("0001000", 7)])
def test_first_macroblock_of_a_slice(bits: str, address: int) -> None:
    """first_mb_in_slice is an Exp-Golomb code."""
    body = int(bits.ljust(64, "0"), 2).to_bytes(8, "big")
    assert H264.slice_address(b"\x41" + body, 0) == address


@given(st.lists(st.lists(st.integers(2, 600), min_size=1, max_size=4), min_size=1, max_size=80))
def test_no_piece_is_lost_and_no_cut_is_silent(pictures: list[list[int]]) -> None:
    """Whatever the slices: each picture comes out once, in order, whole, or is followed by the report of its damage."""
    units = AccessUnits(H264)
    out: list[AccessUnit] = []
    for number, sizes in enumerate(pictures):
        out += feed(units, picture_pieces(number, sizes))
    out += units.flush()
    whole = [b"".join(piece.data for piece in picture_pieces(n, sizes)) for n, sizes in enumerate(pictures)]
    cut = {unit.pts for unit in out if unit.damaged}
    shown = [unit for unit in out if unit.data]
    assert [unit.pts for unit in shown] == list(range(len(pictures)))
    for unit in shown:
        assert unit.pts is not None
        assert (unit.data == whole[unit.pts]) == (unit.pts not in cut)


@given(st.integers(1, 4), st.lists(st.integers(2, 600), min_size=40, max_size=80))
def test_a_fixed_number_of_slices_is_never_cut(slices: int, sizes: list[int]) -> None:
    """A camera that always sends the same slices is never damaged, whatever their sizes."""
    units = AccessUnits(H264)
    out = [unit for n, size in enumerate(sizes) for unit in feed(units, picture_pieces(n, [size] * slices))]
    assert not any(unit.damaged for unit in out)
