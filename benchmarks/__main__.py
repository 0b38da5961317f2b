# SPDX-License-Identifier: AGPL-3.0-or-later
"""All benchmarks one after the other; about an hour on an idle machine."""

from benchmarks import (
    capacity,
    control_plane,
    ingest,
    journal,
    load,
    many_cameras,
    metrics,
    multi_camera,
    switch_interval,
    where_time_goes,
)

for benchmark in (
    control_plane,
    capacity,
    ingest,
    multi_camera,
    where_time_goes,
    many_cameras,
    switch_interval,
    metrics,
    journal,
    load,
):
    benchmark.main()
