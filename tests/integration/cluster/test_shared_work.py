# SPDX-License-Identifier: AGPL-3.0-or-later
"""Work shared with a real Ray cluster of some nodes on the loopback interface; one of them is killed while it works.

Ray takes a quarter of a minute to start, so there is one cluster, and this is the only file that uses it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.reviewed_records import drawn_image, reviewed_records
from tests.fakes.tiny_model import build_tiny_model

import vision_line
from vision_line.simulator.labelled_images import write_dataset

pytestmark = pytest.mark.timeout(900)

COMMAND = [sys.executable, "-c", "from vision_line.cli import main; main()"]
#: Without it Ray replaces the address of the loopback interface, and waits for ever.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
#: For nodes and commands alike.
OFFLINE = {"YOLO_CONFIG_DIR": tempfile.gettempdir(), "YOLO_OFFLINE": "True", "YOLO_AUTOINSTALL": "False"}
ENVIRONMENT = LOOPBACK | OFFLINE
PATHS = os.pathsep.join(filter(None, [str(Path(vision_line.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
IMAGES = 40  # two shards
SIZE_WH = (128, 64)


NODE: dict[str, Any] = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
#: Ray notices a dead node after 15 s by default; one that is only slow has 50 s.
QUICK = {"health_check_period_ms": 500, "health_check_timeout_ms": 10_000, "health_check_failure_threshold": 5}
#: On a busy machine a node may not start within Ray's own 30 s.
STARTS = 3


@dataclass
class Doomed:
    """A node that a test kills."""

    cluster: Any
    node: Any

    @property
    def workers(self) -> list[int]:
        """The processes that work for it."""
        raylet = self.node.all_processes["raylet"][0].process.pid
        return [process for process, parent in parents().items() if parent == raylet]

    def kill(self) -> None:
        """End it at once."""
        self.cluster.remove_node(self.node, allow_graceful=False)


def other_program(folder: Path) -> Path:
    """Return a folder with a vision_line that has one file more."""
    package = folder / "vision_line"
    package.mkdir(parents=True)
    for path in Path(vision_line.__file__).parent.iterdir():
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    (package / "more.py").write_text("")
    return folder


def started(start: Callable[[], Any]) -> Any:
    """Return what Ray starts, if need be at a later try; what a try has left ends with this process."""
    for _ in range(STARTS - 1):
        with suppress(Exception):  # Ray has no error of its own for it
            return start()
    return start()


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start a head that works, and a node whose program is another."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    other = other_program(tmp_path_factory.mktemp("other-program"))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (ENVIRONMENT | {"PYTHONPATH": PATHS}).items():
            patched.setenv(name, value)
        head = {**NODE, "include_dashboard": False, "_system_config": QUICK}
        cluster = started(lambda: cluster_utils.Cluster(initialize_head=True, head_node_args=head))
        try:
            patched.setenv("PYTHONPATH", f"{other}{os.pathsep}{PATHS}")
            started(lambda: cluster.add_node(**NODE))
            patched.setenv("PYTHONPATH", PATHS)
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
def doomed(ray_cluster: Any) -> Doomed:
    """Add a node."""
    return Doomed(ray_cluster, started(lambda: ray_cluster.add_node(**NODE)))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Audited frames with a defect in most."""
    with reviewed_records(tmp_path / "records", classes='["red", "green", "blue"]') as records:
        for n in range(IMAGES):
            box = (32.0, 0.0, 64.0, 32.0)
            image = drawn_image(n, SIZE_WH, [box] if n % 3 else [])
            records.audit(n, 10.0 * n, image=image, found=[("red", 0.9, box)] if n % 3 else [])
    (tmp_path / "model.onnx").write_bytes(build_tiny_model((64, 128)))
    return tmp_path


def reinspect(folder: Path, output: str, *options: str, record: str = "records") -> subprocess.Popen[str]:
    """Begin the command in its own process."""
    command = [*COMMAND, "reinspect", f"--record={record}", f"--model={folder / 'model.onnx'}"]
    command += [f"-o{output}", "--device=cpu", *options]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | ENVIRONMENT
    )


def said_by(command: subprocess.Popen[str], within_s: float = 240.0) -> tuple[str, str]:
    """Wait for a command's end, and return what it wrote; one that does not end is killed."""
    try:
        return command.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        command.kill()
        pytest.fail(f"not within {within_s:g} s: {command.communicate()}")


def parents() -> dict[int, int]:
    """Return each process with its parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it has ended
            found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def inspects(doomed: Doomed) -> bool:
    """Whether a worker of the node has begun a shard, in the process that each shard has."""
    workers = set(doomed.workers)
    for process, parent in parents().items():
        with suppress(OSError):
            if parent in workers and b"shard_process" in Path(f"/proc/{process}/cmdline").read_bytes():
                return True
    return False


def has_begun_a_stage(doomed: Doomed) -> bool:
    """Whether a worker of the node is at a stage, of a training before its first epoch is complete.

    A training that goes on after an epoch has other weights than one that was not interrupted.
    """
    for process in doomed.workers:
        with suppress(OSError):
            files = [path.readlink() for path in Path(f"/proc/{process}/fd").iterdir()]
            if any(path.name == "stage.lock" and not list(path.parent.glob("training/*/weights/*")) for path in files):
                return True
    return False


def kill_when(
    doomed: Doomed, works: Callable[[Doomed], bool], command: subprocess.Popen[str], limit_s: float = 300.0
) -> None:
    """Kill the node once it works; a command whose node gets no work is ended."""
    deadline_s = time.monotonic() + limit_s
    try:
        while not works(doomed):
            assert command.poll() is None, command.communicate()
            assert time.monotonic() < deadline_s, "the node got no work"
            time.sleep(0.02)
    except BaseException:
        command.kill()
        command.communicate()
        raise
    doomed.kill()


def kept(folder: Path, output: str) -> dict[str, bytes]:
    """Return all that the command wrote, by its path."""
    root = folder / output
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_shared_reinspection_is_the_local_one_though_a_node_dies(
    ray_cluster: Any, doomed: Doomed, recorded: Path
) -> None:
    """To the byte; a node with another program is named and gets nothing, and what is done is not done again."""
    shared = reinspect(recorded, "shared", f"--ray={ray_cluster.address}")
    kill_when(doomed, inspects, shared)
    said, warned = said_by(shared)
    said_locally, _ = said_by(reinspect(recorded, "local"))

    assert shared.returncode == 0, warned
    assert "1 of 3 nodes of the cluster cannot do this work" in warned
    assert "has another vision_line than this machine" in warned
    assert "died" in warned
    assert kept(recorded, "shared") == kept(recorded, "local")
    assert said.replace("shared", "local") == said_locally
    assert "not inspected" not in said

    again = reinspect(recorded, "shared", "--ray=10.255.255.255:1")  # nobody is asked for what is done
    assert said_by(again)[0] == said


def test_recordings_that_nodes_do_not_see_are_said_before_work_starts(ray_cluster: Any, recorded: Path) -> None:
    """A path that leads elsewhere in each process stands for a folder that machines do not share."""
    unseen = reinspect(recorded, "unseen", f"--ray={ray_cluster.address}", record="/proc/self/cwd/records")
    _, said = said_by(unseen)

    assert unseen.returncode == 2, said
    assert "no node can do this work" in said
    assert "sees other recordings in /proc/self/cwd/records" in said
    assert not list((recorded / "unseen" / "results").iterdir())


RECIPE = """
recipe_version = 1
name = "tiny"
[parent]
checkpoint = "parent.pt"
epochs = 1
[data]
yaml = "boards/data.yaml"
[input]
shapes_hw = [[96, 96]]
[train]
image_size = 96
batch = 8
threads = 1
mosaic = 0.0
[prune]
budget = { macs = 0.6 }
size_hw = [96, 96]
quantum = 8
sensitivity_images = 1
sensitivity_size = 64
probes = [0.5]
[[step]]
budget = { macs = 0.8 }
epochs = 1
[recover]
epochs = 2
settle_share = 0.0
calibration_images = 2
[distill]
keep = "always"
epochs = 1
[quantize]
calibration_images = 2
[gates]
map50_95_drop = 100.0
map50_drop = 100.0
class_recall_drop = 100.0
[report]
controls = ["longer", "no-teacher"]
corrupted_images = 1
"""


def compress(folder: Path, work: str, *options: str) -> subprocess.Popen[str]:
    """Begin the command in its own process."""
    program = "from vision_line_compression.cli import main; main()"
    command = [sys.executable, "-c", program, "run", "recipe.toml", f"--work={work}", *options]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | ENVIRONMENT
    )


#: Stages that leave no checkpoint, which has a date, nor name one by its hash.
COMPARED = ("bundle-", "eval-", "export-", "prove-", "quantize-", "robustness-")


def outputs(work: Path) -> dict[str, dict[str, str]]:
    """Return what stages have left, by their folder: names and hashes."""
    found = {path.parent.name: json.loads(path.read_text())["outputs"] for path in sorted(work.glob("*/done.json"))}
    return {name: made for name, made in found.items() if name.startswith(COMPARED)}


@pytest.mark.shared_training
@pytest.mark.timeout(2400)
def test_a_shared_compression_is_the_local_one_though_a_node_dies(
    ray_cluster: Any, doomed: Doomed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every network, the bundle, and all that was found with them, to the byte."""
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    from tests.fakes.board_checkpoint import write_board_checkpoint  # imports Ultralytics

    write_dataset(tmp_path / "boards", 20, seed=3)
    write_board_checkpoint("yolov8n", tmp_path / "parent.pt")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    shared = compress(tmp_path, "shared", f"--ray={ray_cluster.address}")
    kill_when(doomed, has_begun_a_stage, shared, 600.0)
    _, said = said_by(shared, 900)
    local = compress(tmp_path, "local")
    said_by(local, 900)

    assert shared.returncode == local.returncode == 0, said
    assert "has another vision_line than this machine" in said
    assert "died" in said
    there, here = outputs(tmp_path / "shared"), outputs(tmp_path / "local")
    assert there.keys() == here.keys()
    assert {name for name in here if there[name] != here[name]} == set()
