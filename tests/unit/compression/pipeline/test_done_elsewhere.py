# SPDX-License-Identifier: AGPL-3.0-or-later
"""A report names what was not done on its machine and with its versions: INT8 and speed depend on both."""

from __future__ import annotations

from pathlib import Path

from vision_line_compression.pipeline.stage import Marker, Stage, Workspace
from vision_line_compression.pipeline.stage_machine import library_versions, this_machine
from vision_line_compression.pipeline.steps.report import done_elsewhere
from vision_line_compression.progress import ProgressDisplay

VERSIONS = {"torch": "2.14", "onnx": "1.20"}


def marker(stage: str, machine: str = "here", **versions: str) -> Marker:
    """Return what a stage leaves."""
    return Marker(
        stage=stage, key="0", outputs={}, seconds=1.0, inputs={}, machine=machine, versions=VERSIONS | versions
    )


def test_nothing_is_said_of_what_was_done_here() -> None:
    """With the same versions."""
    assert not list(done_elsewhere([marker("speed"), marker("recover")], "here", VERSIONS))


def test_other_machines_versions_and_older_folders_are_named() -> None:
    """Each with its stages."""
    markers = [
        marker("speed", "another processor"),
        marker("eval-parent", "another processor"),
        marker("recover", torch="2.13", extra="1"),
        marker("plan", machine=""),
    ]

    assert list(done_elsewhere(markers, "here", VERSIONS)) == [
        "Done on another machine, another processor: speed, eval-parent",
        "Done with other versions, extra 1, torch 2.13: recover",
        "The machine and the versions of these stages are not recorded: plan",
    ]


def test_a_stage_leaves_its_machine_and_versions(tmp_path: Path) -> None:
    """Beside its outputs."""
    workspace, stage = Workspace(tmp_path), Stage("plan", lambda _folder, _progress: [])
    assert workspace.marker(stage) is None

    workspace.ensure(stage, ProgressDisplay().stage)

    found = workspace.marker(stage)
    assert found is not None
    assert (found.machine, found.versions) == (this_machine(), library_versions())
    assert "torch" in found.versions
