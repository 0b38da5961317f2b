# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 or float16: which one runs on a GPU, and why each other one does not."""

from __future__ import annotations

import pytest

from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.engine_choice import EngineChoice, Precision, PrecisionVariant
from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.errors import DeviceError
from vision_line_compression.engines.engine_race import DECISIVE_BATCH, choose

TARGET = Target(Library.TENSORRT, 86, "Fake GPU")
WRONG = "against the bundle's proof: 3 of 128 places"


@pytest.fixture(scope="module")
def model() -> Model:
    """Return a model that is INT8 and in a bundle."""
    return open_model(None)


def variant(
    precision: Precision, passed: bool | None, latency_ms: float | None = None, fault: str = ""
) -> PrecisionVariant:
    """Return a variant as it comes out of a GPU."""
    times = {} if latency_ms is None else {1: 1.0, DECISIVE_BATCH: latency_ms}
    return PrecisionVariant(
        precision=precision,
        model_sha256="a" * 64,
        passed=passed,
        judged_by="a report",
        latency_ms=times,
        fault=fault,
    )


def chosen(model: Model, *variants: PrecisionVariant, wanted: Precision | None = None) -> EngineChoice:
    """Return the choice among `variants`."""
    return choose(wanted, model, TARGET, "10.16.1.11", (192, 320), variants)


@pytest.mark.parametrize(
    ("int8", "half", "kept", "reason", "lost"),
    [
        (
            (True, 2.0),
            (True, 1.0),
            "fp16",
            "int8 2.000 ms, fp16 1.000 ms",
            "slower: 2.000 ms for a batch of 16, fp16",
        ),
        (
            (True, 1.0),
            (True, 2.0),
            "int8",
            "int8 1.000 ms, fp16 2.000 ms",
            "slower: 2.000 ms for a batch of 16, int8",
        ),
        ((True, 1.0), (True, 0.985), "int8", "fp16 0.985 ms", "not faster by more than 2%: 0.985 ms"),
        ((True, 1.0), (True, 1.0), "int8", "fp16 1.000 ms", "not faster by more than 2%"),
        ((False, 0.1), (True, 9.0), "fp16", "only fp16 passed", "it did not pass the accuracy gates: a report"),
        ((False, 1.0), (False, 0.1), "int8", "none passed the accuracy gates, so it is the", "it did not pass"),
        ((True, 2.0), (None, 1.0), "int8", "is not known (fp16: a report)", "whether it passed the accuracy gates is"),
        ((None, 2.0), (True, 1.0), "int8", "is not known (int8: a report)", "what is known does not say"),
        ((True, None), (True, 0.1), "int8", "no GPU has timed them", "what is known does not say"),
    ],
)
def test_the_faster_that_passed_is_kept(
    model: Model,
    int8: tuple[bool | None, float | None],
    half: tuple[bool | None, float],
    kept: Precision,
    reason: str,
    lost: str,
) -> None:
    """What is not known leaves the bundle as it is; the times stand in the choice either way."""
    variants = variant("int8", *int8), variant("fp16", *half)

    choice = chosen(model, *variants)

    assert choice.kept == kept
    assert reason in choice.reason
    assert tuple(one.model_copy(update={"lost": ""}) for one in choice.forms) == variants
    (losing,) = [one for one in choice.forms if one.precision != kept]
    assert losing.lost.startswith(lost)


def test_one_whose_results_differ_is_no_choice(model: Model) -> None:
    """However fast it is, and whatever the gates say of its file."""
    right = chosen(model, variant("int8", None, 3.0), variant("fp16", passed=True, latency_ms=0.1, fault=WRONG))
    other = chosen(model, variant("int8", passed=True, latency_ms=0.1, fault=WRONG), variant("fp16", passed=True))

    assert (right.kept, right.reason) == ("int8", "only int8 has an engine that is right")
    assert (other.kept, other.reason) == ("fp16", "only fp16 has an engine that is right")
    assert [one.lost for one in (right.forms[1], other.forms[0])] == [WRONG, WRONG]


@pytest.mark.parametrize("passed", [None, False])
def test_where_none_is_right_nothing_runs(model: Model, passed: bool | None) -> None:
    """FP16 does not stand in for a wrong INT8 engine where nobody knows whether it may inspect."""
    with pytest.raises(DeviceError, match="int8: against the bundle's proof: 3 of 128 places; fp16: a report"):
        chosen(model, variant("int8", passed=True, fault=WRONG), variant("fp16", passed))


def test_what_is_asked_for_runs_if_it_is_right(model: Model) -> None:
    """Gates and times are not asked."""
    assert chosen(model, variant("fp16", None), wanted="fp16").reason == "asked for"
    with pytest.raises(DeviceError, match="fp16: against the bundle's proof"):
        chosen(model, variant("fp16", passed=True, fault=WRONG), wanted="fp16")


def test_without_a_float_model_there_is_no_choice(model: Model) -> None:
    """It is said, not passed over."""
    choice = chosen(model, variant("int8", passed=True))

    assert (choice.kept, choice.reason[:25]) == ("int8", "the float model that was ")
