# SPDX-License-Identifier: AGPL-3.0-or-later
"""The gates that a compressed model has to pass before it may inspect anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from vision_line.errors import ConfigError, ExitCode
from vision_line_compression.evaluate.rates import binomial_rate
from vision_line_compression.evaluate.results import Evaluation, Figure, RobustnessComparison
from vision_line_compression.files import FrozenModel

#: What a model is held against, by names such as "parent" and "parent trained longer"; at least one.
Parents = Mapping[str, Evaluation]

#: What a quantized model may miss more than its float model on corrupted images where the recipe says nothing, points.
CORRUPTED_MISS_RISE = 1.0

_Ratio = Field(default=None, gt=0.0)

#: Settings in which evaluations that are compared must agree; the operating threshold is each model's own.
_SHARED = ("score_floor", "nms_iou", "max_detections", "match_ious", "images")


class GateSettings(FrozenModel):
    """The recipe's `[gates]`; a limit that is null is not checked."""

    map50_95_drop: float | None = Field(default=1.0, ge=0.0)
    """Highest drop in mAP50-95, of masks too, against the parent that has more of it, points (hundredths)."""
    map50_drop: float | None = Field(default=0.5, ge=0.0)
    """Highest drop in mAP50 against the parent that has more of it, points."""
    class_recall_drop: float | None = Field(default=3.0, ge=0.0)
    """Highest drop of a class's recall against the parent that finds more of it, at the operating threshold; points."""
    miss_rate: float | None = Field(default=None, ge=0.0, le=1.0)
    """Highest miss rate at the operating threshold and the first matching IoU."""
    miss_rate_within_parent: bool = True
    """The miss rate may not be above the exact interval of the parent that misses fewer."""
    corrupted_miss_rise: float | None = Field(default=None, ge=0.0)
    """Highest rise of the miss rate on corrupted images against the float model, points; default: 1 where measured."""
    params_ratio: float | None = _Ratio
    """Most parameters, as a share of the parent's."""
    macs_ratio: float | None = _Ratio
    """Most multiply-accumulates, as a share of the parent's."""
    onnx_ratio: float | None = _Ratio
    """Largest ONNX file, as a share of the parent's."""
    speedup: float | None = _Ratio
    """Least throughput of the network alone, as a multiple of the parent's in interleaved rounds."""


class Gate(FrozenModel):
    """One gate and how the model fared."""

    name: str
    """The key in `[gates]`."""
    limit: Figure
    """What is allowed."""
    found: Figure | None
    """What was measured; null when it was not, which fails."""
    passed: bool
    """Whether it passed."""
    detail: str = ""
    """What it was measured on, such as the worst class."""
    form: str | None = None
    """Variant of the product's file that was held against it; null: its own."""

    @property
    def title(self) -> str:
        """Return the gate's name, with the variant that it is about where that is not the product's own."""
        return self.name if self.form is None else f"{self.name} ({self.form})"


def check_comparable(candidate: Evaluation, reference: Evaluation) -> None:
    """Refuse to compare evaluations of other images or by other rules.

    Raises:
        ConfigError: naming all that differs.
    """
    pairs = {"data.sha256": (candidate.data.sha256, reference.data.sha256)}
    for key in _SHARED:
        pairs[f"settings.{key}"] = (getattr(candidate.settings, key), getattr(reference.settings, key))
    names = f"{candidate.model.name} and {reference.model.name} cannot be compared"
    problems = [
        f"{names}: {key}: {found} and {expected}" for key, (found, expected) in pairs.items() if found != expected
    ]
    if problems:
        raise ConfigError(*problems)


def check_gates(
    candidate: Evaluation, parents: Parents, settings: GateSettings, *, speedup: float | None = None
) -> tuple[Gate, ...]:
    """Hold `candidate` against `parents`, each figure against the better one; sizes are shares of the first's.

    Raises:
        ConfigError: they were evaluated on other images or by other rules.
    """
    return (
        *check_accuracy(candidate, parents, settings),
        *_size_gates(candidate, next(iter(parents.values())), settings, speedup),
    )


def check_accuracy(candidate: Evaluation, parents: Parents, settings: GateSettings) -> tuple[Gate, ...]:
    """Hold `candidate` against `parents` by the gates of what is found alone, not of sizes and speed.

    Raises:
        ConfigError: they were evaluated on other images or by other rules.
    """
    for parent in parents.values():
        check_comparable(candidate, parent)
    return (*_accuracy_gates(candidate, parents, settings), *_miss_gates(candidate, parents, settings))


def check_robustness(comparison: RobustnessComparison | None, settings: GateSettings) -> tuple[Gate, ...]:
    """Hold what a quantized model misses on corrupted images against its float model; nothing where nobody measured."""
    if comparison is None:
        return ()
    limit = CORRUPTED_MISS_RISE if settings.corrupted_miss_rise is None else settings.corrupted_miss_rise
    rise = comparison.miss_rate
    detail = (
        f"points, against its float model on {comparison.candidate.images} images, each corrupted in every way; "
        f"95 %: {100 * rise.low:.2f} to {100 * rise.high:.2f}"
    )
    return (_at_most("corrupted_miss_rise", limit, 100 * rise.value, detail),)


def most_accurate(parents: Parents, key: str) -> tuple[str, float | None]:
    """Return which parent has most of a figure of `accuracy`, and that figure; None where it was not measured."""
    name = max(parents, key=lambda name: getattr(parents[name].accuracy, key) or 0.0)
    return name, getattr(parents[name].accuracy, key)


def fewest_missed(parents: Parents) -> str:
    """Return which parent misses fewest at its operating threshold and the first matching IoU."""
    return min(parents, key=lambda name: parents[name].operating[0].missed)


def exit_code(gates: Sequence[Gate]) -> ExitCode:
    """Return DONE when all gates passed, else GATE_FAILED."""
    return ExitCode.DONE if all(gate.passed for gate in gates) else ExitCode.GATE_FAILED


def _accuracy_gates(candidate: Evaluation, parents: Parents, settings: GateSettings) -> Iterator[Gate]:
    unknown = _without_boxes(candidate)
    for name, key in (("map50_95_drop", "map50_95"), ("map50_drop", "map50")):
        limit = getattr(settings, name)
        if limit is not None:
            best, theirs = most_accurate(parents, key)
            drop = _drop(getattr(candidate.accuracy, key), theirs)
            yield _at_most(name, limit, drop, f"points, against the {best}{unknown}")
    if settings.map50_95_drop is not None and candidate.accuracy.masks is not None:
        best = max(parents, key=lambda name: _mask_map(parents[name]) or 0.0)
        drop = _drop(_mask_map(candidate), _mask_map(parents[best]))
        yield _at_most("mask_map50_95_drop", settings.map50_95_drop, drop, f"points, against the {best}{unknown}")
    if settings.class_recall_drop is not None:
        yield _class_recall_gate(candidate, parents, settings.class_recall_drop)


def _mask_map(evaluation: Evaluation) -> float | None:
    return None if evaluation.accuracy.masks is None else evaluation.accuracy.masks.map50_95


def _class_recall_gate(candidate: Evaluation, parents: Parents, limit: float) -> Gate:
    ours = candidate.operating[0].by_class
    drops: dict[str, tuple[float, str]] = {}  # of each class, against the parent that misses fewest of it
    for name, found in ours.items():
        if found.boxes:
            missed = {parent: theirs.operating[0].by_class[name].missed for parent, theirs in parents.items()}
            best = min(missed, key=missed.__getitem__)
            drops[name] = 100 * (found.missed - missed[best]) / found.boxes, best
    if not drops:
        return _at_most("class_recall_drop", limit, None, "no true boxes")
    worst = max(drops, key=lambda name: drops[name][0])
    drop, best = drops[worst]
    detail = f"points, worst class {worst}, against the {best}{_without_boxes(candidate)}"
    return _at_most("class_recall_drop", limit, drop, detail)


def _without_boxes(evaluation: Evaluation) -> str:
    """Name the classes of which no true box says anything; "" where there are none."""
    known = evaluation.operating[0].by_class
    unknown = [name for name in evaluation.data.classes if name not in known or not known[name].boxes]
    return f"; nothing is known of {', '.join(unknown)}: no true boxes" if unknown else ""


def _miss_gates(candidate: Evaluation, parents: Parents, settings: GateSettings) -> Iterator[Gate]:
    point, best = candidate.operating[0], fewest_missed(parents)
    place, reference = f"at IoU {point.match_iou:g}, score above {point.threshold:g}", parents[best].operating[0]
    if settings.miss_rate is not None:
        yield _at_most("miss_rate", settings.miss_rate, point.miss_rate.value, place)
    if settings.miss_rate_within_parent:
        detail = f"{place}; {best} {reference.missed} of {reference.boxes}"
        # exact, whatever wider interval a report shows: what is lost on the same images needs no room for others
        exact = binomial_rate(reference.missed, reference.boxes)
        yield _at_most("miss_rate_within_parent", exact.high, point.miss_rate.value, detail)


def _size_gates(
    candidate: Evaluation, parent: Evaluation, settings: GateSettings, speedup: float | None
) -> Iterator[Gate]:
    sizes = {"params_ratio": "params", "macs_ratio": "macs", "onnx_ratio": "file_bytes"}
    for name, key in sizes.items():
        limit = getattr(settings, name)
        if limit is not None:
            ours, theirs = getattr(candidate.model, key), getattr(parent.model, key)
            yield _at_most(name, limit, ours / theirs if theirs else None, f"{ours:,} of {theirs:,}")
    if settings.speedup is not None:
        passed = speedup is not None and speedup >= settings.speedup
        detail = "times the parent's throughput, the networks alone" if speedup is not None else "not measured"
        yield Gate(name="speedup", limit=settings.speedup, found=speedup, passed=passed, detail=detail)


def _at_most(name: str, limit: float, found: float | None, detail: str) -> Gate:
    return Gate(name=name, limit=limit, found=found, passed=found is not None and found <= limit, detail=detail)


def _drop(candidate: float | None, parent: float | None) -> float | None:
    return None if candidate is None or parent is None else 100 * (parent - candidate)
