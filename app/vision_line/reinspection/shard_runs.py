# SPDX-License-Identifier: AGPL-3.0-or-later
"""All shards, what is done already left out: each result is kept under the hash of what it depends on.

A recording that could not be inspected is not done: the disk may have been full, or a network drive away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vision_line import __version__
from vision_line.devices.model.model import Model
from vision_line.errors import RunError
from vision_line.output_files import write_output
from vision_line.ports import ProgressCallback
from vision_line.reinspection.footage import Recording, Reinspected
from vision_line.reinspection.model_fingerprint import ModelFingerprint
from vision_line.reinspection.shard import Shard, ShardResult
from vision_line.reinspection.shard_process import in_process

#: So much is inspected by one process: it opens the model once, and a result is not lost later than that.
SHARD_FOOTAGE = 24

#: Inspects shards, in any order, and yields each with its result, or with why there is none.
Workers = Callable[[Sequence[Shard]], Iterator[tuple[Shard, ShardResult | RunError]]]


@dataclass(frozen=True, slots=True)
class InspectingModel:
    """A model that inspects recordings; `path` None is the shipped one, the rest as in a shard."""

    path: Path | None
    model: Model
    device: str
    computation: str
    allow_failed_gates: bool


def one_after_the_other(shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult | RunError]]:
    """Inspect on this machine: one process at a time uses all of it."""
    for shard in shards:
        try:
            yield shard, in_process(shard)
        except RunError as exc:
            yield shard, exc


def reinspect(
    directory: Path,
    footage: Sequence[Recording],
    by: InspectingModel,
    kept: Path,
    workers: Workers,
    progress: ProgressCallback,
) -> dict[str, Reinspected]:
    """Return what the model finds in each footage, by its id; results are kept in the folder `kept`.

    What has a problem is tried again by the next call, and so is a shard whose process fails.

    Raises:
        RunError: a result cannot be kept.
    """
    found: dict[str, Reinspected] = {}
    waiting = list[Shard]()
    of_key: dict[str, Shard] = {}  # the whole shard, of which one that waits is what is left
    for whole in _shards(directory, footage, by):
        found |= _kept(kept, whole)
        if left := tuple(one for one in whole.footage if one.id not in found):
            waiting.append(whole.model_copy(update={"footage": left}))
            of_key[waiting[-1].key] = whole
    progress(len(found), len(footage))
    for shard, result in workers(waiting):
        if isinstance(result, RunError):
            why = " ".join(str(result).splitlines())
            found |= {one.id: Reinspected(id=one.id, problem=why) for one in shard.footage}
        else:
            found |= {one.id: one for one in result.found}
            _keep(kept, of_key[shard.key], found)
        progress(len(found), len(footage))
    return found


def _shards(directory: Path, footage: Sequence[Recording], by: InspectingModel) -> Iterator[Shard]:
    for begin in range(0, len(footage), SHARD_FOOTAGE):
        yield Shard(
            directory=directory.absolute(),
            model=None if by.path is None else by.path.absolute(),
            fingerprint=ModelFingerprint.of(by.model),
            version=__version__,
            device=by.device,
            computation=by.computation,
            allow_failed_gates=by.allow_failed_gates,
            footage=tuple(footage[begin : begin + SHARD_FOOTAGE]),
        )


def _kept(folder: Path, shard: Shard) -> dict[str, Reinspected]:
    """Return what is kept of a shard, by its id: what was inspected whole."""
    try:
        known = ShardResult.model_validate_json((folder / f"{shard.key}.json").read_bytes())
    except (OSError, ValidationError):  # not there, of another version, or not whole: inspected again
        return {}
    return {one.id: one for one in known.found if not one.problem}


def _keep(folder: Path, shard: Shard, found: Mapping[str, Reinspected]) -> None:
    whole = tuple(found[one.id] for one in shard.footage if not found[one.id].problem)
    if whole:
        write_output(folder / f"{shard.key}.json", ShardResult(found=whole).model_dump_json())
