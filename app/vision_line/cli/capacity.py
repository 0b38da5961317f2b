# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line capacity`: the model's answer as a table or as JSON, clearly called a model."""

from __future__ import annotations

import json
import re

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from vision_line.capacity.constants import PLANNED_SHARE, Basis, Codec, Constant, all_constants
from vision_line.capacity.estimate import Estimate, Scenario, estimate
from vision_line.capacity.gpus import GpuModel
from vision_line.capacity.serving import Means
from vision_line.errors import ConfigError

NOTE = "A model calculated from published and estimated constants (docs/capacity.md), not a measurement."
_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
_PARTS = (
    ("wait for the decoder", "decoder_wait_s"),
    ("decoding", "decode_s"),
    ("wait for a slot", "mailbox_s"),
    ("wait behind the running batch", "slot_s"),
    ("conversion and engine", "engine_s"),
    ("handing on", "host_s"),
)


def show_estimate(asked: Scenario, *, as_json: bool) -> None:
    """Print what the model says.

    Raises:
        ConfigError: the GPU has no known rate for the codec.
    """
    answer = estimate(asked)
    if as_json:
        typer.echo(json.dumps(estimate_json(answer), indent=2))
    else:
        Console().print(estimate_table(answer))


def parse_size(text: str) -> tuple[int, int]:
    """Return the width and height in `--size`.

    Raises:
        ConfigError: it is not one.
    """
    size = _SIZE.fullmatch(text)
    if size is None:
        raise ConfigError(f"--size: expected WIDTHxHEIGHT such as 1920x1080, found {text!r}")
    return int(size[1]), int(size[2])


def estimate_json(answer: Estimate) -> dict[str, object]:
    """Return the answer as one JSON object."""
    asked = answer.scenario
    return {
        "kind": "model",
        "note": NOTE,
        "gpu": asked.gpu.name,
        "engine_times": {"basis": asked.gpu.engine.basis, "source": asked.gpu.engine.source},
        "decoder_rate": _constant_json(asked.gpu.decode_fps(asked.codec)),
        "constants": {name: _constant_json(constant) for name, constant in all_constants().items()},
        "cameras": asked.cameras,
        "codec": asked.codec,
        "size_wh": list(asked.size_wh),
        "fps": asked.fps,
        "inspect_fps": asked.wanted_fps,
        "model_cost": asked.model_cost,
        "models": asked.models,
        "latency_limit_ms": asked.latency_s * 1000,
        "resources": [
            {
                "name": resource.name,
                "used": round(resource.used, 6),
                "available": resource.available,
                "unit": resource.unit,
                "utilisation": round(resource.utilisation, 4),
                "most_cameras": resource.most_cameras,
            }
            for resource in answer.resources
        ],
        "latency_ms": None if answer.means is None else _latency_json(answer.means),
        "fits": answer.fits,
        "first_limit": answer.first_limit,
        "most_cameras": answer.most_cameras,
        "planned_cameras": answer.planned_cameras,
        "gpus_needed": answer.gpus_needed,
        "gpus_planned": answer.gpus_planned,
        "host_cores": asked.host_cores,
        "host_cores_needed": round(answer.host_cores_needed, 3),
    }


def _constant_json(constant: Constant) -> dict[str, object]:
    return {
        "value": constant.value,
        "unit": constant.unit,
        "basis": constant.basis,
        "source": constant.source,
    }


def basis_line(gpu: GpuModel, codec: Codec) -> str:
    """Return in a sentence which numbers were measured, and that no GPU was."""
    measured = [name for name, constant in all_constants().items() if constant.basis is Basis.MEASURED]
    return (
        f"Decoder rate: {gpu.decode_fps(codec).basis}; engine times: {gpu.engine.basis}; measured, on a machine "
        f"without a GPU: {', '.join(measured)}; the rest is estimated."
    )


def estimate_table(answer: Estimate) -> Group:
    """Return the answer for a terminal."""
    return Group(_headline(answer), _resources(answer), Text(), _latency(answer), Text(), _conclusion(answer))


def _latency_json(means: Means) -> dict[str, float]:
    parts = {field.removesuffix("_s"): round(getattr(means, field) * 1000, 3) for _, field in _PARTS}
    return {
        "mean": round(means.latency_s * 1000, 3),
        **parts,
        "frames_per_batch": round(means.batch, 3),
        "engine_busy": round(means.busy, 4),
        "frames_lost": round(means.lost, 4),
    }


def _headline(answer: Estimate) -> Text:
    asked = answer.scenario
    width, height = asked.size_wh
    cameras = f"{asked.cameras} x {width}x{height} {asked.codec} at {asked.fps:g} fps"
    cost = f"model cost {asked.model_cost:g}"
    cost += f", the slowest of {asked.models} models" if asked.models > 1 else ""
    inspected = f"inspected at {asked.wanted_fps:g} fps, {cost}"
    text = Text(f"Model, not a measurement: {cameras} on {asked.gpu.name}, {inspected}\n", style="bold")
    if asked.gpu.engine.basis is Basis.ESTIMATED:
        text.append(f"Engine times are estimated ({asked.gpu.engine.source}).\n", style="yellow")
    return text


def _resources(answer: Estimate) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("resource")
    for name in ("used", "available", "share", "cameras at most"):
        table.add_column(name, justify="right")
    for resource in answer.resources:
        share = f"{resource.utilisation:.1%}"
        available = f"{resource.available:g} {resource.unit}"
        style = "red" if resource.utilisation >= 1 else "yellow" if resource.utilisation > PLANNED_SHARE.value else None
        table.add_row(resource.name, f"{resource.used:.3g}", available, share, str(resource.most_cameras), style=style)
    return table


def _latency(answer: Estimate) -> Table | Text:
    means = answer.means
    if means is None:
        return Text("Latency: the decoders cannot keep up, it grows without end.", style="red")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("latency, last packet to result")
    table.add_column("mean, ms", justify="right")
    for label, field in _PARTS:
        table.add_row(label, f"{getattr(means, field) * 1000:.2f}")
    table.add_row("in all", f"{means.latency_s * 1000:.2f}", style="bold")
    table.add_row("", "")
    table.add_row("frames of a batch", f"{means.batch:.2f}")
    table.add_row("engine works, share of the time", f"{means.busy:.1%}")
    table.add_row("frames lost for want of capacity", f"{means.lost:.1%}", style="red" if means.lost > 0 else None)
    return table


def _conclusion(answer: Estimate) -> Text:
    asked = answer.scenario
    if answer.most_cameras == 0:
        return Text(f"Not even one such camera fits. First limit: {answer.first_limit}.", style="bold red")
    text = Text(f"At most {answer.most_cameras} such cameras, first limit: {answer.first_limit}. ", style="bold")
    text.append(f"With {PLANNED_SHARE.value:.0%} of every resource: {answer.planned_cameras}.", style="bold")
    if not answer.fits:
        gpus = "1 such GPU" if answer.gpus_needed == 1 else f"{answer.gpus_needed} such GPUs, a process each"
        cores = f"{answer.host_cores_needed:.1f} of {asked.host_cores} cores of the host"
        needed = f"{gpus}; {answer.gpus_planned or 'more'} with that reserve; and {cores}"
        text.append(f"\n{asked.cameras} cameras need {needed}.", style="bold red")
    text.append(f"\n{NOTE}\n{basis_line(asked.gpu, asked.codec)}", style="dim")
    return text
