# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process that checks: `python -m vision_line.selftest.worker REQUEST DESCRIPTOR PARENT`.

A driver or a library may end or stop it: `supervisor` hears how far it came, and starts another one for what is left.
What it and its libraries print, and where each thread was when it was ended, goes to its standard error.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import sys
import threading
from typing import TextIO

from vision_line.devices.model.model import open_model
from vision_line.errors import VisionLineError
from vision_line.parents_death import end_with
from vision_line.selftest.device_under_test import device_under_test
from vision_line.selftest.news import CheckRequest, News, RaisedError, heading_of
from vision_line.selftest.selftest import CHECKS, run_checks


class _Speaker(logging.Handler):
    """Says news, from any thread; warnings of the program's own are news too."""

    def __init__(self, pipe: TextIO) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe
        self._saying = threading.Lock()

    def say(self, news: News) -> None:
        """Say it at once."""
        with self._saying:
            self._pipe.write(news.model_dump_json(exclude_defaults=True) + "\n")
            self._pipe.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Say a warning."""
        self.say(News(warning=record.getMessage()))


def announce(check: str) -> None:
    """Mark where in what is printed a check begins."""
    sys.stderr.write(heading_of(check))
    sys.stderr.flush()


def check(request: CheckRequest, speaker: _Speaker) -> None:
    """Check what was asked for; each check that takes longer than its limit ends the process."""
    checks = [one for one in CHECKS if one.name in request.checks]
    with device_under_test(request.device, open_model(request.model), request.settings) as dut:
        for news in run_checks(dut, checks, opens=request.opens):
            if news.begun is not None:
                announce(news.begun.check)
            speaker.say(news)
            if news.begun is not None:
                faulthandler.dump_traceback_later(news.begun.limit_s, exit=True)
            elif news.result is not None:
                faulthandler.cancel_dump_traceback_later()


def main() -> None:
    """Check, and say so."""
    end_with(int(sys.argv[3]))  # it has the GPU to itself, and nobody else would give it back
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump of a GPU's process has gigabytes
    faulthandler.enable()
    request = CheckRequest.model_validate_json(sys.argv[1])
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as pipe:
        speaker = _Speaker(pipe)
        root = logging.getLogger()
        root.addHandler(logging.StreamHandler())
        logging.getLogger("vision_line").addHandler(speaker)
        logging.getLogger("vision_line").setLevel(logging.INFO)
        try:
            check(request, speaker)
        except VisionLineError as exc:
            speaker.say(News(raised=RaisedError.of(exc)))


if __name__ == "__main__":
    main()
