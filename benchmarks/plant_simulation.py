# SPDX-License-Identifier: AGPL-3.0-or-later
"""A simulation of a plant, no measurement: 1000 cameras on ten boxes, of which one and then two are lost.

Decoders and engines take the times that the capacity model calculates from published constants; cameras, network and
store are played. Scheduler, mailboxes, ledger, and the protocol and planner of the fleet are the product's own, in
virtual time: the same seed gives the same plant on any machine. docs/capacity.md says what this shows and what not.
Run: python -m benchmarks.plant_simulation [--cameras N] [--boxes N] [--lost N ...] [--lost-at S] [--until S] [--seed N]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.plant_world import Plant, PlantWorld, PlayedPlant, ages_by_second
from benchmarks.rounds import Report, percentile
from vision_line.capacity.constants import Codec
from vision_line.capacity.estimate import Scenario
from vision_line.capacity.gpus import find_gpu
from vision_line.frames import DropCause
from vision_line.inspection.coverage.causes import NODE_LOST

BOX = Scenario(find_gpu("L4"), 100, Codec.H264, (1920, 1080), 25.0, inspect_fps=5.0)
#: The 99th percentile that is aimed at.
P99_S = 0.180
#: The time before the loss that is called steady.
STEADY_S = 10.0


@dataclass(frozen=True, slots=True)
class Ages:
    """How old frames were when their results were there, in seconds, and how many there were a second."""

    mean_s: float
    p50_s: float
    p99_s: float
    worst_s: float
    per_second: float


def ages_between(played: PlayedPlant, from_s: float, until_s: float) -> Ages:
    """Return the ages of the results of a time."""
    ages = [age_s for at_s, age_s in played.results if from_s <= at_s < until_s]
    return Ages(
        sum(ages) / len(ages), percentile(ages, 0.5), percentile(ages, 0.99), max(ages), len(ages) / (until_s - from_s)
    )


def late_until_s(played: PlayedPlant) -> float:
    """Return how long after the loss a second was the last whose 99th percentile was above the limit; 0: none was."""
    late = [
        second + 1 - played.lost_s
        for second, ages in ages_by_second(played.results).items()
        if second + 1 > played.lost_s and percentile(ages, 0.99) > P99_S
    ]
    return max(0.0, *late) if late else 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss of boxes cost, in camera seconds."""

    ledger_lost_s: float  # `node:lost` in the ledgers of the boxes that live
    expected_lost_s: float  # from each box's last heartbeat until its camera was another one's
    ledger_whole_s: float  # all that these ledgers say of lost cameras, until they were inspected
    true_whole_s: float  # from the last inspection of each camera to the first one elsewhere
    others_s: float  # what they say of cameras that were not lost, from then on
    last_back_s: float  # after the loss: when the last camera was inspected again
    mean_back_s: float


def loss_of(played: PlayedPlant) -> Loss:
    """Compare what the ledgers say of a loss with what became of the cameras.

    Raises:
        ValueError: a lost camera was not inspected again.
    """
    names = {one.name for one in played.lost}
    expected, whole, back = list[float](), list[float](), list[float]()
    for one in played.lost:
        if one.opened_s is None or one.inspected_s is None:
            raise ValueError(f"{one.name} was lost, and is inspected nowhere until {played.plant.until_s:g} s")
        expected.append(one.opened_s - one.said_s)
        whole.append(one.inspected_s - one.last_inspected_s)
        back.append(one.inspected_s - played.lost_s)
    lost, all_lost, others = 0.0, 0.0, 0.0
    for interval in played.intervals:
        ended_s = played.plant.until_s if interval.ended_s is None else interval.ended_s
        if interval.camera not in names:
            others += max(0.0, ended_s - max(interval.started_s, played.lost_s))
        elif ended_s > played.lost_s:
            all_lost += ended_s - interval.started_s
            lost += ended_s - interval.started_s if interval.cause == NODE_LOST else 0.0
    return Loss(lost, sum(expected), all_lost, sum(whole), others, max(back), sum(back) / len(back))


def add(report: Report, played: PlayedPlant) -> None:
    """Add the row of a plant."""
    plant = played.plant
    steady = ages_between(played, played.lost_s - STEADY_S, played.lost_s)
    after = ages_between(played, played.lost_s, plant.until_s)
    settled = ages_between(played, plant.until_s - STEADY_S, plant.until_s)
    row: dict[str, object] = {"simulation of": f"{plant.cameras} cameras, {plant.boxes} boxes, {plant.lost} lost"}
    row |= {f"before: {name}": value for name, value in _shown(steady).items()}
    row |= {f"from the loss on: {name}": value for name, value in _shown(after).items()}
    row |= {f"in the end: {name}": value for name, value in _shown(settled).items()}
    row["p99 above 180 ms, s after the loss"] = f"{late_until_s(played):.1f}"
    row["cameras inspected in the end"] = f"{played.inspected} of {plant.cameras}"
    row["other cameras moved"] = played.moved
    for cause in (DropCause.SUPERSEDED, DropCause.STALE, DropCause.BEHIND):
        row[f"dropped: {cause}"] = played.drops.get(cause, 0)
    row |= _of_loss(played)
    report.add(**row)


def _of_loss(played: PlayedPlant) -> dict[str, object]:
    names = (
        "cameras lost",
        "of the leader too",
        "inspected again, mean / last, s after",
        "node:lost in the ledger, camera s",
        "cameras x take-over time, camera s",
        "not inspected, ledger / true, camera s",
        "other cameras not inspected, s",
    )
    if not played.lost:
        return dict.fromkeys(names, "-")
    loss = loss_of(played)
    values = (
        len(played.lost),
        "yes" if played.lost_leader else "no",
        f"{loss.mean_back_s:.1f} / {loss.last_back_s:.1f}",
        f"{loss.ledger_lost_s:.1f}",
        f"{loss.expected_lost_s:.1f} ({loss.ledger_lost_s / loss.expected_lost_s - 1:+.1%})",
        f"{loss.ledger_whole_s:.1f} / {loss.true_whole_s:.1f} ({loss.ledger_whole_s / loss.true_whole_s - 1:+.1%})",
        f"{loss.others_s:.1f}",
    )
    return dict(zip(names, values, strict=True))


def _shown(ages: Ages) -> dict[str, str]:
    return {
        "mean, p50, p99, worst in ms": " / ".join(
            f"{value * 1e3:.1f}" for value in (ages.mean_s, ages.p50_s, ages.p99_s, ages.worst_s)
        ),
        "inspections/s": f"{ages.per_second:.0f}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Play and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plant_simulation", description=__doc__)
    parser.add_argument("--cameras", type=int, default=1000)
    parser.add_argument("--boxes", type=int, default=10)
    parser.add_argument("--lost", type=int, nargs="+", default=[1, 2], help="boxes that are lost, a run for each")
    parser.add_argument("--lost-at", type=float, default=20.0, help="virtual seconds")
    parser.add_argument("--until", type=float, default=50.0, help="virtual seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    facts: dict[str, object] = {
        "what": "a SIMULATION with published constants; no GPU and no network was used",
        "aims": "mean at most 60 ms, p99 at most 180 ms, and again within 30 s of a loss",
    }
    report = Report("plant_simulation", facts=facts)
    for lost in options.lost:
        plant = Plant(BOX, options.cameras, options.boxes, lost, options.lost_at, options.until, options.seed)
        add(report, PlantWorld(plant).play())
    report.publish()


if __name__ == "__main__":
    main()
