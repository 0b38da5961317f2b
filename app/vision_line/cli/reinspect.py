# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line reinspect`: what another model would find in recorded clips and images, before anybody swaps it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from vision_line import __version__
from vision_line.cli.progress import progress_bar
from vision_line.devices.model.failed_gates import check_gates_passed
from vision_line.devices.model.model import Model, open_model
from vision_line.errors import ConfigError, RunError
from vision_line.output_files import write_output
from vision_line.records.formats import iso_utc, spreadsheet_text
from vision_line.records.query import Selection
from vision_line.records.schema import FILE_NAME, no_records
from vision_line.reinspection.computation import computation_here
from vision_line.reinspection.footage import FootageKind, Reinspected
from vision_line.reinspection.outcome import (
    ChangedFinding,
    KindCounts,
    ModelIdentity,
    NotReinspected,
    Outcome,
    PeopleSay,
    ReviewedAs,
    all_changes,
    count,
)
from vision_line.reinspection.recorded_footage import recorded_footage
from vision_line.reinspection.same_things import ChangeKind
from vision_line.reinspection.shard_runs import InspectingModel, Workers, one_after_the_other, reinspect
from vision_line.reviews import reviews_file
from vision_line.reviews.answer_journal import answers_by_item
from vision_line.reviews.settled_answers import SettledItem

_SHOWN = 40
_NAMES = {
    FootageKind.CLIP: ("clips", "events"),
    FootageKind.EVENT: ("images of events", "events"),
    FootageKind.NEAR_MISS: ("images of near misses", "near misses"),
    FootageKind.AUDIT: ("audited frames", "detections"),
}
#: What matters most comes first: what is lost, then what is judged otherwise, then what is new.
_ORDER = (ChangeKind.LOST, ChangeKind.CLASS, ChangeKind.VERDICT, ChangeKind.GAINED)
_ESCAPES_FIRST = (ReviewedAs.DEFECT, ReviewedAs.UNCLEAR, ReviewedAs.NOT_REVIEWED, ReviewedAs.NO_DEFECT)


@dataclass(frozen=True, slots=True)
class ReinspectOptions:
    """The command line; `before` is the model that inspects the same recordings for comparison."""

    record: Path
    model: Path
    before: Path | None
    device: str
    output: Path
    allow_failed_gates: bool
    wanted: Selection


def reinspect_records(options: ReinspectOptions, workers: Workers = one_after_the_other) -> None:
    """Inspect what is recorded, write `changes.json` and `changes.csv`, and say what would change.

    Raises:
        ConfigError: no records, nothing in them to inspect, or a model that cannot be used.
        VisionLineError: nothing could be inspected.
    """
    if not (options.record / FILE_NAME).is_file():
        raise ConfigError(no_records(options.record, "--record"))
    after = _opened(options, options.model)
    before = None if options.before is None else _opened(options, options.before)
    footage = recorded_footage(options.record, options.wanted)
    if not footage:
        raise ConfigError(f"--record {options.record}: expected clips or images in it, found none of that time")
    kept = options.output / "results"
    kept.mkdir(parents=True, exist_ok=True)

    def inspected(by: InspectingModel) -> dict[str, Reinspected]:
        with progress_bar(f"Inspecting with {by.model.name}") as progress:
            return reinspect(options.record, footage, by, kept, workers, progress)

    found = inspected(after)
    if all(one.problem for one in found.values()):
        raise RunError(f"nothing could be inspected: {next(iter(found.values())).problem}")
    found_before = None if before is None else inspected(before)
    outcome = Outcome(
        version=__version__,
        after=_identity(after.model),
        before=None if before is None else _identity(before.model),
        counts=count(footage, found),
        counts_before={} if found_before is None else count(footage, found_before),
        changes=tuple(sorted(all_changes(footage, found, found_before, _people(options.record)), key=_urgency)),
        not_inspected=tuple(
            NotReinspected(footage=one.kind, id=one.id, why=found[one.id].problem)
            for one in footage
            if found[one.id].problem
        ),
    )
    write_output(options.output / "changes.json", outcome.model_dump_json(indent=1))
    write_output(options.output / "changes.csv", _csv(outcome.changes))
    for line in _lines(outcome):
        typer.echo(line)
    typer.echo(f"{options.output}: changes.json, changes.csv")


def _opened(options: ReinspectOptions, path: Path) -> InspectingModel:
    model = open_model(path)
    check_gates_passed(model, allowed=options.allow_failed_gates)
    computation = computation_here(path, options.device)
    return InspectingModel(path, model, options.device, computation, options.allow_failed_gates)


def _identity(model: Model) -> ModelIdentity:
    return ModelIdentity(
        name=model.name, sha256=model.sha256, score_threshold=model.score_threshold, nms_iou=model.nms_iou
    )


def _people(record: Path) -> PeopleSay:
    """Return what says what people settled on."""
    answers: dict[str, SettledItem] = {}
    with reviews_file.reading(record) as connection:
        if connection is not None:
            for key, own in answers_by_item(connection):
                answers[key] = SettledItem.of(own)
    return answers.get


def _urgency(change: ChangedFinding) -> tuple[bool, int, int, str, float]:
    return (
        bool(change.is_circumstance),
        _ORDER.index(change.kind),
        _ESCAPES_FIRST.index(change.reviewed_as),
        change.camera,
        change.at_utc,
    )


def _csv(changes: Sequence[ChangedFinding]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(ChangedFinding.model_fields)
    for change in changes:
        row = change.model_dump(mode="json") | {"at_utc": iso_utc(change.at_utc)}
        writer.writerow([spreadsheet_text(value) if isinstance(value, str) else value for value in row.values()])
    return text.getvalue()


def _lines(outcome: Outcome) -> Iterator[str]:
    yield f"{_named(outcome.after)} on what the line recorded:"
    yield from _counted(outcome.counts)
    if outcome.before is not None:
        yield f"{_named(outcome.before)} on the same recordings:"
        yield from _counted(outcome.counts_before)
    else:
        yield "(without --before it is not known what of this is due to the recordings: docs/reinspect.md)"
    lost = [change for change in outcome.changes if change.kind is ChangeKind.LOST and not change.is_circumstance]
    if lost:
        called = Counter(change.reviewed_as for change in lost)
        yield (
            f"of {len(lost)} lost, people called {called[ReviewedAs.DEFECT]} a defect, {called[ReviewedAs.NO_DEFECT]}"
            f" none; of {called[ReviewedAs.UNCLEAR]} it is unclear, {called[ReviewedAs.NOT_REVIEWED]} were not reviewed"
        )
    for change in outcome.changes[:_SHOWN]:
        yield _line(change)
    if (more := len(outcome.changes) - _SHOWN) > 0:
        yield f"  and {more} more in changes.csv"
    for one in outcome.not_inspected[:_SHOWN]:
        yield f"not inspected: {one.footage} {one.id}: {one.why}"
    if (more := len(outcome.not_inspected) - _SHOWN) > 0:
        yield f"not inspected: {more} more, in changes.json"


def _named(model: ModelIdentity) -> str:
    thresholds = f"score {model.score_threshold:g}, NMS IoU {model.nms_iou:g}"
    return f"model {model.name} {model.sha256[:12]} ({thresholds})"


def _counted(counts: dict[FootageKind, KindCounts]) -> Iterator[str]:
    for kind, own in counts.items():
        recordings, things = _NAMES[kind]
        lacking = f", {own.not_inspected} not" if own.not_inspected else ""
        yield (
            f"  {own.inspected} {recordings} inspected{lacking}: {things} the same {own.same}, with another verdict"
            f" {own.verdict}, of another class {own.other_class}, lost {own.lost}, gained {own.gained}"
        )


def _line(change: ChangedFinding) -> str:
    was = " ".join(filter(None, (change.class_before, change.verdict_before, _score(change.score_before))))
    is_ = " ".join(filter(None, (change.class_after, change.verdict_after, _score(change.score_after))))
    people = f"; people: {change.people}" if change.people else ""
    circumstance = "; so with the model from before" if change.is_circumstance else ""
    what = " -> ".join(filter(None, (was, is_)))
    return f"  {change.kind:8} {change.camera} {iso_utc(change.at_utc)} {what}{people}{circumstance} ({change.key})"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"
