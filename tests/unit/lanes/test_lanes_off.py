# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which lanes are off, over the end of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.errors import RunError
from vision_line.lanes import lanes_off
from vision_line.lanes.lanes_off import FILE_NAME, LanesOff


def test_what_somebody_switched_off_stays_off_for_who_comes_next(tmp_path: Path) -> None:
    """Not what a module that was away did: whether it is, is found anew."""
    off = LanesOff(tmp_path, ["the PLC"])
    for lane, by in (("a", "the PLC"), ("a", "module 1"), ("b", "module 1"), ("c", "the PLC")):
        off.switch(lane, by, is_off=True)
    off.switch("c", "the PLC", is_off=False)
    again = LanesOff(tmp_path, ["the PLC"])
    assert [off.names(lane) for lane in "abcd"] == [{"the PLC", "module 1"}, {"module 1"}, set(), set()]
    assert [again.names(lane) for lane in "abcd"] == [{"the PLC"}, set(), set(), set()]


@pytest.mark.parametrize("text", ["", "[]", '{"a": "the PLC"}', '{"a": [1]}', "\udcff"])
def test_what_cannot_be_read_is_no_lane_that_is_on(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match="lanes-off"):
        LanesOff(tmp_path, [])


def test_what_is_off_is_on_the_disk_when_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses its power begins with it: the file before its name, and then the folder."""
    done: list[str] = []

    def noted(name: str) -> None:
        original = getattr(lanes_off, name)

        def call(*given: object) -> None:
            done.append(name)
            original(*given)

        monkeypatch.setattr(lanes_off, name, call)

    noted("write_durably")
    noted("sync_directory")
    LanesOff(tmp_path, ["the PLC"]).switch("a", "the PLC", is_off=True)
    assert done == ["write_durably", "sync_directory"]
    assert LanesOff(tmp_path, ["the PLC"]).names("a") == {"the PLC"}


def test_a_folder_that_takes_no_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    off = LanesOff(tmp_path, ["the PLC"])
    (tmp_path / "lanes-off.partial").mkdir()
    off.switch("a", "the PLC", is_off=True)
    assert off.names("a") == {"the PLC"}
    assert "a restart forgets" in caplog.text
