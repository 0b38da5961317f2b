# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pruning proved on every supported family: exact rewriting, exact cutting, and a result that plain YOLO opens."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vision_line.devices.model.model import open_model
from vision_line.errors import ConfigError, ModelError
from vision_line_compression.evaluate.graph_size import count_graph
from vision_line_compression.network.checkpoint import Checkpoint, complexity, load_checkpoint, save_checkpoint
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.network.split_blocks import find_halves, merge_blocks, split_blocks
from vision_line_compression.prune import tracing
from vision_line_compression.prune.apply import apply_plan, ensure_equivalent, silenced_parent
from vision_line_compression.prune.latency import ConvolutionKind, LatencyTable, measure_latency, with_network
from vision_line_compression.prune.openvino_bench import OpenvinoBench
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.settings import Budget, Neck, PruneSettings
from vision_line_compression.prune.structure import Convolution, survey_convolutions
from vision_line_compression.prune.tracing import known_groups, trace_groups

from .conftest import WriteCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # ultralytics and torch's exporters announce their own futures

FAMILIES = {
    "yolov8n": "v8",
    "yolov8s": "v8",
    "yolov10n": "v10",
    "yolo11n": "11",
    "yolo26n": "26",
    "yolov8n-obb": "v8",
    "yolo11n-obb": "11",
    "yolo26n-obb": "26",
    "yolov8n-seg": "v8",
    "yolo11n-seg": "11",
    "yolo26n-seg": "26",
}


def networks(*names: str) -> list[Any]:
    """Return these for tests: a larger network has the structure of the smaller one, and 26 has all blocks of 11."""
    rare = {"yolov8s", "yolo11n", "yolo11n-obb", "yolo26n-obb", "yolo11n-seg", "yolo26n-seg"}
    return [pytest.param(name, marks=pytest.mark.long if name in rare else ()) for name in names]


NETWORKS = networks(*FAMILIES)
ATTENTIVE = networks("yolov10n", "yolo11n", "yolo26n")


@pytest.fixture(scope="module")
def pruned_of(write_checkpoint: WriteCheckpoint) -> Callable[[str], tuple[Checkpoint, PruningPlan, nn.Module]]:
    """Return checkpoint, plan and pruned model of a family, made once."""
    made: dict[str, tuple[Checkpoint, PruningPlan, nn.Module]] = {}

    def prune(name: str) -> tuple[Checkpoint, PruningPlan, nn.Module]:
        if name not in made:
            checkpoint = load_checkpoint(write_checkpoint(name))
            settings = PruneSettings(budget=Budget(macs=0.5, params=0.55), neck="free", size_hw=(64, 64))
            plan = plan_pruning(checkpoint, settings)
            made[name] = checkpoint, plan, apply_plan(checkpoint, plan)
        return made[name]

    return prune


def raw_outputs(model: Any, training: bool = False) -> Iterator[torch.Tensor]:
    """Yield boxes, scores, angles and masks of all heads, undecoded; in float64, whose rounding is below any cut."""
    model = copy.deepcopy(model).double().train(training)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        outputs = model(images) if training else model(images)[1]
    heads = outputs.values() if "one2many" in outputs else [outputs]
    for head in heads:
        yield head["boxes"]
        yield head["scores"]
        if "angle" in head:
            yield head["angle"]
        if "proto" in head:
            yield head["mask_coefficient"]
            yield from head["proto"] if isinstance(head["proto"], tuple) else (head["proto"],)


@pytest.mark.parametrize("name", NETWORKS)
def test_rewriting_changes_no_output_and_is_undone(name: str, write_checkpoint: WriteCheckpoint) -> None:
    """The split model computes what the stock model does; merged again it has the same classes and weights."""
    checkpoint = load_checkpoint(write_checkpoint(name))
    model = copy.deepcopy(checkpoint.model)
    split_blocks(model)
    split = list(raw_outputs(model))
    halves = find_halves(model)
    merge_blocks(model)

    assert checkpoint.family == FAMILIES[name]
    assert len(halves) >= 8
    for expected, got, merged in zip(raw_outputs(checkpoint.model), split, raw_outputs(model), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        assert torch.equal(merged, expected)
    assert [type(m) for m in model.modules()] == [type(m) for m in checkpoint.model.modules()]
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), _states(checkpoint), strict=True))


def _states(checkpoint: Checkpoint) -> Iterator[torch.Tensor]:
    return iter(checkpoint.model.state_dict().values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_pruned_model_is_what_was_planned(
    name: str, pruned_of: Callable[[str], tuple[Any, PruningPlan, Any]]
) -> None:
    """Widths are those of the plan and multiples of the quantum; size is counted on the fused model; budget kept."""
    checkpoint, plan, model = pruned_of(name)
    parent, actual = complexity(checkpoint.model, (64, 64)), complexity(model, (64, 64))

    assert actual == plan.complexity
    assert plan.costs["params"].reference == parent.params
    assert plan.costs["macs"].reference == parent.macs
    assert actual.macs <= 0.5 * parent.macs
    assert actual.params <= 0.55 * parent.params
    assert all(len(entry.kept) % 8 == 0 for entry in plan.groups)
    assert {type(m) for m in model.modules()} == {type(m) for m in checkpoint.model.modules()}
    for before, after in zip(checkpoint.model.modules(), model.modules(), strict=True):
        if isinstance(before, nn.Conv2d) and after.out_channels != before.out_channels:
            assert after.out_channels % 8 == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_equals_the_silenced_parent(name: str, pruned_of: Callable[[str], tuple[Any, PruningPlan, Any]]) -> None:
    """Cutting channels computes what zeroing them in the parent does, in evaluation."""
    checkpoint, plan, model = pruned_of(name)
    masked = silenced_parent(checkpoint, plan)

    for got, expected in zip(raw_outputs(model), raw_outputs(masked), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert not all(torch.allclose(a, b) for a, b in zip(raw_outputs(model), raw_outputs(checkpoint.model), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_trains_fuses_and_opens_in_plain_yolo(
    name: str, pruned_of: Callable[[str], tuple[Any, PruningPlan, Any]], tmp_path: Path
) -> None:
    """The saved checkpoint is stock: YOLO opens it, it runs in training, keeps its outputs fused, exports to ONNX."""
    import onnx
    from ultralytics import YOLO  # type: ignore[attr-defined]

    checkpoint, plan, model = pruned_of(name)
    save_checkpoint(model, tmp_path / "pruned.pt", checkpoint)
    opened: Any = YOLO(tmp_path / "pruned.pt")
    again = load_checkpoint(tmp_path / "pruned.pt")

    assert tuple(opened.names.values()) == checkpoint.classes
    assert again.family == checkpoint.family
    assert complexity(opened.model, (64, 64)) == plan.complexity
    for got, expected in zip(raw_outputs(opened.model), raw_outputs(model), strict=True):
        assert torch.equal(got, expected)
    assert all(torch.isfinite(output).all() for output in raw_outputs(opened.model, training=True))
    exported = opened.export(format="onnx", imgsz=64, simplify=False, verbose=False)
    weights = sum(len(tensor.raw_data) // 4 for tensor in onnx.load(exported).graph.initializer)
    assert weights == pytest.approx(plan.complexity.params, rel=0.02)


def test_the_branch_of_angles_is_pruned_with_the_others(write_checkpoint: WriteCheckpoint) -> None:
    """Its inner convolutions are groups of their own; it still says one angle at each place, and the right one."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n-obb"))
    settings = PruneSettings(budget=Budget(macs=0.3), method="uniform", neck="free", size_hw=(64, 64))
    plan = plan_pruning(checkpoint, settings)
    model: Any = apply_plan(checkpoint, plan)
    own = [entry for entry in plan.groups if ".cv4." in entry.group.name]
    head = model.model[-1]

    assert len(own) == 6
    assert all(len(entry.kept) == 8 < entry.group.channels for entry in own)
    assert head.cv4[0][0].conv.in_channels == head.cv2[0][0].conv.in_channels
    assert [chain[-1].out_channels for chain in head.cv4] == [1, 1, 1]
    for got, expected in zip(raw_outputs(model), raw_outputs(silenced_parent(checkpoint, plan)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", networks("yolov8n-seg", "yolo26n-seg"))
def test_the_branch_of_prototypes_is_pruned_on_both_sides_of_its_upsampling(
    name: str, pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, Any]]
) -> None:
    """It and the branches of coefficients become narrow; prototypes and coefficients stay 32."""
    checkpoint, plan, model = pruned_of(name)
    original: Any = checkpoint.model
    head, before = model.model[-1], original.model[-1]
    kept = {entry.group.name.partition(".proto.")[2]: len(entry.kept) for entry in plan.groups}

    assert {"cv1.conv", "upsample", "cv2.conv"} <= kept.keys()
    assert head.proto.upsample.weight.shape[:2] == (kept["cv1.conv"], kept["upsample"])
    assert head.proto.upsample.weight.shape[:2] < before.proto.upsample.weight.shape[:2]
    assert head.proto.cv2.conv.weight.shape[:2] == (kept["cv2.conv"], kept["upsample"])
    assert head.proto.cv3.conv.out_channels == 32
    assert [chain[-1].out_channels for chain in head.cv4] == [32, 32, 32]
    assert head.cv4[0][0].conv.out_channels <= before.cv4[0][0].conv.out_channels


def test_prototypes_are_rated_by_what_silencing_sets_to_nothing(write_checkpoint: WriteCheckpoint) -> None:
    """By Taylor: of the transposed convolution, which has no normalisation, the channels go that change no loss."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n-seg"))
    settings = PruneSettings(budget=Budget(macs=0.7), importance="taylor", method="uniform", size_hw=(64, 64))

    def differentiate(model: nn.Module) -> Iterator[None]:
        loss = model.get_parameter("model.22.proto.upsample.weight")[:, 32:].square().sum()
        for parameter in model.parameters():
            loss = loss + 0.0 * parameter.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        yield

    plan = plan_pruning(checkpoint, settings, differentiate=differentiate)
    (kept,) = (entry.kept for entry in plan.groups if entry.group.name == "model.22.proto.upsample")

    assert len(kept) < 64
    assert set(range(32, 64)) <= set(kept)


@pytest.mark.parametrize("name", ["yolo11n", "yolov8n-obb", "yolov8n-seg"])
def test_plans_count_the_exported_graph(
    name: str, pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, nn.Module]], tmp_path: Path
) -> None:
    """Products of attention too, which grow with the square of the grid: operations at another size as well."""
    checkpoint, plan, model = pruned_of(name)
    save_checkpoint(model, tmp_path / "pruned.pt", checkpoint)
    parent, pruned = (
        open_model(export_onnx(path, tmp_path / f"{path.stem}.onnx", shape_hw=(64, 64)))
        for path in (checkpoint.path, tmp_path / "pruned.pt")
    )

    cost = plan.costs["macs"]
    assert count_graph(pruned, (64, 64)).macs == cost.planned
    assert count_graph(parent, (64, 64)).macs == cost.reference
    assert count_graph(pruned, (160, 320)).macs == complexity(model, (160, 320)).macs


@pytest.mark.parametrize("name", ATTENTIVE)
def test_attention_is_kept(name: str, pruned_of: Callable[[str], tuple[Any, PruningPlan, Any]]) -> None:
    """No channel inside an attention block goes."""
    from ultralytics.nn.modules.block import Attention

    checkpoint, _, model = pruned_of(name)
    pairs = [
        (before, after)
        for before, after in zip(checkpoint.model.modules(), model.modules(), strict=True)
        if isinstance(before, Attention)
    ]

    assert pairs
    for before, after in pairs:
        assert after.qkv.conv.weight.shape == before.qkv.conv.weight.shape
        assert after.proj.conv.weight.shape == before.proj.conv.weight.shape


@pytest.mark.parametrize("name", networks("yolov10n", "yolo26n", "yolo26n-obb", "yolo26n-seg"))
def test_both_heads_get_the_same_widths(name: str, pruned_of: Callable[[str], tuple[Any, PruningPlan, Any]]) -> None:
    """The one-to-one head, a copy of the one-to-many head, is narrowed alike."""
    _, _, model = pruned_of(name)
    head = model.model[-1]

    branches = [branch for branch in ("cv2", "cv3", "cv4") if hasattr(head, branch)]

    assert len(branches) == (3 if name.endswith(("-obb", "-seg")) else 2)
    for many, one in ((getattr(head, branch), getattr(head, f"one2one_{branch}")) for branch in branches):
        assert [p.shape for p in many.parameters()] == [p.shape for p in one.parameters()]
    assert head.cv3[0][0][1].conv.out_channels < 80 or head.cv2[0][0].conv.out_channels < 64


@pytest.mark.parametrize(("neck", "outputs_fixed", "inside_fixed"), [("whole", True, True), ("outputs", True, False)])
@pytest.mark.parametrize("name", networks("yolov8n", "yolo11n"))
def test_the_neck_is_left_alone_as_asked(
    name: str, neck: Neck, outputs_fixed: bool, inside_fixed: bool, write_checkpoint: WriteCheckpoint
) -> None:
    """`whole` touches nothing that the neck writes, `outputs` only what stays inside its layers."""
    checkpoint = load_checkpoint(write_checkpoint(name))
    settings = PruneSettings(budget=Budget(params=0.75), neck=neck, method="uniform", size_hw=(64, 64))
    model: Any = apply_plan(checkpoint, plan_pruning(checkpoint, settings))
    original: Any = checkpoint.model
    neck_layers = range(len(original.yaml["backbone"]), len(original.model) - 1)
    blocks = [(original.model[i], model.model[i]) for i in neck_layers if hasattr(original.model[i], "cv2")]

    same_outputs = all(a.cv2.conv.out_channels == b.cv2.conv.out_channels for a, b in blocks)
    same_inside = all(a.cv1.conv.out_channels == b.cv1.conv.out_channels for a, b in blocks)

    assert (same_outputs, same_inside) == (outputs_fixed, inside_fixed)


def test_a_plan_replays_on_a_fresh_parent(
    pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, Any]], write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """A plan read from its file gives the same weights; planning again gives the same plan."""
    checkpoint, plan, model = pruned_of("yolo11n")
    plan.write(tmp_path / "plan.json")
    fresh = load_checkpoint(write_checkpoint("yolo11n"))
    replayed = apply_plan(fresh, PruningPlan.read(tmp_path / "plan.json"))

    assert all(torch.equal(a, b) for a, b in zip(replayed.state_dict().values(), _values(model), strict=True))
    assert plan_pruning(fresh, plan.settings) == plan
    assert checkpoint.sha256 == fresh.sha256


def _values(model: nn.Module) -> Iterator[torch.Tensor]:
    return iter(model.state_dict().values())


def test_a_plan_of_another_checkpoint_is_refused(
    pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, Any]], write_checkpoint: WriteCheckpoint
) -> None:
    """The hash of the parent is part of the plan."""
    _, plan, _ = pruned_of("yolo11n")

    with pytest.raises(ConfigError, match="the plan was made for"):
        apply_plan(load_checkpoint(write_checkpoint("yolov8n")), plan)


def test_mixed_up_channels_are_found(pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, Any]]) -> None:
    """A model cut at other channels of one single group has the planned widths but not the silenced outputs."""
    checkpoint, plan, _ = pruned_of("yolov8n")
    index = next(i for i, entry in enumerate(plan.groups) if len(entry.kept) * 2 <= entry.group.channels)
    entry = plan.groups[index]
    others = tuple(range(entry.group.channels))
    shifted = tuple(sorted(set(others) - set(entry.kept)))[: len(entry.kept)]
    wrong = entry.model_copy(update={"kept": shifted})
    tampered = plan.model_copy(update={"groups": (*plan.groups[:index], wrong, *plan.groups[index + 1 :])})

    with pytest.raises(ModelError, match="differ by"):
        ensure_equivalent(apply_plan(checkpoint, tampered), silenced_parent(checkpoint, plan))


def test_a_skipped_layer_is_found(pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, Any]]) -> None:
    """A plan that forgets one member of a group is refused, whatever torch would make of it."""
    checkpoint, plan, _ = pruned_of("yolov8n")
    index = next(i for i, entry in enumerate(plan.groups) if len(entry.kept) < entry.group.channels)
    entry = plan.groups[index]
    kept = tuple(member for member in entry.group.members if not member.layer.endswith(".bn"))
    wrong = entry.model_copy(update={"group": entry.group.model_copy(update={"members": kept})})
    tampered = plan.model_copy(update={"groups": (*plan.groups[:index], wrong, *plan.groups[index + 1 :])})

    with pytest.raises(ModelError):
        apply_plan(checkpoint, tampered)


def test_a_structure_is_traced_once(pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, nn.Module]]) -> None:
    """Other weights in a known structure need no second trace (it would not fit into this time), other widths do."""
    checkpoint, _, pruned = pruned_of("yolov8n")
    known, changed = copy.deepcopy(checkpoint.model), copy.deepcopy(pruned)
    known.get_parameter("model.0.conv.weight").data.zero_()
    split_blocks(known)
    split_blocks(changed)

    assert len(known_groups(known, timeout_s=0.01, memory_gib=4.0)) == 59
    with pytest.raises(ModelError, match="took over"):
        known_groups(changed, timeout_s=0.01, memory_gib=4.0)


@pytest.mark.parametrize("limits", [{"timeout_s": 0.2}, {"memory_gib": 0.001}])
def test_tracing_ends_at_its_limits(limits: dict[str, float], write_checkpoint: WriteCheckpoint) -> None:
    """A network that takes too long or too much memory to trace is an error, not a hang."""
    model = copy.deepcopy(load_checkpoint(write_checkpoint("yolov8n")).model)
    split_blocks(model)

    with pytest.raises(ModelError, match=r"traced within|took over"):
        trace_groups(model, **limits)


def test_waiting_for_a_processor_is_no_loop() -> None:
    """On a busy machine tracing takes long by the clock."""
    waiting = "import sys, time; time.sleep(2); sys.exit('done')"
    assert tracing._run([sys.executable, "-c", waiting], {}, limit_s=1.0) == (1, "done\n")


def test_tracing_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses nothing of a processor, so that this limits nothing."""
    monkeypatch.setattr(tracing, "_STILL_S", 1.0)
    with pytest.raises(ModelError, match="stood still for 1 s"):
        tracing._run(["sleep", "600"], dict(os.environ), limit_s=100.0)


def test_an_infeasible_budget_shows_the_frontier(write_checkpoint: WriteCheckpoint) -> None:
    """A budget below the narrowest network is refused with what can be reached."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n"))
    settings = PruneSettings(budget=Budget(params=0.4), neck="whole", head=False)

    with pytest.raises(ConfigError, match="cannot be reached") as refusal:
        plan_pruning(checkpoint, settings)

    assert len(refusal.value.problems) > 3
    assert "params 100.0%, macs 100.0%" in refusal.value.problems[1]
    assert "params 5" in refusal.value.problems[-1]


def test_what_the_score_calls_precious_is_kept(write_checkpoint: WriteCheckpoint) -> None:
    """Groups whose silencing ruins the score keep their widths, and the curves that say so are in the plan."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n"))
    before = {name: bn.weight.detach().clone() for name, bn in _precious(checkpoint.model)}

    def score(model: nn.Module) -> float:
        return 0.8 if all(torch.equal(bn.weight, before[name]) for name, bn in _precious(model)) else 0.1

    settings = PruneSettings(budget=Budget(macs=0.6), neck="free", size_hw=(64, 64), probes=(0.5,))
    plan = plan_pruning(checkpoint, settings, score)
    kept = {entry.group.name: len(entry.kept) / entry.group.channels for entry in plan.groups}

    assert plan.parent_score == 0.8
    assert plan.sensitivity["model.7.conv"] == ((0.5, 0.1),)
    assert plan.sensitivity["model.5.conv"] == ((0.5, 0.8),)
    assert kept["model.7.conv"] == kept["model.19.conv"] == 1.0
    assert sum(kept.values()) < 0.9 * len(kept)


def _precious(model: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    found = [(name, model.get_submodule(name)) for name in ("model.7.bn", "model.19.bn")]
    return [(name, layer) for name, layer in found if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.alone  # it measures
def test_a_budget_of_measured_latency_is_kept(write_checkpoint: WriteCheckpoint) -> None:
    """The engine's table knows every convolution of a network with depthwise layers, and a plan keeps its budget."""
    checkpoint = load_checkpoint(write_checkpoint("yolov10n"))
    model = copy.deepcopy(checkpoint.model)
    split_blocks(model)
    bench = OpenvinoBench(seconds=0.001, threads=1)
    table = measure_latency(survey_convolutions(model), (64, 64), bench, points=2)
    settings = PruneSettings(budget=Budget(latency=0.95), neck="free", size_hw=(64, 64))
    plan = plan_pruning(checkpoint, settings, latency=table)

    assert plan.costs["latency"].reference > 0.0
    assert plan.costs["latency"].share <= 0.95
    assert plan.costs["macs"].share < 1.0
    with pytest.raises(ConfigError, match="latency table"):
        plan_pruning(checkpoint, settings)


def fake_table(convolutions: Sequence[Convolution], float_ms: float, int8_ms: float) -> LatencyTable:
    """Return the table of a target on which a convolution takes a microsecond for each pair of channels."""

    class Target:
        target = "invented"

        def least_ms(self, kind: ConvolutionKind, channels_in: int, channels_out: int) -> float:
            return channels_in * channels_out / 1e3

    table = measure_latency(convolutions, (64, 64), Target(), points=2)
    return with_network(table, convolutions, float_ms=float_ms, int8_ms=int8_ms)


@pytest.mark.parametrize(
    ("budget", "most_ms"), [(Budget(latency_ms=6.0), 6.0), (Budget(speedup=5.0), 4.0), (Budget(latency=0.7), 7.0)]
)
def test_a_budget_of_time_is_of_the_targets_milliseconds(
    budget: Budget, most_ms: float, write_checkpoint: WriteCheckpoint
) -> None:
    """Absolute, as a multiple of the float parent's speed (20 ms), or as a share of its time in INT8 (10 ms)."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n"))
    model = copy.deepcopy(checkpoint.model)
    split_blocks(model)
    table = fake_table(survey_convolutions(model), float_ms=20.0, int8_ms=10.0)
    settings = PruneSettings(budget=budget, neck="free", size_hw=(64, 64))

    plan = plan_pruning(checkpoint, settings, latency=table)

    cost = plan.costs["latency"]
    assert cost.reference == pytest.approx(10.0)
    assert cost.allowed == pytest.approx(most_ms)
    assert 0.8 * most_ms < cost.planned <= most_ms


def test_a_time_that_cannot_be_reached_is_refused_in_milliseconds(write_checkpoint: WriteCheckpoint) -> None:
    """With the frontier of what can."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n"))
    model = copy.deepcopy(checkpoint.model)
    split_blocks(model)
    table = fake_table(survey_convolutions(model), float_ms=20.0, int8_ms=10.0)

    with pytest.raises(ConfigError, match=r"budget: found 0.01 ms, which cannot be reached") as refused:
        plan_pruning(checkpoint, PruneSettings(budget=Budget(latency_ms=0.01), size_hw=(64, 64)), latency=table)

    assert "latency 100.0%, 10 ms" in str(refused.value)


def test_gradients_decide_for_taylor(write_checkpoint: WriteCheckpoint) -> None:
    """Channels of no influence on the loss go first; without data to differentiate on the criterion is refused."""
    checkpoint = load_checkpoint(write_checkpoint("yolov8n"))
    settings = PruneSettings(budget=Budget(macs=0.7), importance="taylor", method="uniform", size_hw=(64, 64))

    def differentiate(model: nn.Module) -> Iterator[None]:
        loss = torch.zeros(())
        for name, layer in model.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                upper = layer.weight[layer.num_features // 2 :] if name == "model.7.bn" else layer.weight
                loss = loss + upper.sum() + 0.0 * (layer.weight.sum() + layer.bias.sum())
        loss.backward()  # type: ignore[no-untyped-call]
        yield

    plan = plan_pruning(checkpoint, settings, differentiate=differentiate)
    (kept,) = (entry.kept for entry in plan.groups if entry.group.name == "model.7.conv")

    assert len(kept) < 256
    assert set(range(128, 256)) <= set(kept)
    assert all(parameter.grad is None for parameter in checkpoint.model.parameters())
    with pytest.raises(ConfigError, match="taylor"):
        plan_pruning(checkpoint, settings)


def test_shares_may_refer_to_the_first_parent(pruned_of: Callable[[str], tuple[Checkpoint, PruningPlan, Any]]) -> None:
    """The second step of a progressive pruning keeps its budget as a share of the original network."""
    checkpoint, plan, model = pruned_of("yolov8n")
    smaller = replace(checkpoint, model=model)
    reference = {kind: cost.reference for kind, cost in plan.costs.items()}
    settings = plan.settings.model_copy(update={"budget": Budget(macs=0.4), "method": "uniform"})
    second = plan_pruning(smaller, settings, reference=reference)

    assert second.costs["macs"].reference == plan.costs["macs"].reference
    assert 0.37 < second.costs["macs"].share <= 0.4
    assert complexity(apply_plan(smaller, second), (64, 64)) == second.complexity


def test_the_time_of_a_transposed_convolution_is_found() -> None:
    """Among the engine's own times of its layers, where it has another name than a convolution."""
    kind = ConvolutionKind(kernel_hw=(2, 2), stride=2, depthwise=False, grid_hw=(64, 64), transposed=True)

    assert OpenvinoBench(seconds=0.001, threads=1).least_ms(kind, 128, 128) > 0
