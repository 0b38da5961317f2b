# SPDX-License-Identifier: AGPL-3.0-or-later
"""The placement rules on a network that holds every pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.errors import ModelError
from vision_line_compression.quantize.graph import Graph, open_graph
from vision_line_compression.quantize.qdq_placement import Placement, last_convolutions, plan_placement
from vision_line_compression.quantize.settings import QuantizeSettings


@pytest.fixture
def graph(yolo: Path) -> Graph:
    return open_graph(yolo)


def group_of(placement: Placement, tensor: str) -> tuple[str, ...]:
    return next(group for group in placement.groups if tensor in group)


def test_the_head_is_found_by_structure(graph: Graph) -> None:
    """Behind the last convolutions comes none but the DFL, which is one of them."""
    assert {node.name for node in last_convolutions(graph)} == {"head/cv2.2", "head/cv3.2", "head/dfl"}


def test_head_and_narrow_stem_stay_float(graph: Graph) -> None:
    """Each with its reason; everything else is quantized."""
    placement = plan_placement(graph, QuantizeSettings())

    assert placement.kept_float == {
        "model.0/conv": "fewer than 16 channels",
        "head/cv2.2": "the head's output",
        "head/cv3.2": "the head's output",
        "head/dfl": "the head's output",
    }
    assert len(placement.convolutions) == 7


def test_pairs_stand_at_the_sources_of_carriers(graph: Graph) -> None:
    """Split, concat, pooling and resizing read quantized tensors, so no pair stands behind them."""
    placement = plan_placement(graph, QuantizeSettings())
    paired = {tensor for group in placement.groups for tensor in group}

    assert placement.edges["model.2/split", 0] == "model.1/mul_out0"
    assert placement.edges["model.3/pool", 0] == "model.2/cv2/mul_out0"
    assert placement.edges["model.4", 0] == "model.3/cv2/mul_out0"
    assert ("model.2/cv2/conv", 0) not in placement.edges
    assert not [name for name in paired if "concat" in name or "split" in name or "pool" in name]


def test_what_meets_in_a_concatenation_shares_a_scale(graph: Graph) -> None:
    """The block's input and its sum; the stem and the upsampled neck; nothing else."""
    placement = plan_placement(graph, QuantizeSettings())

    assert set(group_of(placement, "model.1/mul_out0")) == {"model.1/mul_out0", "model.2/add_out0"}
    assert set(group_of(placement, "model.0/mul_out0")) == {"model.0/mul_out0", "model.3/cv2/mul_out0"}
    assert group_of(placement, "model.6/mul_out0") == ("model.6/mul_out0",)


def test_a_residual_reads_its_skip_quantized_and_the_convolution_float(graph: Graph) -> None:
    """Through the split, whose input has the pair; the inner block's output has none."""
    placement = plan_placement(graph, QuantizeSettings())

    assert "model.2/m/mul_out0" not in placement.edges.values()
    assert ("model.2/add", 1) not in placement.edges


def test_a_skip_with_its_own_pair_is_rewired(graph: Graph) -> None:
    """Without shared scales the split's output has a pair itself, and the addition reads it."""
    placement = plan_placement(graph, QuantizeSettings(share_scales=False))

    assert placement.edges["model.2/add", 0] == "model.2/split_out1"
    assert ("model.2/add", 1) not in placement.edges
    assert all(len(group) == 1 for group in placement.groups)


def test_a_protected_part_stays_float(graph: Graph) -> None:
    """A prefix names all convolutions below it, and only whole parts of names count."""
    placement = plan_placement(graph, QuantizeSettings(keep_float=("model.2",)))

    assert placement.kept_float["model.2/m/conv"] == "named in keep_float"
    assert placement.kept_float["model.2/cv2/conv"] == "named in keep_float"
    assert "model.3/cv2/conv" in placement.convolutions
    with pytest.raises(ModelError, match=r"keep_float.*'model\.2/c'"):
        plan_placement(graph, QuantizeSettings(keep_float=("model.2/c",)))


def test_a_carrier_with_a_float_reader_keeps_its_input_float(graph: Graph) -> None:
    """The protected inner convolution reads the split, so the pairs move behind the split; scales stay shared."""
    placement = plan_placement(graph, QuantizeSettings(keep_float=("model.2/m",)))

    assert ("model.2/split", 0) not in placement.edges
    assert placement.edges["model.2/concat", 0] == "model.2/split_out0"
    assert {"model.2/split_out0", "model.2/split_out1"} <= set(group_of(placement, "model.2/add_out0"))


def test_a_dead_input_leaves_its_reader_float(graph: Graph) -> None:
    """There is no range to quantize with; a group with one live member is quantized."""
    placement = plan_placement(graph, QuantizeSettings(), frozenset({"model.6/mul_out0", "model.2/add_out0"}))

    assert placement.kept_float["head/cv2.0/conv"] == "its input was zero throughout calibration"
    assert "model.2/cv2/conv" in placement.convolutions


def test_outputs_are_quantized_only_where_asked(graph: Graph) -> None:
    """Each quantized convolution's output then has a pair that its activation reads twice."""
    placement = plan_placement(graph, QuantizeSettings(quantize_outputs=True))

    assert placement.edges["model.1/sigmoid", 0] == "model.1/conv_out0"
    assert placement.edges["model.1/mul", 0] == "model.1/conv_out0"
    assert ("model.0/mul", 0) not in placement.edges


def test_nothing_to_quantize_is_an_error(graph: Graph) -> None:
    """A model that would stay float entirely is refused."""
    with pytest.raises(ModelError, match="nothing to quantize"):
        plan_placement(graph, QuantizeSettings(keep_float=("model.1", "model.2", "model.3", "model.6", "head")))
