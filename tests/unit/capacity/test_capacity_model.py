# SPDX-License-Identifier: AGPL-3.0-or-later
"""The capacity model: its table of GPUs, what limits a line, and that more of anything never helps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from vision_line.capacity.constants import NVDEC_FPS, Basis, Codec, all_constants
from vision_line.capacity.estimate import SUPERSEDED, Scenario, batch_s, estimate
from vision_line.capacity.gpus import GPUS, find_gpu, fitted_engine
from vision_line.errors import ConfigError

DOCUMENT = (Path(__file__).parents[3] / "docs" / "capacity.md").read_text(encoding="utf-8")
LINE = Scenario(find_gpu("RTX 3060"), 16, Codec.H264, (1920, 1080), 25.0)

#: Several tests ask for the same: an estimate plays the line out.
estimated = cache(estimate)


@pytest.mark.parametrize("name", ["RTX 3060", "rtx3060", "NVIDIA GeForce RTX 3060"])
def test_a_gpu_is_found_by_any_usual_spelling(name: str) -> None:
    """Case, spaces and the maker's words do not matter."""
    assert find_gpu(name).name == "RTX 3060"


def test_an_unknown_gpu_is_answered_with_the_known() -> None:
    """The message lists all."""
    with pytest.raises(ConfigError, match="'Voodoo 2' is not known") as caught:
        find_gpu("Voodoo 2")

    assert all(name in str(caught.value) for name in GPUS)


def test_a_codec_without_a_rate_is_refused() -> None:
    """Turing decodes no AV1."""
    with pytest.raises(ConfigError, match="RTX 2060 has no known rate for av1"):
        estimate(replace(LINE, gpu=find_gpu("RTX 2060"), codec=Codec.AV1))


@pytest.mark.parametrize(
    ("name", "batch", "ms"),
    [("RTX 3060", 1, 1.35), ("RTX 3060", 8, 6.40), ("A100", 8, 2.24), ("Orin NX 16GB", 1, 2.32)],
)
def test_engine_times_go_through_the_published_points(name: str, batch: int, ms: float) -> None:
    """A batch of 1 and of 8 take what was published."""
    engine = find_gpu(name).engine

    assert 1e3 * (engine.setup_s + batch * engine.image_s) == pytest.approx(ms)
    assert engine.basis is Basis.PUBLISHED


def test_estimated_engines_say_so_and_follow_the_published() -> None:
    """The power law misses none of the GPUs it was fitted to by more than a third."""
    for gpu in GPUS.values():
        if gpu.engine.basis is Basis.PUBLISHED and gpu.name != "Orin NX 16GB":
            assert fitted_engine(gpu.bandwidth).image_s == pytest.approx(gpu.engine.image_s, rel=1 / 3)
    assert find_gpu("L4").engine.basis is Basis.ESTIMATED


def test_batches_are_padded_to_captured_sizes() -> None:
    """17 images cost the engine what 24 do; only their conversion is less."""
    converting_s = batch_s(LINE, 24) - batch_s(LINE, 23)

    assert batch_s(LINE, 17) == pytest.approx(batch_s(LINE, 24) - 7 * converting_s)
    assert batch_s(LINE, 17) - batch_s(LINE, 16) > 8 * LINE.gpu.engine.image_s


def test_sixteen_cameras_fit_on_an_rtx_3060() -> None:
    """The README's line: decoding is what runs out first."""
    answer = estimated(LINE)

    assert answer.fits
    assert answer.first_limit == "decoders (NVDEC)"
    assert answer.most_cameras == 29
    assert answer.resources[0].utilisation == pytest.approx(400 / 748)
    assert answer.means is not None
    assert answer.means.latency_s < 0.18
    assert answer.gpus_needed == 1


def test_a_dearer_model_makes_the_engine_the_first_limit() -> None:
    """At 2.3 times the cost large batches supersede frames before the engine's largest rate is reached."""
    answer = estimate(replace(LINE, model_cost=2.3))

    assert answer.first_limit == SUPERSEDED
    assert answer.planned_cameras <= answer.most_cameras < answer.resources[1].most_cameras


def test_a_latency_that_cannot_be_had_is_the_first_limit() -> None:
    """Results within 4 ms allow fewer cameras than the decoder does; within 1 ms none."""
    answer = estimate(replace(LINE, latency_s=0.004))

    assert 16 <= answer.most_cameras < 29
    assert answer.first_limit == "mean latency of 4 ms"
    assert estimate(replace(LINE, latency_s=0.001)).gpus_needed is None


def test_overloaded_decoders_have_no_latency() -> None:
    """Nothing drops packets before the decoder, so that it would grow for ever."""
    answer = estimate(replace(LINE, cameras=30))

    assert answer.means is None
    assert not answer.fits
    assert answer.gpus_needed == 2


@pytest.mark.parametrize(
    "more", [{"cameras": 20}, {"fps": 30.0}, {"size_wh": (2560, 1440)}, {"model_cost": 1.5}, {"models": 2}], ids=str
)
def test_more_of_anything_uses_no_less_of_anything(more: dict[str, object]) -> None:
    """Every demand grows with cameras, rate, size and cost, or stays."""
    less = estimated(LINE).resources
    greater = estimate(replace(LINE, **more)).resources  # type: ignore[arg-type]

    assert all(a.used <= b.used * (1 + 1e-9) for a, b in zip(less, greater, strict=True))
    assert any(a.used < b.used for a, b in zip(less, greater, strict=True))


def test_inspecting_fewer_frames_spares_the_engine_and_not_the_decoder() -> None:
    """Each frame is decoded, for the next one needs it."""
    every, fifth = estimated(LINE).resources, estimate(replace(LINE, inspect_fps=5.0)).resources

    assert fifth[0].used == every[0].used
    assert fifth[1].used == pytest.approx(every[1].used / 5)


def test_the_document_has_every_constant_and_gpu() -> None:
    """Values and sources in docs/capacity.md are the code's."""
    for name, constant in all_constants().items():
        row = f"| `{name}` | {constant.value:g} {constant.unit} | {constant.basis} | {constant.source} |"
        assert row in DOCUMENT, row
    for generation, rates in NVDEC_FPS.items():
        for codec, constant in rates.items():
            assert f"| {generation} | {codec} | {constant.value:g} | {constant.basis} | {constant.source} |" in DOCUMENT
    for gpu in GPUS.values():
        assert f"| {gpu.name} | {gpu.generation} | {gpu.decoders} ({gpu.decoders_basis}) |" in DOCUMENT, gpu.name
