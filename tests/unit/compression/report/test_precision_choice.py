# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 or float16: what a run's report says of both variants."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from vision_line.devices.model.bundle import WHOLLY_FLOAT16
from vision_line.devices.model.model import Model, open_model
from vision_line.errors import ConfigError
from vision_line_compression.engines.precision import find_origin
from vision_line_compression.report.card import REPORT_FILE, ReportCard, ReportRow, RowKind

FLOAT = b"the float file"


@pytest.fixture
def model() -> Model:
    """Return a model that is INT8 and in a bundle, which has no variant in float16 alone."""
    shipped = open_model(None)
    others = tuple(variant for variant in shipped.gpu_variants if variant.name != WHOLLY_FLOAT16)
    return replace(shipped, gpu_variants=others)


def measured_on(row: ReportRow, sha256: str) -> ReportRow:
    """Return the row as if it was measured on the file with this hash."""
    assert row.evaluation is not None
    measured = row.evaluation.model.model_copy(update={"sha256": sha256})
    return row.model_copy(update={"evaluation": row.evaluation.model_copy(update={"model": measured})})


def run_folder(folder: Path, card: ReportCard, model: Model) -> Path:
    """Write what a run leaves: the report about `model`, and the float file; return the bundle's folder."""
    hashes = {card.product: model.sha256, RowKind.DISTILLED: hashlib.sha256(FLOAT).hexdigest()}
    rows = [measured_on(row, hashes[row.kind]) if row.kind in hashes else row for row in card.rows]
    (folder / "export-distilled").mkdir()
    (folder / "export-distilled" / "model.fp32.onnx").write_bytes(FLOAT)
    card.model_copy(update={"rows": tuple(rows)}).write(folder / REPORT_FILE)
    return folder / "bundle"


def limited(card: ReportCard, drop: float) -> ReportCard:
    """Return the card of a recipe whose only accuracy gate is this drop of mAP50-95, in points."""
    gates = [gate for gate in card.gates if gate.name in ("params_ratio", "map50_95_drop")]
    changed = [gate.model_copy(update={"limit": drop}) if gate.name == "map50_95_drop" else gate for gate in gates]
    return card.model_copy(update={"gates": tuple(changed)})


def test_both_variants_are_evaluated_by_the_report_beside_the_bundle(
    card: ReportCard, model: Model, tmp_path: Path
) -> None:
    """INT8 by its row, float16 by the float model that was quantized, each against the better parent."""
    bundle = run_folder(tmp_path, limited(card, 0.5), model)

    origin = find_origin(bundle, model, None, None)

    assert origin.float_onnx == tmp_path / "export-distilled" / "model.fp32.onnx"
    assert (origin.int8.passed, origin.float16.passed) == (False, True)
    assert origin.int8.by == "the report's row 'INT8, MSE' did not pass map50_95_drop"
    assert origin.float16.by == "the report's row 'Distilled' passed the accuracy gates"


def test_the_float16_variant_of_the_bundle_is_evaluated_as_it(card: ReportCard, model: Model, tmp_path: Path) -> None:
    """Its lineage names the file that was measured."""
    bundle = run_folder(tmp_path, limited(card, 2.0), model)
    assert model.bundle is not None
    lineage = model.bundle.lineage | {"half_of_sha256": model.sha256}
    half = replace(model, sha256="0" * 64, bundle=model.bundle.model_copy(update={"lineage": lineage}))

    assert find_origin(bundle, half, None, None).int8.passed is True
    assert find_origin(bundle, replace(half, bundle=None), None, None).int8.passed is None


def test_what_is_not_in_the_report_is_unknown(card: ReportCard, model: Model, tmp_path: Path) -> None:
    """No report, a report about another model, and another float file."""
    nothing = find_origin(tmp_path / "bundle", model, None, None)
    bundle = run_folder(tmp_path, card, model)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"another")

    assert (nothing.float_onnx, nothing.int8.passed, nothing.float16.passed) == (None, None, None)
    assert "is about another model" in find_origin(bundle, replace(model, sha256="0" * 64), None, None).int8.by
    named = find_origin(bundle, model, other, tmp_path / REPORT_FILE)
    assert (named.float_onnx, named.float16.passed) == (other, None)
    assert named.int8.passed is not None
    with pytest.raises(ConfigError, match=r"missing\.json: cannot be read"):
        find_origin(bundle, model, None, tmp_path / "missing.json")
