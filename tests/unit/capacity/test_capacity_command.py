# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line capacity`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from vision_line.cli.main import cli

RUNNER = CliRunner(env={"COLUMNS": "200"})


def test_the_table_calls_itself_a_model() -> None:
    """Every resource, the latency's parts, the first limit and the most cameras are there."""
    result = RUNNER.invoke(cli, ["capacity", "--gpu", "RTX 3060"])

    assert result.exit_code == 0, result.output
    for words in (
        *("Model, not a measurement", "16 x 1920x1080 h264 at 25 fps on RTX 3060"),
        *("decoders (NVDEC)", "engine (SMs)", "memory bandwidth", "device memory", "host CPU", "Python, one process"),
        *("wait for the decoder", "wait behind the running batch", "in all"),
        *("At most 29 such cameras, first limit: decoders (NVDEC)", "not a measurement"),
        "Decoder rate: published; engine times: published; measured, on a machine without a GPU: PACKET_CPU_S, ",
    ):
        assert words in result.output


def test_json_is_one_object_whose_parts_add_up() -> None:
    """The mean is the sum of its parts."""
    result = RUNNER.invoke(cli, ["capacity", "--gpu", "A100", "--codec", "hevc", "--inspect-fps", "5", "--json"])
    answer = json.loads(result.stdout)

    assert answer["kind"] == "model"
    assert answer["inspect_fps"] == 5
    assert answer["decoder_rate"]["basis"] == "published"
    measured = {name for name, constant in answer["constants"].items() if constant["basis"] == "measured"}
    assert measured == {"PACKET_CPU_S", "PACKET_PYTHON_S", "INSPECT_PYTHON_S", "RESULT_PYTHON_S"}
    latency = answer["latency_ms"]
    parts = ("decoder_wait", "decode", "mailbox", "slot", "engine", "host")
    assert latency["mean"] == pytest.approx(sum(latency[part] for part in parts), abs=0.01)
    assert {resource["name"] for resource in answer["resources"]} >= {"decoders (NVDEC)", "engine (SMs)"}


def test_of_several_models_the_slowest_counts() -> None:
    """And each takes memory of its own."""

    def answer(*costs: str) -> dict[str, Any]:
        options = [word for cost in costs for word in ("--model-cost", cost)]
        found: dict[str, Any] = json.loads(RUNNER.invoke(cli, ["capacity", "--gpu", "A100", *options, "--json"]).stdout)
        return found

    alone, both = answer("2.3"), answer("1", "2.3")
    assert (alone["models"], both["models"], both["model_cost"]) == (1, 2, 2.3)
    used = [{one["name"]: one["used"] for one in each["resources"]} for each in (alone, both)]
    assert used[0]["device memory"] < used[1]["device memory"]
    assert used[0]["engine (SMs)"] <= used[1]["engine (SMs)"]
    said = RUNNER.invoke(cli, ["capacity", "--gpu", "A100", "--model-cost", "1", "--model-cost", "2.3"]).output
    assert "model cost 2.3, the slowest of 2 models" in said


def test_too_many_cameras_learn_what_they_need() -> None:
    """The number of GPUs, and that engine times were estimated."""
    result = RUNNER.invoke(cli, ["capacity", "--gpu", "L4", "--cameras", "1000", "--inspect-fps", "5"])

    assert result.exit_code == 0
    assert "1000 cameras need 7 such GPUs, a process each; 9 with that reserve; and 20" in result.output
    assert "Engine times are estimated" in result.output
    assert "grows without end" in result.output


def test_too_few_cores_are_no_lack_of_gpus() -> None:
    """GPUs bring no cores with them: a third one would wait for the same two cores."""
    asked = ["capacity", "--gpu", "A100", "--cameras", "300", "--inspect-fps", "5", "--host-cores", "2"]
    said = RUNNER.invoke(cli, asked).output
    assert "first limit: host CPU" in said
    assert "300 cameras need 2 such GPUs, a process each; 3 with that reserve; and 6.0 of 2 cores of the host" in said

    answer = json.loads(RUNNER.invoke(cli, [*asked, "--json"]).stdout)
    assert not answer["fits"]
    assert (answer["most_cameras"], answer["gpus_needed"], answer["host_cores"]) == (100, 2, 2)
    assert answer["host_cores_needed"] == pytest.approx(6.0, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "RTX 9999"], ["'RTX 9999' is not known", "RTX 3060", "L4"]),
        (["--gpu", "T4", "--codec", "av1"], ["T4 has no known rate for av1"]),
        (["--gpu", "T4", "--size", "big"], ["expected WIDTHxHEIGHT", "'big'"]),
        (["--gpu", "T4", "--codec", "mpeg1"], ["mpeg1"]),
    ],
)
def test_a_question_that_makes_no_sense_ends_with_2(arguments: list[str], words: list[str]) -> None:
    """One clear sentence on stderr."""
    result = RUNNER.invoke(cli, ["capacity", *arguments])

    assert result.exit_code == 2
    assert all(word in result.stderr for word in words), result.stderr
