# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the stages, each in a process of its own with a limit, and writes what they found into one file.

    python -m tools.gpu_check [--out FOLDER] [--budget SECONDS] [--only NAME ...] [--fakes]

The first stages ask whether all is right, and run side by side; the others measure, and run alone. What is over when
the budget is used up stays: each stage has a file of its own until the end. docs/gpu-check.md says what each decides.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools.gpu_check.findings import FAKES, OUT, STANDIN

ROOT = Path(__file__).parents[2]
STANDIN_FOLDER = Path(__file__).parent / "standin"
REPORT = "gpu-check.json"
_LEAST_S = 15.0  # a stage is not begun with less
#: A rehearsal measures nothing, and CPUs are slow at it: its limits, and its budget, only end what hangs.
_REHEARSAL_ROOM = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: the module that runs it, its time limit, what it is told. `alone`: nothing may run beside it."""

    name: str
    module: str
    limit_s: float
    alone: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    under: tuple[str, ...] = ()  # the program that it is run by


_EXACT, _FAST = {"VL_STANDIN": "exact"}, {"VL_STANDIN": "fast"}

#: By what they are worth.
STAGES = (
    Stage("facts", "facts", 60),
    Stage("kernel", "kernel", 90),
    Stage("parity", "parity", 120),
    Stage("capture", "capture", 60),
    Stage("contract", "contract", 150, environment=_EXACT),
    Stage("memory", "memory_check", 90, under=("compute-sanitizer", "--tool", "memcheck", "--print-limit", "5")),
    Stage("selftest", "selftest", 170, environment=_EXACT | {"GPU_CHECK_SELFTEST": "--quick"}),
    Stage("latency", "latency", 60, alone=True),
    Stage("cameras", "cameras", 75, alone=True, environment=_FAST),
    Stage("rates", "rates", 75, alone=True),
    Stage("slots", "slots", 90, alone=True, environment=_FAST),
    Stage("cameras_8_queues", "cameras", 75, alone=True, environment=_FAST | {"CUDA_DEVICE_MAX_CONNECTIONS": "8"}),
    Stage("peers", "peers", 150, alone=True, environment=_FAST),
    Stage("selftest_fast", "selftest", 200, alone=True, environment=_FAST | {"GPU_CHECK_SELFTEST": "--seconds 6"}),
)


def main() -> int:
    """Run what there is time for."""
    wanted = _arguments()
    out: Path = wanted.out
    out.mkdir(parents=True, exist_ok=True)
    deadline_s = time.monotonic() + wanted.budget * (_REHEARSAL_ROOM if wanted.fakes else 1.0)
    chosen = [stage for stage in STAGES if not wanted.only or stage.name in wanted.only]
    environment = _environment(out, fakes=wanted.fakes)
    together = [stage for stage in chosen if not stage.alone]
    with ThreadPoolExecutor(max(len(together), 1)) as pool:
        list(pool.map(lambda stage: run(stage, out, environment, deadline_s), together))
    for stage in chosen:
        if stage.alone:
            run(stage, out, environment, deadline_s)
    return gather(out, [stage.name for stage in chosen])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder of what is found; gpu-check")
    parser.add_argument(
        "--budget", type=float, default=1200.0, help="seconds for all stages; 1200. With --fakes ten times as much"
    )
    parser.add_argument("--only", nargs="+", default=(), choices=[stage.name for stage in STAGES], help="these alone")
    parser.add_argument("--fakes", action="store_true", help="rehearse on the tests' fakes, where there is no GPU")
    return parser.parse_args()


def _environment(out: Path, *, fakes: bool) -> dict[str, str]:
    """Return the stages' environment; where there is no TensorRT, the stand-in is found in its place."""
    paths = [str(ROOT), str(ROOT / "app"), *filter(None, [os.environ.get("PYTHONPATH")])]
    stands_in = not fakes and importlib.util.find_spec("tensorrt") is None
    if stands_in:
        paths.append(str(STANDIN_FOLDER))
    ours = {"PYTHONPATH": os.pathsep.join(paths), OUT: str(out), "PYTHONUNBUFFERED": "1"}
    return os.environ | ours | {FAKES: str(int(fakes)), STANDIN: str(int(stands_in))}


def run(stage: Stage, out: Path, environment: Mapping[str, str], deadline_s: float) -> None:
    """Run a stage within its limit; what it prints goes to a file beside its own."""
    left_s = deadline_s - time.monotonic()
    if left_s < _LEAST_S:
        print(f"{stage.name}: no time left", flush=True)
        return
    if stage.under and shutil.which(stage.under[0]) is None:
        print(f"{stage.name}: there is no {stage.under[0]}", flush=True)
        return
    limit_s = min(stage.limit_s * (_REHEARSAL_ROOM if environment.get(FAKES) == "1" else 1.0), left_s)
    command = [*stage.under, sys.executable, "-m", "tools.gpu_check.stage", stage.module, stage.name]
    cache = out.absolute() / "cache" / stage.name  # stages beside each other build engines of their own
    given = {**environment, **stage.environment, "XDG_CACHE_HOME": str(cache)}
    log, began_s = out / f"{stage.name}.log", time.monotonic()
    with log.open("wb") as said:
        try:
            code = subprocess.run(
                command, env=given, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, timeout=limit_s, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    what = f"stopped after {limit_s:.0f} s" if code is None else f"exit code {code}"
    print(f"== {stage.name}: {what}, {time.monotonic() - began_s:.0f} s", flush=True)
    print(log.read_text(encoding="utf-8", errors="replace")[-1500:], flush=True)


def gather(out: Path, names: Sequence[str]) -> int:
    """Write the report of all stages and return the exit code: 0 when all passed."""
    found: dict[str, object] = {}
    passed = True
    for name in names:
        path, log = out / f"{name}.json", out / f"{name}.log"
        if path.exists():
            found[name] = one = json.loads(path.read_text(encoding="utf-8"))
            passed &= bool(one["passed"])
        else:
            said = log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else "not begun"
            found[name] = {"stage": name, "passed": False, "faults": ["it left no file"], "said": said}
            passed = False
    (out / REPORT).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
