# SPDX-License-Identifier: AGPL-3.0-or-later
"""The doctor: what it makes of a machine, and that nothing missing makes it fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.devices.proof.processor import parse_cpuinfo
from vision_line.doctor.diagnosis import diagnose
from vision_line.doctor.finding import Finding, Level, findings_json, findings_table
from vision_line.doctor.libraries import find_engine, find_opencv, find_video
from vision_line.doctor.machine import check_features, find_disk, find_memory, fsync_ms

AREAS = {
    *("python", "cpu", "int8", "cores", "memory", "gpu", "video", "engine", "proof"),
    *("images", "records", "disk", "limits", "terminal"),
}


def test_whole_round_covers_every_area(tmp_path: Path) -> None:
    """Each area has a finding, whatever this machine is, and nothing is left in the records' place."""
    findings = diagnose(tmp_path / "records")

    assert {finding.area for finding in findings} == AREAS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "machine", "level", "word"),
    [
        ({"avx2", "avx512f", "avx512_vnni", "amx_int8"}, "x86_64", Level.OK, "matrix units"),
        ({"avx2", "avx_vnni"}, "x86_64", Level.OK, "dot products in hardware"),
        ({"avx2"}, "x86_64", Level.OK, "1.5 times"),
        ({"asimddp"}, "aarch64", Level.OK, "dot products in hardware"),
        (set(), "aarch64", Level.WARN, "OpenVINO"),
        (set(), "x86_64", Level.WARN, "without AVX2"),
    ],
)
def test_processor_features_are_checked(flags: set[str], machine: str, level: Level, word: str) -> None:
    """The best feature that is there decides what INT8 brings."""
    finding = check_features(frozenset(flags), machine)

    assert finding.level is level
    assert word in finding.meaning


MEMINFO = "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n"
MB = 2**20
GROUPS: dict[str, dict[str, str]] = {
    "none": {},
    "no limit": {"memory.max": "max\n", "memory.current": "5\n"},
    "no limit in version 1": {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "5\n",
    },
    "larger": {"memory.max": f"{12000 * MB}\n", "memory.current": f"{1000 * MB}\n"},
    "version 2": {
        "memory.max": f"{2000 * MB}\n",
        "memory.current": f"{1800 * MB}\n",
        "memory.stat": f"anon {900 * MB}\ninactive_file {300 * MB}\n",
    },
    "version 1": {
        "memory/memory.limit_in_bytes": f"{2000 * MB}\n",
        "memory/memory.usage_in_bytes": f"{1800 * MB}\n",
        "memory/memory.stat": f"total_inactive_file {300 * MB}\n",
    },
    "beyond its limit": {"memory.max": f"{500 * MB}\n", "memory.current": f"{501 * MB}\n"},
}


@pytest.mark.parametrize(
    ("group", "level", "what"),
    [
        ("none", Level.OK, "8192 MB available of 16384 MB"),
        ("no limit", Level.OK, "8192 MB available of 16384 MB"),
        ("no limit in version 1", Level.OK, "8192 MB available of 16384 MB"),
        ("larger", Level.OK, "8192 MB available of 16384 MB"),
        ("version 2", Level.WARN, "500 MB available of the control group's 2000 MB"),
        ("version 1", Level.WARN, "500 MB available of the control group's 2000 MB"),
        ("beyond its limit", Level.WARN, "0 MB available of the control group's 500 MB"),
    ],
)
def test_memory_is_what_this_process_can_have(tmp_path: Path, group: str, level: Level, what: str) -> None:
    """A container on a large machine has its own limit, less what it uses and cannot give back."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    for name, text in GROUPS[group].items():
        path = tmp_path / "group" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (finding,) = find_memory(tmp_path / "meminfo", tmp_path / "group")
    assert (finding.level, finding.what) == (level, what)


def test_the_disk_is_that_of_the_line(tmp_path: Path) -> None:
    """Unless another one is named."""
    for name in ("line", "named"):
        (tmp_path / name).mkdir()
    streams = tmp_path / "streams.toml"
    record = f'[record]\ndirectory = "{tmp_path}/line/records"\n'
    streams.write_text(f'config_version = 1\n{record}[[stream]]\nname = "a"\nurl = "rtsp://127.0.0.1:1/a"\n')

    def disk(*options: str) -> str:
        found = json.loads(CliRunner().invoke(cli, ["doctor", "--json", "--streams", str(streams), *options]).stdout)
        return next(str(one["what"]) for one in found if one["area"] == "disk")

    assert disk().endswith(f"MB free in {tmp_path}/line")
    assert disk("--record", str(tmp_path / "named")).endswith(f"MB free in {tmp_path}/named")


def test_processor_is_read_from_cpuinfo() -> None:
    """Name and flags come from the first processor; a file without them gives nothing."""
    text = "processor\t: 0\nmodel name\t: Tiny 1\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nmodel name\t: Other\n"

    assert parse_cpuinfo(text) == ("Tiny 1", frozenset({"fpu", "avx2"}))
    assert parse_cpuinfo("processor : 0\nFeatures : asimd asimddp\n") == ("", frozenset({"asimd", "asimddp"}))
    assert parse_cpuinfo("") == ("", frozenset())


@pytest.mark.parametrize(("module", "find"), [("av", find_video), ("openvino", find_engine), ("cv2", find_opencv)])
def test_missing_library_is_a_finding(monkeypatch: pytest.MonkeyPatch, module: str, find: object) -> None:
    """A library that cannot be imported fails the round with what to install, and raises nothing."""
    monkeypatch.setitem(sys.modules, module, None)
    assert callable(find)
    findings = list(find())

    assert [finding.level for finding in findings] == [Level.FAIL]
    assert "pip install" in findings[0].remedy


def test_library_without_its_shared_objects_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenCV's desktop build on a bare server is recognised by the library that it misses."""
    message = "libGL.so.1: cannot open shared object file"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    finding = next(find_opencv())

    assert "libGL" in finding.what
    assert "headless" in finding.remedy


def test_place_that_cannot_be_written_fails(tmp_path: Path) -> None:
    """A folder that takes no files is reported."""
    if Path("/proc/self").is_dir():
        findings = list(find_disk(Path("/proc/self")))
        assert findings[-1].level is Level.FAIL
    assert fsync_ms(tmp_path) >= 0


def test_findings_are_shown_and_exported() -> None:
    """The table shows words beside colours and takes brackets literally; JSON has the fields of a finding."""
    findings = [Finding("cpu", Level.FAIL, "[bold]old", "slow", "a new one"), Finding("gpu", Level.OK, "none")]
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(findings_table(findings))

    assert "FAIL" in capture.get()
    assert "[bold]old" in capture.get()
    assert json.loads(findings_json(findings))[0] == {
        "area": "cpu",
        "level": "fail",
        "what": "[bold]old",
        "meaning": "slow",
        "remedy": "a new one",
    }
