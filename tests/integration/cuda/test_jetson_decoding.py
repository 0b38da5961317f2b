# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Jetson's decoder as an adapter: real GStreamer, with a software decoder in the place of nvv4l2decoder."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.builders import COLOUR
from tests.fakes.gpu_libraries.videos import encoded, opened

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.decoders import jetson
from vision_line.devices.cuda.decoders.jetson import Elements, GstDecoder, check_jetson
from vision_line.errors import DeviceError, SourceError
from vision_line.ports import DecodedFrame

#: What PyGObject's own importer does on Python 3.11 and later.
pytestmark = pytest.mark.filterwarnings("ignore:DynamicImporter:ImportWarning")

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
FRAMES = 12


@pytest.fixture(scope="module", autouse=True)
def gstreamer() -> None:
    """Import the system's PyGObject, which no virtual environment has; skip where there is none for this Python."""
    added = SYSTEM_PACKAGES.is_dir() and str(SYSTEM_PACKAGES) not in sys.path
    if added:
        sys.path.append(str(SYSTEM_PACKAGES))
    try:
        jetson._load_gstreamer()
    except DeviceError as exc:
        pytest.skip(f"no GStreamer for this Python: {exc}")
    finally:
        if added:
            sys.path.remove(str(SYSTEM_PACKAGES))


def _elements(codec: str) -> Elements:
    gst, _, _ = jetson._load_gstreamer()
    found = [name for name in SOFTWARE[codec] if gst.ElementFactory.find(name) is not None]
    if not found:
        pytest.skip(f"GStreamer has none of {', '.join(SOFTWARE[codec])}")
    return Elements(found[0], "videoconvert")


#: Software decoders, any of which will do.
SOFTWARE = {"h264": ("avdec_h264", "openh264dec"), "hevc": ("avdec_h265", "libde265dec")}
ENCODERS = {"h264": "libx264", "hevc": "libx265"}


def _decoded(codec: str, memory: io.BytesIO, **options: Any) -> list[DecodedFrame]:
    with (
        opened(memory) as (stream, packets),
        closing(GstDecoder("dock-3", stream, COLOUR, elements=_elements(codec), opening_s=1.0, **options)) as decoder,
    ):
        return [frame for packet in packets for frame in decoder.decode(packet)]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("size_wh", [(128, 96), (130, 98)])
def test_frames_are_those_of_the_cpu(codec: str, size_wh: tuple[int, int]) -> None:
    """All frames, in order, equal FFmpeg's sample by sample, with their times and flags."""
    memory = encoded(ENCODERS[codec], size_wh)
    frames = _decoded(codec, memory)
    with opened(memory) as (stream, packets):
        reference = CpuDecoder("a", stream)
        expected = [frame for packet in packets for frame in reference.decode(packet)]

    assert len(frames) == len(expected) == FRAMES
    for number, (frame, other) in enumerate(zip(frames, expected, strict=True)):
        for found, wanted in zip(open_planes(frame.data).planes, open_planes(other.data).planes, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert (frame.size_wh, frame.keyframe, frame.corrupt) == (size_wh, other.keyframe, False)
        assert frame.pts_s == pytest.approx(number / 25)
        assert frame.colour == COLOUR


def test_each_packet_gives_its_frame() -> None:
    """A decoder that holds nothing back is waited for, so that no frame is a period late; marks stay."""
    with opened(encoded("libx264")) as (stream, packets):
        packets[3].is_corrupt = True
        with closing(GstDecoder("a", stream, COLOUR, elements=_elements("h264"))) as decoder:
            frames = [decoder.decode(packet) for packet in packets[:-1]]

    assert [len(batch) for batch in frames] == [1] * FRAMES
    assert [batch[0].corrupt for batch in frames] == [number == 3 for number in range(FRAMES)]


def test_reordering_decoder_is_not_waited_for_again_and_again() -> None:
    """Frames that the decoder holds back come later, none is lost, and the wait for them is paid once each."""
    frames = _decoded("hevc", encoded("libx265", options={"x265-params": "log-level=none:bframes=2"}), reorders=True)
    times = [frame.pts_s or 0.0 for frame in frames]

    assert len(times) == FRAMES
    assert times == sorted(times)


def test_missing_element_and_codec_are_reported() -> None:
    """What GStreamer lacks here is named; a codec that the element does not take is refused before."""
    with (
        opened(encoded("libx264")) as (stream, _),
        pytest.raises(DeviceError, match=r"no element nvv4l2decoder-not-here"),
    ):
        GstDecoder("a", stream, COLOUR, elements=Elements("nvv4l2decoder-not-here", "videoconvert"))
    with (
        opened(encoded("mjpeg", pixels="yuvj420p")) as (stream, _),
        pytest.raises(DeviceError, match="found mjpeg, expected one of h264, hevc"),
    ):
        GstDecoder("a", stream, COLOUR)


@pytest.mark.parametrize("element", ["jpegdec", "identity"])
def test_errors_of_the_pipeline_are_reported(element: str) -> None:
    """Elements that cannot be linked, or that fail while they run, end in one sentence with the element's name."""
    with opened(encoded("libx264")) as (stream, packets), pytest.raises(DeviceError, match=rf"^{element} \(h264\): "):
        _decode_by(stream, packets[:-1], Elements(element, "videoconvert"))


def _decode_by(stream: Any, packets: list[Any], elements: Elements) -> None:
    with closing(GstDecoder("a", stream, COLOUR, elements=elements)) as decoder:
        for packet in packets:
            decoder.decode(packet)


def test_closed_decoder_says_so() -> None:
    """Closing twice is allowed; decoding afterwards is not."""
    with opened(encoded("libx264")) as (stream, packets):
        decoder = GstDecoder("a", stream, COLOUR, elements=_elements("h264"))
        decoder.close()
        decoder.close()

        with pytest.raises(SourceError, match="closed"):
            decoder.decode(packets[0])


def test_other_machines_are_no_jetson(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only NVIDIA's Linux for Jetson has its release file."""
    monkeypatch.setattr(jetson, "_RELEASE", tmp_path / "nv_tegra_release")
    with pytest.raises(DeviceError, match="this is no Jetson"):
        check_jetson()
    (tmp_path / "nv_tegra_release").write_text("# R36\n")
    check_jetson()


def test_cpp_exceptions_survive_gstreamer() -> None:
    """OpenVINO, loaded after GStreamer, throws and catches exceptions of its own: none of them ends the process."""
    lines = (
        "import sys, numpy",
        f"sys.path.append({str(SYSTEM_PACKAGES)!r})",
        "from vision_line.devices.cuda.decoders import jetson",
        "jetson._load_gstreamer()",
        "import openvino",
        "print(openvino.Core().available_devices)",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)

    assert (done.returncode, "CPU" in done.stdout) == (0, True), done.stderr
