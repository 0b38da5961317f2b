# SPDX-License-Identifier: AGPL-3.0-or-later
"""The end of a run: the summary, a public JSON object that `--summary FILE.json` writes, and the closing message.

Stable: within one `summary_version` fields are only added. A field that has no value (no frame was inspected) is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vision_line.documented import Documented
from vision_line.frames import CameraState, DropCause
from vision_line.inspection.coverage.causes import CAPACITY, DECODING, NOT_READY, STOPPED
from vision_line.output_files import write_output
from vision_line.telemetry.camera_metrics import CameraTotals
from vision_line.telemetry.covered import Covered, together
from vision_line.telemetry.latency_histogram import Quantiles, quantiles_of
from vision_line.telemetry.metrics import RunTotals
from vision_line.telemetry.shortfall import Rates, shortfall

#: Shorter times are not reported; the ledger has them.
LEAST_SHOWN_S = 0.5
LEAST_SHOWN_PERCENT = 0.1
#: Causes that occur at the start and end of every run.
_USUAL = frozenset({*NOT_READY, STOPPED})


#: Numbers as the file shows them.
Tenths = Annotated[float, AfterValidator(partial(round, ndigits=1))]
Hundredths = Annotated[float, AfterValidator(partial(round, ndigits=2))]


class _Public(Documented, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class LatencySummary(_Public):
    """Latency from the camera's sending a frame to its result in the outputs and the log, over the whole run.

    It includes the time in queues on the way, as estimated from the camera's clock.
    """

    p50: Hundredths
    """Milliseconds; half of the frames were faster. Within 2.5 %."""
    p95: Hundredths
    """Milliseconds."""
    p99: Hundredths
    """Milliseconds."""


class ModelSummary(_Public):
    """The model of the run."""

    name: str
    """The bundle's or ONNX file's name."""
    sha256: str
    """Of the ONNX file."""
    precision: str
    """As the engine ran it: int8, fp32, ..."""
    form: str = ""
    """The variant of the model that ran, in words; "" before the device was open."""
    form_reason: str = ""
    """Why this variant was chosen, and what proved that it computes correctly."""
    input: list[tuple[int, int]]
    """The input shapes that were used, each [height, width] in pixels."""


class FrameCountsSummary(_Public):
    """Counters; in `totals` the sums over all cameras."""

    frames_arrived: int
    """Frames whose last packet was read."""
    frames_decoded: int
    """Frames that were decoded."""
    frames_inspected: int
    """Frames whose result was handed to the outputs and the records."""
    frames_dropped: dict[DropCause, int]
    """Frames that arrived and were not inspected, by cause. Causes that did not occur are left out."""
    detections: int
    """Detections that passed the filter (threshold, region of interest)."""
    events: int
    """Defect events, whatever their verdict."""
    reconnects: int
    """Times the camera sent frames again after its connection had been lost."""
    connections_abandoned: int
    """Connections that hung, could not be interrupted and were abandoned; three that hang stop the retries."""
    latency_ms: LatencySummary | None
    """From the moment at which the camera sent a frame; null when nothing was inspected."""
    behind_ms: LatencySummary | None
    """The part of it that inspected frames waited in queues before they were read."""
    inspection_due_s: float
    """Seconds in which inspection was due: from adding the camera to its end, whatever its state."""
    not_inspected_s: dict[str, float]
    """Seconds of these in which the camera was not inspected, by cause. Causes that did not occur are left out."""
    covered: float | None
    """0..1: the share of `inspection_due_s` in which every part got its inspections, rounded down; null: none due."""


class CameraSummary(FrameCountsSummary):
    """One camera over the whole run, including cameras that were removed."""

    name: str
    """As in the configuration."""
    state: CameraState
    """At the end of the run."""
    code: str | None
    """The error code, if an error caused the state."""
    most_behind_ms: float
    """Largest delay of any frame, inspected or not, milliseconds."""
    needed_fps: float | None
    """Inspections per second that every part needs; null for a file that is not played in real time."""


class TotalsSummary(FrameCountsSummary):
    """All cameras together, and the process."""

    inspected_fps: float
    """Inspected frames a second, counted from the first result."""
    batch_occupancy: float | None
    """0..1: the filled share of the submitted batches."""
    durable_ms: float | None
    """Result -> committed to disk, milliseconds: 99th percentile of all commits, each by its oldest result."""
    overlay_written: int | None
    """Inspected frames that are in a video of `--overlay`; null without it."""
    overlay_dropped: int | None
    """Inspected frames missing from the videos because the encoder was behind or a file failed; null without it."""
    cpu_seconds: float
    """User and system time of all threads of the process."""
    max_rss_mb: float
    """Peak resident memory of the process, MiB."""


class FigureSummary(_Public):
    """One figure of a GPU, over the samples that have it."""

    mean: Hundredths
    """Mean of the samples."""
    max: Hundredths
    """The largest sample."""


class DeviceLoadSummary(_Public):
    """Load of a GPU while the device was open, sampled once a second. It includes all processes."""

    name: str
    """cuda:0, ..."""
    samples: int
    """Number of samples."""
    memory_total_mb: int
    """The GPU's memory, MiB."""
    memory_used_mb: FigureSummary | None
    """MiB in use. Figures are null where the GPU or its driver does not report them."""
    sm_percent: FigureSummary | None
    """Share of the time in which a kernel ran."""
    decoder_percent: FigureSummary | None
    """Share of the time in which NVDEC decoded."""
    power_w: FigureSummary | None
    """Watts."""
    temperature_c: FigureSummary | None
    """Degrees Celsius."""
    energy_j: Tenths | None
    """Joules between the first and the last sample, from the GPU's energy counter."""


class Summary(_Public):
    """One run."""

    summary_version: Literal[1] = 1
    """Rises when a field changes its meaning or goes."""
    duration_s: float = Field(ge=0)
    """From start to end of the run, seconds, including the start and the drain."""
    device: str
    """The device that inspected: cpu, cuda:0, cuda:0+1, ..."""
    device_instruction_set: str = ""
    """The processor's strongest for INT8, such as "AVX2"; "" where a GPU inspected, or nothing."""
    model: ModelSummary
    """The run's own model and its input shapes."""
    recipe_models: list[ModelSummary] = Field(default_factory=list)
    """Those that recipes name, which were open beside it."""
    cameras: list[CameraSummary]
    """In the order of the configuration."""
    totals: TotalsSummary
    """All cameras together."""
    device_loads: list[DeviceLoadSummary] = Field(default_factory=list)
    """Load of each GPU; empty on the CPU, and where NVML reports none."""
    error: str | None
    """Why the run failed (exit code 4); null if it did not."""


def build_summary(totals: RunTotals, error: str | None = None) -> Summary:
    """Return the public summary of a run; `error`: why it failed. Pure."""
    model, device = totals.facts.model, totals.facts.device
    return Summary(
        duration_s=round(totals.duration_s, 3),
        device=device.name,
        device_instruction_set=device.instruction_set,
        model=ModelSummary(
            name=model.name,
            sha256=model.sha256,
            precision=device.precision,
            form=device.variant,
            form_reason=device.variant_reason,
            input=list(model.input_shapes_hw),
        ),
        recipe_models=[
            ModelSummary(
                name=one.name,
                sha256=one.sha256,
                precision=one.precision,
                form=one.form,
                form_reason=one.form_reason,
                input=list(one.input_shapes_hw),
            )
            for one in totals.facts.recipe_models
        ],
        cameras=[_camera(camera) for camera in totals.cameras],
        totals=_totals(totals),
        device_loads=[DeviceLoadSummary.model_validate(load) for load in totals.loads],
        error=error,
    )


def write_summary(path: Path, summary: Summary) -> None:
    """Write `summary` to the output `path`: readers of a file see the old one or the whole new one.

    Raises:
        RunError: it cannot be written.
        BrokenPipeError: it is the standard output, and its reader went away.
    """
    write_output(path, summary.model_dump_json(indent=2) + "\n", "--summary")


def _camera(camera: CameraTotals) -> CameraSummary:
    return CameraSummary(
        name=camera.name,
        state=camera.state,
        code=camera.code,
        frames_arrived=camera.arrived,
        frames_decoded=camera.decoded,
        frames_inspected=camera.inspected,
        frames_dropped=_dropped([camera.dropped]),
        detections=camera.detections,
        events=camera.events,
        reconnects=camera.reconnects,
        connections_abandoned=camera.abandoned,
        latency_ms=_latency(camera.latency_ms),
        behind_ms=_latency(camera.behind_ms),
        most_behind_ms=round(camera.most_behind_ms, 1),
        needed_fps=round(camera.needed_fps, 4) or None,
        **_covered(camera.covered),
    )


def _totals(totals: RunTotals) -> TotalsSummary:
    cameras, overlay, commit_latency = totals.cameras, totals.overlay, quantiles_of(totals.commit_latency)
    return TotalsSummary(
        frames_arrived=sum(camera.arrived for camera in cameras),
        frames_decoded=sum(camera.decoded for camera in cameras),
        frames_inspected=sum(camera.inspected for camera in cameras),
        frames_dropped=_dropped(camera.dropped for camera in cameras),
        detections=sum(camera.detections for camera in cameras),
        events=sum(camera.events for camera in cameras),
        reconnects=sum(camera.reconnects for camera in cameras),
        connections_abandoned=sum(camera.abandoned for camera in cameras),
        latency_ms=_latency(totals.latency_ms),
        behind_ms=_latency(quantiles_of(totals.behind)),
        **_covered(together(camera.covered for camera in cameras)),
        inspected_fps=round(totals.inspected_fps, 3),
        batch_occupancy=None if totals.batch_occupancy is None else round(totals.batch_occupancy, 4),
        durable_ms=None if commit_latency is None else round(commit_latency.p99, 2),
        overlay_written=None if overlay is None else overlay.written,
        overlay_dropped=None if overlay is None else overlay.dropped,
        cpu_seconds=round(totals.usage.cpu_seconds, 3),
        max_rss_mb=round(totals.usage.max_rss_mb, 1),
    )


def _covered(covered: Covered) -> dict[str, object]:
    return {
        "inspection_due_s": round(covered.due_s, 3),
        "not_inspected_s": {cause: round(seconds, 3) for cause, seconds in sorted(covered.not_inspected_s.items())},
        "covered": covered.rounded_share,
    }


def _dropped(parts: Iterable[Mapping[DropCause, int]]) -> dict[DropCause, int]:
    total: Counter[DropCause] = Counter()
    for part in parts:
        total.update(part)
    return {cause: total[cause] for cause in DropCause if total[cause]}


def _latency(quantiles: Quantiles | None) -> LatencySummary | None:
    return None if quantiles is None else LatencySummary.model_validate(quantiles)


def parting_words(totals: RunTotals) -> str:
    """Return one or two sentences, "" where only the start and the end were not inspected. Pure."""
    covered = together(camera.covered for camera in totals.cameras)
    missing_s = {
        cause: seconds
        for cause, seconds in covered.not_inspected_s.items()
        if cause not in _USUAL and seconds >= LEAST_SHOWN_S
    }
    if sum(missing_s.values()) < 1.0:
        return ""
    usual_s = sum(covered.not_inspected_s.get(cause, 0.0) for cause in _USUAL)
    share = 100 * sum(missing_s.values()) / max(1.0, covered.due_s - usual_s)
    worst = sorted(missing_s.items(), key=lambda item: -item[1])
    causes = ", ".join(f"{cause} {seconds:.0f} s" for cause, seconds in worst)
    percent = f"{share:.1f} %" if share >= LEAST_SHOWN_PERCENT else f"less than {LEAST_SHOWN_PERCENT:g} %"
    words = f"not inspected for {percent} of the cameras' time, beside start and end: {causes}"
    lacking = _lacking(totals) if {CAPACITY, DECODING} & missing_s.keys() else ""
    return f"{words}; {lacking}" if lacking else words


def _lacking(totals: RunTotals) -> str:
    measured = [camera for camera in totals.cameras if camera.needed_fps and camera.inspected]
    return shortfall(
        [Rates(camera.inspected / _inspecting_s(camera.covered), camera.needed_fps) for camera in measured]
    )


def _inspecting_s(covered: Covered) -> float:
    """Return the seconds without start and end."""
    return max(1.0, covered.due_s - sum(covered.not_inspected_s.get(cause, 0.0) for cause in _USUAL))
