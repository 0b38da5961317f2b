# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shards on the machines of a Ray cluster: each inspects as this machine would, or gets none.

What a node must have: the same program and libraries, the same recordings and model under the same paths, and an
engine that is proven there and computes as it does here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from vision_line.cluster.ray_cluster import RayCluster, WorkerNode, check_address, connected
from vision_line.cluster.remote_work import RemoteWork
from vision_line.cluster.task_board import slots_of
from vision_line.cluster.worker_check import NodeQuestion, Requirements, fit_nodes
from vision_line.config.models import Frozen
from vision_line.devices.model.model import open_model
from vision_line.errors import ConfigError, RunError
from vision_line.reinspection.computation import computation_of, kind_of_device
from vision_line.reinspection.model_fingerprint import ModelFingerprint
from vision_line.reinspection.shard import Shard, ShardResult
from vision_line.reinspection.shard_process import in_process
from vision_line.reinspection.shard_runs import Workers

#: What decodes and infers: another version may find other things.
REQUIRED = Requirements(("vision_line",), ("av", "numpy", "opencv-python-headless", "openvino"))
_KIND = "shard"
#: What a worker may take, and how much more for each frame: one whose network drive hangs would be waited for for ever.
_BEGINS_S, _FRAME_S = 1800.0, 1.0


class ShardOrder(Frozen):
    """What is sent to a worker; `files` are the shard's recordings as this machine sees them."""

    shard: Shard
    files: str


class ReinspectionQuestion(Frozen):
    """What a node is asked before it gets anything."""

    directory: Path
    model: Path | None
    device: str
    paths: tuple[str, ...]


class ReinspectionAnswer(Frozen):
    """What a node sees and has."""

    files: str
    fingerprint: ModelFingerprint
    computation: str


def ray_workers(address: str, device: str) -> Workers:
    """Return what has shards inspected on the cluster at `address`, as long as there are any.

    Raises:
        ConfigError: no such address, Ray is not installed, or `device` names GPUs by their number.
    """
    if ":" in device:
        raise ConfigError(
            f"--device: expected auto, cpu or cuda with --ray, which gives each task its own GPU, found {device!r}"
        )
    check_address(address)

    def inspected(shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult | RunError]]:
        if shards:
            with connected(address) as cluster:
                yield from _inspected(cluster, shards)

    return inspected


def _inspected(cluster: RayCluster, shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult | RunError]]:
    needs_gpu = kind_of_device(shards[0].device) == "cuda"
    nodes = list(fit_nodes(cluster, REQUIRED, _question(shards, needs_gpu=needs_gpu)))
    slots = [slot for node in nodes for slot in slots_of(node.id, [_KIND], node.cpus, node.gpus if needs_gpu else 0)]
    with closing(RemoteWork[Shard](cluster, nodes, slots, inspect_on_worker)) as work:
        for shard in shards:
            order = ShardOrder(shard=shard, files=seen_files(shard.directory, [one.path for one in shard.footage]))
            work.start(shard, order.model_dump_json(), _KIND, needs_gpu=needs_gpu, limit_s=limit_of(shard))
        while work.is_busy:
            for shard, outcome, _ in work.wait():
                yield shard, outcome if isinstance(outcome, RunError) else ShardResult.model_validate_json(outcome)


def _question(shards: Sequence[Shard], *, needs_gpu: bool) -> NodeQuestion:
    first = shards[0]
    paths = tuple(one.path for shard in shards for one in shard.footage)
    asked = ReinspectionQuestion(directory=first.directory, model=first.model, device=first.device, paths=paths)
    files = seen_files(first.directory, paths)
    expected = [first.computation] if first.computation else []

    def lacks(_node: WorkerNode, text: str) -> str:
        answer = ReinspectionAnswer.model_validate_json(text)
        if answer.files != files:
            return f"sees other recordings in {first.directory} than this machine: expected one folder for all"
        if differences := first.fingerprint.differences(answer.fingerprint):
            return f"has another model at {first.model}: {differences}"
        if not expected:  # nobody can say how it would be computed here: as on the first node, then
            expected.append(answer.computation)
        if answer.computation != expected[0]:
            return f"computes in another way: expected {expected[0]}, found {answer.computation}"
        return ""

    gpus = lambda node: 1.0 if needs_gpu and node.gpus else 0.0  # noqa: E731
    return NodeQuestion(see_work, asked.model_dump_json(), gpus, lacks)


def see_work(text: str) -> str:
    """Answer, on a worker, what it sees of a work and how it would compute it; its engine is proven for that.

    Raises:
        VisionLineError: the model or the device cannot be used there.
    """
    asked = ReinspectionQuestion.model_validate_json(text)
    files = seen_files(asked.directory, asked.paths)
    model = open_model(asked.model)
    answer = ReinspectionAnswer(
        files=files, fingerprint=ModelFingerprint.of(model), computation=computation_of(asked.model, asked.device)
    )
    return answer.model_dump_json()


def inspect_on_worker(text: str) -> str:
    """Inspect a shard on a worker.

    Raises:
        RunError: it failed, or the recordings are not those of before.
    """
    order = ShardOrder.model_validate_json(text)
    shard = order.shard
    if seen_files(shard.directory, [one.path for one in shard.footage]) != order.files:
        raise RunError(f"the recordings in {shard.directory} are not there, or not as they were when this began")
    return in_process(shard).model_dump_json()


def limit_of(shard: Shard) -> float:
    """Return how long a worker may take for a shard, in seconds: far more than any processor needs."""
    return _BEGINS_S + _FRAME_S * sum(one.frames for one in shard.footage)


def seen_files(directory: Path, paths: Sequence[str]) -> str:
    """Return a digest of which recordings are there, and how large they are."""
    seen: list[tuple[str, int]] = []
    for path in paths:
        try:
            seen.append((path, (directory / path).stat().st_size))
        except OSError:
            seen.append((path, -1))
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()
