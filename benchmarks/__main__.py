# SPDX-License-Identifier: AGPL-3.0-or-later
"""All benchmarks one after the other; about an hour on an idle machine."""

from benchmarks import control_plane, load, multi_camera, switch_interval

for benchmark in (control_plane, multi_camera, switch_interval, load):
    benchmark.main()
