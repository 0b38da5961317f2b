# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outputs as Prometheus metrics and as notices: what their process noted of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vision_line.telemetry.output_status import KnownOutput
from vision_line.telemetry.outputs_watch import WatchedOutput
from vision_line.telemetry.series_text import Labels, SeriesText
from vision_line.telemetry.shipping_status import CENTRAL, CLOCK_LIMIT_S

_OUTPUT = ("output",)
#: An output that has waited for less is only between two messages, in seconds.
_BEHIND_SHOWN_S = 10.0


def output_series(outputs: Sequence[WatchedOutput], series: SeriesText) -> Iterator[str]:
    """Yield what there is of each output that is configured."""
    yield series.gauge(
        "vision_line_output_up",
        "1: the output's process runs and the other side takes messages",
        _OUTPUT,
        {(output.name,): output.is_up for output in outputs},
    )
    yield series.gauge(
        "vision_line_output_behind_entries",
        "Entries of the journals that wait for the output",
        _OUTPUT,
        _of_known(outputs, lambda known: 0 if known.state is None else known.state.behind),
    )
    yield series.gauge(
        "vision_line_output_behind_seconds",
        "How long the oldest of them has waited, when the output's process said so last",
        _OUTPUT,
        _of_known(outputs, lambda known: 0.0 if known.state is None else known.state.behind_s),
    )
    yield series.counter(
        "vision_line_output_messages",
        "Messages that the other side acknowledged",
        _OUTPUT,
        _of_known(outputs, lambda known: known.sent),
    )
    yield series.counter(
        "vision_line_output_repeated",
        "Messages that were sent again, and may have come twice",
        _OUTPUT,
        _of_known(outputs, lambda known: known.repeated),
    )
    yield series.counter(
        "vision_line_output_lost",
        "Entries that were removed or given up before the output had them",
        _OUTPUT,
        _of_known(outputs, lambda known: known.lost),
    )

    yield series.gauge(
        "vision_line_output_clock_offset_seconds",
        "How far the clock of this machine is ahead of the other side's, where the output compares them",
        _OUTPUT,
        {
            (output.name,): output.known.clock_offset_s
            for output in outputs
            if output.is_running and output.known is not None and output.known.clock_offset_s is not None
        },
    )


def _of_known(outputs: Sequence[WatchedOutput], value: Callable[[KnownOutput], float]) -> dict[Labels, float]:
    return {(output.name,): 0 if output.known is None else value(output.known) for output in outputs}


def output_notices(outputs: Sequence[WatchedOutput]) -> list[str]:
    """Return a sentence for all outputs that nobody serves, and one for each that gets nothing or is far behind."""
    silent = [output.name for output in outputs if not output.is_running and not output.is_awaited]
    others = [name for name in silent if name != CENTRAL]
    notices = [f"vision-line outputs does not run: {', '.join(others)}"] if others else []
    notices += ["vision-line ship does not run: no records go to [central]"] if CENTRAL in silent else []
    notices += [_clock_notice(output.name, output.known) for output in outputs if _is_clock_off(output)]
    return notices + [_notice(output.name, output.known) for output in outputs if _is_troubled(output)]


def _is_troubled(output: WatchedOutput) -> bool:
    state = None if output.known is None else output.known.state
    if state is None or not output.is_running:
        return False
    return state.error is not None or state.behind_s > _BEHIND_SHOWN_S


def _is_clock_off(output: WatchedOutput) -> bool:
    offset_s = None if output.known is None else output.known.clock_offset_s
    return output.is_running and offset_s is not None and abs(offset_s) > CLOCK_LIMIT_S


def _clock_notice(name: str, known: KnownOutput | None) -> str:
    assert known is not None  # noqa: S101  its clock is off
    return f"output {name}: this machine's clock is {known.clock_offset_s:+.1f} s off that of the other side"


def _notice(name: str, known: KnownOutput | None) -> str:
    assert known is not None  # noqa: S101  it is troubled
    assert known.state is not None  # noqa: S101
    behind = f", {known.state.behind} entries ({known.state.behind_s:.0f} s) behind" if known.state.behind else ""
    error = f": {known.state.error}" if known.state.error else ""
    return f"output {name} {known.state.state}{behind}{error}"
