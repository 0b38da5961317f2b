# SPDX-License-Identifier: AGPL-3.0-or-later
"""vision-line: many RTSP cameras over factory lines, inspected in real time on one edge box."""

import sys

__version__ = "0.1.0"

# Importing OpenVINO reports the import to its makers over the network, from a thread of its own, unless this module
# cannot be imported. A box on a factory's network talks to nobody whom its owner did not name.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: "not there", see importlib
