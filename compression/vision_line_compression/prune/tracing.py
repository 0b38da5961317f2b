# SPDX-License-Identifier: AGPL-3.0-or-later
"""Find the groups of a split model with torch-pruning, in a child process that is ended when it takes too much.

Following dependencies can fall into an endless loop that eats all memory. Attention, which causes it, is replaced by
a plain convolution before tracing (its channels are kept anyway), and the detection head ends before its decoding.
Should a network still loop, the child dies by its own limit of memory, or is ended when it has used too much of a
processor, and the caller gets an error. Time by the clock says nothing, for other programs may have the processors:
only a child that uses none at all for long is ended by it.

Run as a program: `python -m vision_line_compression.prune.tracing MODEL GROUPS MEMORY_GIB`.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn
from ultralytics.nn.modules import Segment
from ultralytics.nn.modules.block import Attention
from ultralytics.nn.modules.head import Segment26

from vision_line.errors import ModelError
from vision_line_compression.network.detection_network import Head, branch_names, head_of
from vision_line_compression.prune.groups import ChannelGroup, Member

if TYPE_CHECKING:
    from torch_pruning._helpers import GroupItem
    from torch_pruning.dependency import DependencyGraph, Group

#: Input side of the traced image: two pixels remain at stride 32.
_SIDE = 64
_PROGRAM = "vision_line_compression.prune.tracing"
#: How often it is asked what a child has used of the processors, in seconds.
_ASKED_EVERY_S = 0.1
#: How long a child may use nothing of a processor: however busy the machine, in this time it gets some.
_STILL_S = 600.0

#: Groups by the fingerprint of the structure; the oldest goes when there are too many.
_KNOWN: dict[str, tuple[ChannelGroup, ...]] = {}
_KNOWN_STRUCTURES = 8


class OpaqueBlock(nn.Conv2d):
    """Stands for a module whose channels are kept, while groups are traced."""


def trace_groups(model: nn.Module, *, timeout_s: float = 120.0, memory_gib: float = 4.0) -> tuple[ChannelGroup, ...]:
    """Return all groups of the split `model`; it is not changed.

    The child may use `memory_gib` beyond what its libraries take and `timeout_s` of a processor.

    Raises:
        ModelError: The network cannot be traced, or not within the limits.
    """
    with tempfile.TemporaryDirectory(prefix="vision-line-trace-") as folder:
        source, target = Path(folder, "model.pt"), Path(folder, "groups.json")
        torch.save(model, source)
        command = [sys.executable, "-m", _PROGRAM, str(source), str(target), str(memory_gib)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        returncode, said = _run(command, environment, timeout_s)
        if returncode != 0:
            reason = (said.strip().splitlines() or [f"exit status {returncode}"])[-1]
            raise ModelError(f"channel groups cannot be traced within {memory_gib:g} GiB: {reason}")
        return tuple(ChannelGroup.model_validate(entry) for entry in json.loads(target.read_text()))


def _run(command: Sequence[str], environment: dict[str, str], limit_s: float) -> tuple[int, str]:
    """Return a child's exit code and what it said; one that uses more than `limit_s` of a processor is ended.

    Raises:
        ModelError: it was, or it stood still.
    """
    used_s, moved_s = 0.0, time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            while True:
                try:
                    _, said = child.communicate(timeout=_ASKED_EVERY_S)
                except subprocess.TimeoutExpired:
                    before_s, used_s = used_s, _processor_s(child.pid)
                    if used_s > before_s:
                        moved_s = time.monotonic()
                    if time.monotonic() - moved_s > _STILL_S:
                        raise ModelError(f"tracing channel groups stood still for {_STILL_S:g} s") from None
                    if used_s > limit_s:
                        raise ModelError(
                            f"tracing channel groups took over {limit_s:g} s of a processor: the network has a loop"
                        ) from None
                else:
                    return child.returncode, said
        finally:
            child.kill()


def _processor_s(process: int) -> float:
    """Return how long a process, all its threads together, has had processors."""
    after_name = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def known_groups(model: nn.Module, *, timeout_s: float, memory_gib: float) -> tuple[ChannelGroup, ...]:
    """Return the groups of the split `model` as `trace_groups` does, tracing each structure once in this process.

    Several plans for one network (a budget's check, the plan, its controls) differ in weights and wishes alone.
    """
    key = _structure(model)
    if key not in _KNOWN:
        traced = trace_groups(model, timeout_s=timeout_s, memory_gib=memory_gib)
        while len(_KNOWN) >= _KNOWN_STRUCTURES:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = traced
    return _KNOWN[key]


def opaque_names(model: nn.Module) -> frozenset[str]:
    """Name the modules of `model` that are kept as they are: the attention blocks."""
    return frozenset(name for name, module in model.named_modules() if isinstance(module, Attention))


def _structure(model: nn.Module) -> str:
    """Return a hash of layers, widths and connections; weights do not matter."""
    wiring = [
        (name, getattr(module, "f", None), getattr(module, "add", None)) for name, module in model.named_modules()
    ]
    return hashlib.sha256(f"{model!r}{wiring!r}".encode()).hexdigest()


def _traced(model: nn.Module) -> Iterator[ChannelGroup]:
    import torch_pruning

    names = opaque_names(model)
    for name in names:
        _replace(model, name)
    head = head_of(model)
    head.forward = types.MethodType(_raw_outputs, head)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    graph = torch_pruning.DependencyGraph()
    graph.build_dependency(model.eval(), torch.zeros(1, 3, _SIDE, _SIDE))
    name_of = {module: name for name, module in model.named_modules()}
    roots = [nn.Conv2d, nn.ConvTranspose2d]
    for group in graph.get_all_groups(ignored_layers=_kept_whole(head), root_module_types=roots):
        yield _group(group, graph, name_of)


def _raw_outputs(head: Head, features: list[torch.Tensor]) -> list[torch.Tensor]:
    outputs = [chain(features[index % head.nl]) for index, chain in enumerate(_head_chains(head))]
    if not isinstance(head, Segment):
        return outputs
    head.proto.training = True  # of 26 it then hands out the classes of pixels too; its layers stay as they are
    prototypes = head.proto(features if isinstance(head, Segment26) else features[0])
    return [*outputs, *(prototypes if isinstance(prototypes, tuple) else (prototypes,))]


def _kept_whole(head: Head) -> list[nn.Module]:
    """Return the layers of a head whose outputs are never pruned.

    Those are its own outputs; of masks that is prototypes too, and the branch of 26 that sees classes of pixels: it is
    there while the network is trained, so that what it reads is pruned and no work is saved within.
    """
    outputs: list[nn.Module] = [chain[-1] for chain in _head_chains(head)]
    if isinstance(head, Segment):
        outputs.append(head.proto.cv3.conv)
        outputs += getattr(head.proto, "semseg", nn.Sequential()).modules()
    return outputs


def _head_chains(head: Head) -> list[nn.Sequential]:
    return [chain for name in branch_names(head) for chain in getattr(head, name)]


def _replace(model: nn.Module, name: str) -> None:
    parent_name, _, attribute = name.rpartition(".")
    attention = cast("Attention", model.get_submodule(name))
    width_in, width_out = attention.qkv.conv.in_channels, attention.proj.conv.out_channels
    setattr(model.get_submodule(parent_name), attribute, OpaqueBlock(width_in, width_out, 1))


def _group(traced: Group, graph: DependencyGraph, name_of: dict[nn.Module, str]) -> ChannelGroup:
    members: dict[tuple[str, str], Member] = {}
    for item in traced:
        module = item.dep.target.module
        if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            _reject_parameters(module, item)
            continue
        is_out = isinstance(module, nn.BatchNorm2d) or module.groups > 1
        is_out = is_out or bool(graph.is_out_channel_pruning_fn(item.dep.handler))
        side: Literal["in", "out"] = "out" if is_out else "in"
        member = Member(layer=name_of[module], side=side, runs=_runs(item.root_idxs, item.idxs))
        members.setdefault((member.layer, side), member)
    root = name_of[traced[0].dep.target.module]
    return ChannelGroup(name=root, channels=len(traced[0].idxs), members=tuple(members.values()))


def _reject_parameters(module: object, item: GroupItem) -> None:
    has_weights = isinstance(module, nn.Parameter) or (
        isinstance(module, nn.Module) and any(True for _ in module.parameters())
    )
    if has_weights:
        raise ModelError(
            f"{item.dep.target.name}: found a layer of type {type(module).__name__}, expected convolutions"
        )


def _runs(roots: Sequence[int], channels: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    """Join pairs (channel of the group, channel of the layer) into runs of neighbours."""
    runs: list[tuple[int, int, int]] = []
    for channel, root in sorted(zip(channels, roots, strict=True)):
        if runs and runs[-1][0] + runs[-1][2] == root and runs[-1][1] + runs[-1][2] == channel:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((root, channel, 1))
    return tuple(runs)


def _limit_memory(memory_gib: float) -> None:
    """Let this process grow by `memory_gib` and no more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _main(source: str, target: str, memory_gib: str) -> None:
    import torch_pruning  # noqa: F401 - loaded before memory is limited

    torch.set_num_threads(1)
    model = torch.load(source, map_location="cpu", weights_only=False)
    _limit_memory(float(memory_gib))
    groups = [group.model_dump() for group in _traced(model)]
    Path(target).write_text(json.dumps(groups), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
