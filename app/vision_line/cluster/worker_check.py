# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the nodes of a cluster lack for a work: asked before it begins, and said in one message."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vision_line import __version__
from vision_line.cluster.ray_cluster import CallAnswer, RayCluster, TextFunction, WorkerNode
from vision_line.errors import ConfigError

logger = logging.getLogger(__name__)

#: How long a node has to say which program it has: its first worker process is started for that.
PROGRAM_S = 120.0
#: How long it has for the question of the work: it may build a GPU's engine, or read a whole data set.
WORK_S = 1800.0


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a node must have as this machine has it: packages of ours by their code, libraries by their version."""

    packages: tuple[str, ...]
    libraries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeQuestion:
    """What the work itself asks of each node that has the program, and what its answer must be.

    `lacks` turns an answer into what is missing, "" for nothing.
    """

    function: TextFunction
    text: str
    gpus: Callable[[WorkerNode], float]
    lacks: Callable[[WorkerNode, str], str]


def fit_nodes(cluster: RayCluster, required: Requirements, question: NodeQuestion) -> dict[WorkerNode, str]:
    """Return the nodes that can do the work as this machine would, with their answers; the others are warned of.

    Raises:
        ConfigError: none can; what each one lacks.
    """
    nodes = cluster.nodes()
    faults = _without_program(cluster, nodes, required)
    answers: dict[WorkerNode, str] = {}
    asked = {
        node: cluster.call(question.function, question.text, node.id, cpus=0, gpus=question.gpus(node))
        for node in nodes
        if node not in faults
    }
    for node, call in asked.items():
        answer = cluster.answer(call, WORK_S)
        if fault := answer.problem or question.lacks(node, answer.text):
            faults[node] = fault
        else:
            answers[node] = answer.text
    if not answers:
        found = "\n".join(_lines(faults)) or "  it has no node with a core for tasks"
        raise ConfigError(f"--ray {cluster.address}: no node can do this work:\n{found}")
    if faults:
        left_out = "\n".join(_lines(faults))
        logger.warning(
            "%d of %d nodes of the cluster cannot do this work, and get none of it:\n%s",
            len(faults),
            len(nodes),
            left_out,
        )
    return answers


def _without_program(cluster: RayCluster, nodes: Sequence[WorkerNode], required: Requirements) -> dict[WorkerNode, str]:
    """Return what nodes lack of the program and its libraries."""
    owned = program_of(required)
    here: dict[str, str] = json.loads(owned()[0])
    asked = {node: cluster.call_by_value(owned, node.id) for node in nodes}
    answers = {node: cluster.answer(call, PROGRAM_S) for node, call in asked.items()}
    faults = {node: differences(here, answer) for node, answer in answers.items()}
    return {node: fault for node, fault in faults.items() if fault}


def differences(here: Mapping[str, str], answer: CallAnswer) -> str:
    """Return in words what a node has otherwise than `here`, "" where nothing is. Pure."""
    if answer.problem:
        return answer.problem
    there: dict[str, str] = json.loads(answer.text)
    found = []
    for name, expected in here.items():
        own = there.get(name, "")
        if own == expected:
            continue
        if name.startswith("vision_line"):
            found.append(f"lacks {name}" if not own else f"has another {name} than this machine, {__version__}")
        else:
            found.append(f"{name}: expected {expected or 'none'}, found {own or 'none'}")
    return "; ".join(found)


def program_of(required: Requirements) -> Callable[[], tuple[str, str]]:
    """Return a function that says what a machine has, as a text of JSON; it imports nothing of ours.

    It is defined within this one, so that its code is sent with it: a node that lacks the program can answer.
    """
    packages, libraries = required.packages, required.libraries

    def owned() -> tuple[str, str]:
        import hashlib
        import json
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec
        from pathlib import Path

        found = {}
        for package in packages:
            spec = find_spec(package)
            if spec is None or spec.origin is None:
                continue
            root, digest = Path(spec.origin).parent, hashlib.sha256()
            for path in sorted(root.rglob("*.py")):
                digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
            found[package] = digest.hexdigest()
        for library in libraries:
            try:
                found[library] = version(library)
            except PackageNotFoundError:
                found[library] = ""
        return json.dumps(found), ""

    return owned


def _lines(faults: Mapping[WorkerNode, str]) -> list[str]:
    return [f"  {node.name}: {fault}" for node, fault in sorted(faults.items(), key=lambda one: one[0].name)]
