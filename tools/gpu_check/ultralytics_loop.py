# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics' own loop on RTSP cameras: `python -m tools.gpu_check.ultralytics_loop CHECKPOINT URLS SECONDS`.

URLS is a file with one address in each line. Prints what it achieved, as JSON; the first third of the time is left out.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    """Inspect."""
    from ultralytics.models import YOLO

    checkpoint, urls, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    results: Any = YOLO(checkpoint).predict(urls, stream=True, device=0, half=True, verbose=False)
    began_s: float | None = None
    count, cpu_s = 0, 0.0
    first_s = time.monotonic()
    for _ in results:
        now_s = time.monotonic()
        if now_s - first_s < seconds / 3:
            continue
        if began_s is None:
            began_s, cpu_s = now_s, time.process_time()
        count += 1
        if now_s - first_s > seconds:
            break
    taken_s = time.monotonic() - (began_s or first_s)
    found = {"inspected_fps": round(count / taken_s, 1), "cores": round((time.process_time() - cpu_s) / taken_s, 2)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
