# SPDX-License-Identifier: AGPL-3.0-or-later
"""vision-line beside its peers, at three loads and with two models; frames older than 500 ms do not count for anybody.

Contenders: vision-line, Ultralytics' stream loader, a plain loop of OpenCV and OpenVINO, and GStreamer pipelines with
OpenVINO; each in its own process, in turns, with the same weights. A contender that finds other boxes than the
reference is shown and not ranked. The limit is what the bare engine does on the cores that decoding and the cameras'
server leave: engine rate x (cores - decode - server) / cores, at most what arrives.

    python -m benchmarks.multi_camera [PAIRS] [SECONDS] [--load NAME ...] [--model shipped|stock|BUNDLE ...]

Results lie in benchmarks/results/multi_camera, a folder for each kind of processor. The stock model is made once, by
`python -m benchmarks.stock_model`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.peers.box_agreement import Agreement, compare_boxes
from benchmarks.peers.contenders import CONTENDERS, VISION_LINE, Contender, ContenderError
from benchmarks.peers.contest import Contest, Run, open_contest
from benchmarks.peers.loads import LOADS, Load
from benchmarks.rounds import Report, Rounds, interleave, machine_folder
from benchmarks.stock_model import stock_folder
from vision_line.devices.model.bundle import BUNDLE_FILE
from vision_line.devices.model.model import Model, open_model

LIMIT = "limit"
#: A run must end within the cameras' video, also on a machine that starts programs slowly.
MOST_SECONDS = 40.0
_NO_STOCK = (
    "NOT MEASURED: the stock model. Make it once, of a YOLOv8n checkpoint trained on COCO:\n"
    "  python -m benchmarks.stock_model yolov8n.pt"
)
_console = Console(stderr=True)


def main() -> None:
    """Measure and publish, a report for each model and load."""
    wanted = _arguments()
    for model in _models(wanted.model):
        for load in LOADS:
            if not wanted.load or load.name in wanted.load:
                measure(load, model, wanted.pairs, wanted.seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multi_camera")
    parser.add_argument("pairs", nargs="?", type=int, default=5, help="rounds; 5")
    parser.add_argument("seconds", nargs="?", type=float, default=15.0, help=f"of a run, at most {MOST_SECONDS:g}; 15")
    parser.add_argument("--load", action="append", choices=[load.name for load in LOADS], help="only this; repeatable")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="shipped, stock or a bundle's folder; repeatable"
    )
    wanted = parser.parse_args()
    if wanted.pairs < 1 or not 0 < wanted.seconds <= MOST_SECONDS:
        parser.error(f"expected at least 1 pair, and more than 0 and at most {MOST_SECONDS:g} seconds")
    return wanted


def _models(names: list[str] | None) -> list[Model]:
    """Open the wanted models; without a wish both, and a stock model that is not there is said."""
    has_stock = (stock_folder() / BUNDLE_FILE).exists()
    if not has_stock and "stock" in (names or ()):
        sys.exit(_NO_STOCK)
    if not has_stock and names is None:
        _console.print(_NO_STOCK, style="bold", highlight=False)
    folders = {"shipped": None, "stock": stock_folder()}
    return [
        open_model(folders.get(name, Path(name)))
        for name in names or ["shipped", "stock"]
        if has_stock or name != "stock"
    ]


def measure(load: Load, model: Model, pairs: int, seconds: float) -> None:
    """Run all contenders in turns on one load with one model, and publish."""
    missing = {contender.name: contender.missing() for contender in CONTENDERS}
    runs: dict[str, list[Run]] = {name: [] for name, reason in missing.items() if not reason}
    failures = {name: reason for name, reason in missing.items() if reason}
    with tempfile.TemporaryDirectory(prefix="multi-camera-") as folder:
        contest = open_contest(load, model, seconds, Path(folder))

        def contend(contender: Contender) -> float:
            try:
                run = contest.run(contender)
            except ContenderError as exc:
                failures[contender.name] = str(exc)
                return 0.0
            runs[contender.name].append(run)
            return run.fresh_fps

        def limit() -> float:
            server = [run.observed.server_cores for several in runs.values() for run in several]
            return contest.measure_limit(statistics.median(server) if server else 0.0)

        turns: dict[str, Callable[[], float]] = {
            contender.name: partial(contend, contender) for contender in CONTENDERS if contender.name in runs
        }
        rounds = interleave({**turns, LIMIT: limit}, pairs, "frames/s")
        gil = {contender.name: _gil_held(contest, contender) for contender in CONTENDERS if contender.name in runs}
    publish(contest, rounds, runs, failures, gil)


def _gil_held(contest: Contest, contender: Contender) -> float | str:
    """Return the share of time in which the GIL is held, from a run of its own; or why it is not known."""
    try:
        return contest.run(contender, samples_gil=True).observed.gil_held or 0.0
    except ContenderError as exc:
        return str(exc)


def publish(
    contest: Contest,
    rounds: Rounds,
    runs: Mapping[str, list[Run]],
    failures: Mapping[str, str],
    gil: Mapping[str, float | str],
) -> None:
    """Write and show what was measured."""
    agreements = {name: _agreement(several, contest.job.score) for name, several in runs.items()}
    right = {name for name, agreement in agreements.items() if agreement.right and name not in failures}
    peers = sorted(right - {VISION_LINE.name}, key=rounds.median)
    best = peers[-1] if peers else None
    report = Report(f"multi_camera/{machine_folder()}/{contest.load.name}-{contest.model.name}")
    for name, several in runs.items():
        verdict = "FAILED" if name in failures else str(agreements[name])
        report.add(**_row(name, several, rounds, best if name in right else None, verdict))
    for name in sorted(failures.keys() - runs.keys()):
        report.add(**_row(name, [], rounds, None, "not measured"))
    ranked = best is not None and VISION_LINE.name in right
    report.facts |= _facts(contest, runs) | {
        **({"not measured, or failed": dict(failures)} if failures else {}),
        "rounds": {name: [round(value, 3) for value in values] for name, values in rounds.values.items()},
        "share of time in which the GIL is held, in an untimed run": dict(gil),
        "limit, frames/s": rounds.median(LIMIT),
        "best peer": best or "none whose results are right",
        "vision-line / best peer": rounds.ratio(VISION_LINE.name, best) if ranked and best else None,
        "vision-line / limit": rounds.ratio(VISION_LINE.name, LIMIT) if VISION_LINE.name in right else None,
    }
    report.publish()


def _agreement(several: list[Run], threshold: float) -> Agreement:
    return compare_boxes((pair for run in several for pair in run.pairs), threshold)


def _row(name: str, several: list[Run], rounds: Rounds, best: str | None, verdict: str) -> dict[str, object]:
    """Return a contender's row; without `best` it has no rank."""
    if not several:
        return {**dict.fromkeys(_COLUMNS, "-"), "contender": name, "results": verdict}
    inspected = [run.inspected for run in several]
    values = (
        name,
        f"{rounds.median(name):.1f}",
        "-" if best is None else "{1:.2f} ({0:.2f} - {2:.2f})".format(*rounds.ratio(name, best)),
        "-" if best is None else f"{rounds.ratio(name, LIMIT)[1]:.2f}",
        f"{100 * sum(counted.late for counted in inspected) / sum(counted.results for counted in inspected):.1f} %",
        f"{statistics.median(counted.p50_ms for counted in inspected):.0f} / "
        f"{statistics.median(counted.p99_ms for counted in inspected):.0f}",
        min(counted.cameras for counted in inspected),
        f"{statistics.median(sum(run.observed.cores.values()) for run in several):.2f}",
        f"{max(run.observed.peak_mib for run in several):.0f}",
        verdict,
    )
    return dict(zip(_COLUMNS, values, strict=True))


_COLUMNS = (
    "contender",
    "frames/s in time",
    "to the best peer",
    "of the limit",
    "late",
    "age p50 / p99 ms",
    "cameras",
    "cores",
    "peak MiB",
    "results",
)


def _facts(contest: Contest, runs: Mapping[str, list[Run]]) -> dict[str, object]:
    every = [run for several in runs.values() for run in several]
    height, width = contest.job.shape_hw
    return {
        "load": str(contest.load),
        "model": f"{contest.model.name} at {width}x{height}, {Path(contest.job.model).name}",
        "window, s": contest.job.seconds,
        "bare engine, images/s": statistics.median(contest.limit.engine_fps),
        "bare decode, cores": statistics.median(contest.limit.decode_cores),
        "server, cores": statistics.median(run.observed.server_cores for run in every) if every else None,
        "cores by kind of thread": {name: _kinds(several) for name, several in runs.items()},
        "latency that vision-line states of whole runs, ms": [run.said_ms for run in runs.get(VISION_LINE.name, ())],
        "share of the cores that other programs used, most": max((run.foreign_share for run in every), default=None),
    }


def _kinds(several: list[Run]) -> dict[str, float]:
    """Return the median cores of each kind of thread, the largest first, without the smallest."""
    kinds = {kind for run in several for kind in run.observed.cores}
    medians = {kind: statistics.median(run.observed.cores.get(kind, 0.0) for run in several) for kind in kinds}
    return {kind: round(used, 3) for kind, used in sorted(medians.items(), key=lambda item: -item[1]) if used >= 0.005}


if __name__ == "__main__":
    main()
