# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an engine's layers compute in, read from the words of TensorRT's inspector."""

from __future__ import annotations

import json

import pytest

from vision_line.devices.tensorrt.engine_layers import (
    ComputedConvolution,
    EngineLayer,
    NumberType,
    State,
    WithoutDetailsError,
    convolutions,
    number_type,
    parse_layers,
    summary,
)
from vision_line.errors import DeviceError

INT8, HALF = (
    "Thirty-two wide channel vectorized row major Int8 format",
    "Channel major FP16 format where channel % 8 == 0",
)


def layer(nodes: str, reads: str, writes: str, kind: str = "CaskConvolution", **more: object) -> dict[str, object]:
    """Return a layer in the inspector's JSON; `nodes` are separated by spaces."""
    return {
        "Name": " + ".join(nodes.split()),
        "LayerType": kind,
        "Inputs": [{"Name": "in", "Location": "Device", "Dimensions": [32, 16, 8, 8], "Format/Datatype": reads}],
        "Outputs": [{"Name": "out", "Location": "Device", "Dimensions": [32, 16, 8, 8], "Format/Datatype": writes}],
        "Metadata": "\x1e".join(f"[ONNX Layer: {name}]" for name in nodes.split()),
        **more,
    }


def parsed(*layers: object) -> tuple[EngineLayer, ...]:
    return parse_layers(json.dumps({"Layers": layers, "Bindings": ["images", "output0"]}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (INT8, NumberType.INT8),
        ("Int8", NumberType.INT8),
        (HALF, NumberType.FP16),
        ("Half", NumberType.FP16),
        ("Row major linear FP32", NumberType.FP32),
        ("Float", NumberType.FP32),
        ("BFloat16", NumberType.OTHER),
        ("Row major Int32 format", NumberType.OTHER),
        ("UInt8", NumberType.OTHER),
        ("FP8", NumberType.FP8),
        ("Four wide channel vectorized row major INT8 format", NumberType.INT8),
        ("N/A due to dynamic shapes", NumberType.UNKNOWN),
        ("", NumberType.UNKNOWN),
    ],
)
def test_the_librarys_words_for_numbers(text: str, expected: NumberType) -> None:
    """They differ between versions; what is not understood is not guessed."""
    assert number_type(text) is expected


def test_convolutions_are_found_by_their_nodes() -> None:
    """Whatever they are fused with; a layer that only brings numbers to one does not count as its computation."""
    layers = parsed(
        layer("/model.0/conv/Conv", HALF, INT8, kind="Reformat"),
        layer("/model.0/conv/Conv /model.0/act/Sigmoid /model.0/act/Mul", INT8, INT8),
        layer("/model.1/conv/Conv", INT8, HALF),
        layer("/model.2/cv1/conv/Conv /model.2/cv2/conv/Conv", HALF, HALF),
        layer("/model.3/conv/Conv_input_QuantizeLinear", HALF, INT8, kind="PointWise"),
        layer("/model.3/conv/Conv", "N/A due to dynamic shapes", "N/A due to dynamic shapes"),
        layer("/model.4/conv/Conv /model.4/act/Mul", INT8, HALF, kind="fusion"),
    )

    found = {one.node: one.state for one in convolutions(layers)}

    assert found == {
        "/model.0/conv/Conv": State.INT8,
        "/model.1/conv/Conv": State.INT8_READ,
        "/model.2/cv1/conv/Conv": State.FLOAT,
        "/model.2/cv2/conv/Conv": State.FLOAT,
        "/model.3/conv/Conv": State.UNKNOWN,
        "/model.4/conv/Conv": State.INT8_READ,
    }


def test_a_convolution_that_no_layer_names_is_not_known() -> None:
    """It may be in something larger that bears other names: nothing is said of it."""
    layers = parsed(layer("/model.0/conv/Conv", INT8, INT8))

    found = convolutions(layers, ["/model.0/conv/Conv", "/model.9/conv/Conv"])

    assert [(one.node, one.state, one.layer) for one in found] == [
        ("/model.0/conv/Conv", State.INT8, "/model.0/conv/Conv"),
        ("/model.9/conv/Conv", State.UNKNOWN, ""),
    ]


def test_one_in_float_says_where_its_numbers_come_from() -> None:
    """The library gives no reasons; beyond what only moves numbers is what did not quantize them."""

    def chained(nodes: str, source: str, target: str, reads: str, writes: str, kind: str) -> dict[str, object]:
        found = layer(nodes, reads, writes, kind)
        return {**found, "Inputs": [{"Name": source, "Format": reads}], "Outputs": [{"Name": target, "Format": writes}]}

    layers = parsed(
        chained("/split", "images", "a", HALF, HALF, "Slice"),
        chained("moved", "a", "b", HALF, HALF, "Reformat"),
        chained("/model.1/conv/Conv", "b", "c", HALF, INT8, "CaskConvolution"),
        chained("/model.2/conv/Conv", "nowhere", "d", HALF, INT8, "CaskConvolution"),
    )

    first, second = convolutions(layers)

    assert first.why == "it reads fp16, from /split (Slice), which writes fp16"
    assert second.why == "it reads fp16, and no layer says what writes that"


def test_functions_that_a_node_came_from_are_no_part_of_its_name() -> None:
    """The parser adds them behind a bar."""
    (found,) = parsed(
        layer("x", INT8, INT8, Metadata="[ONNX Layer: /a/Conv | outer (Block)]", Weights={"Type": "Int8"})
    )

    assert found.nodes == ("/a/Conv",)
    assert found.weights is NumberType.INT8


def test_an_engine_without_details_is_said_to_be_one() -> None:
    """Built by an older version: its layers are names alone."""
    with pytest.raises(WithoutDetailsError, match="built without details"):
        parsed("conv1 + relu1", "conv2")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Layers": 3}'])
def test_what_is_no_list_of_layers_is_one_sentence(text: str) -> None:
    """Whatever another version writes."""
    with pytest.raises(DeviceError, match="layers"):
        parse_layers(text)


def test_the_summary_names_what_is_not_in_int8() -> None:
    """The first few of them; the file has all."""
    computed = [
        *(ComputedConvolution(f"a{number}", State.INT8) for number in range(3)),
        ComputedConvolution("b", State.INT8_READ),
        *(ComputedConvolution(f"c{number}", State.FLOAT) for number in range(7)),
        ComputedConvolution("d", State.UNKNOWN),
    ]

    assert summary(computed) == (
        "4 of 12 convolutions are computed in INT8; 1 of them write float; in float: c0, c1, c2, c3, c4 and 2 more; "
        "not known: d"
    )
    assert summary(computed[:3]) == "3 of 3 convolutions are computed in INT8"
