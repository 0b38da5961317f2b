# SPDX-License-Identifier: AGPL-3.0-or-later
"""Mixed precision: finds the few parts of a network that should stay float, by what each gains on validation images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import Field

from vision_line_compression.files import Document, FrozenModel
from vision_line_compression.quantize.settings import QuantizeReport

#: Score of the model quantized with these names in `keep_float`; higher is better.
Score = Callable[[tuple[str, ...]], float]

_BLOCK = re.compile(r"^/?model\.\d+(?=/)")


class MixedPrecisionSettings(FrozenModel):
    """How far a search goes."""

    tolerance: float = Field(default=0.002, ge=0.0)
    """Loss against the float model, in units of the score, that needs no part in float."""
    most_protected: int = Field(default=4, ge=0)
    """Most parts that may stay float."""
    most_probed: int = Field(default=12, ge=0)
    """Most parts that are tried alone: those first that bring the outputs closest to the float model's."""
    least_gain: float = Field(default=0.002, ge=0.0)
    """A part that gains less is not worth its time."""


class Trial(FrozenModel):
    """What keeping one part float gains."""

    part: str
    """Name for `keep_float`."""
    score: float
    """Score with this part alone in float."""
    gain: float
    """The same, less the score with all parts quantized."""


class MixedPrecision(Document):
    """The outcome of a search, as `protection.json` keeps it."""

    keep_float: tuple[str, ...]
    """Parts to keep float."""
    score: float
    """Score with them."""
    unprotected_score: float
    """Score with all parts quantized."""
    float_score: float
    """Score of the float model."""
    probes: tuple[Trial, ...]
    """The parts tried, best first."""


def rank_parts(report: QuantizeReport) -> tuple[str, ...]:
    """Return the blocks `/model.N` (or single convolutions of other graphs) that were quantized, noisiest first.

    A block's noise is that of its worst tensor: the least SQNR of its activations and weights.
    """
    worst: dict[str, float] = {}
    quantized = {_part(name) for name in report.quantized}
    activations = ((entry.tensor, entry.sqnr_db) for entry in report.ranges)
    for name, sqnr_db in (*activations, *report.weight_sqnr_db.items()):
        part = _part(name)
        if part in quantized:
            worst[part] = min(sqnr_db, worst.get(part, sqnr_db))
    return tuple(sorted(worst, key=lambda part: (worst[part], part)))


def rank_by_closeness(parts: Sequence[str], closeness: Score) -> tuple[str, ...]:
    """Return `parts` in the order of how close the outputs come to the float model's with each alone kept float.

    `closeness` is any measure without labels that grows with the likeness, as `compare_outputs` on a few images. It
    costs one call a part, far less than a score, and unlike `rank_parts` it sees what a part's noise does behind it.
    """
    found = {part: closeness((part,)) for part in parts}
    return tuple(sorted(found, key=found.__getitem__, reverse=True))


def search_mixed_precision(
    parts: Sequence[str], score: Score, float_score: float, settings: MixedPrecisionSettings
) -> MixedPrecision:
    """Keep parts float until the score is within the tolerance of `float_score`.

    Each of the first `most_probed` parts is tried alone; then, in the order of their gain, parts are added and
    kept if the score rises by `least_gain`. At most 1 + most_probed + most_probed calls of `score`.
    """
    unprotected = score(())
    if float_score - unprotected <= settings.tolerance or not settings.most_protected:
        return _outcome((), unprotected, unprotected, float_score, ())
    trials = _try_alone(parts[: settings.most_probed], score, unprotected)
    kept: tuple[str, ...] = ()
    best = unprotected
    for trial in trials:
        within = float_score - best <= settings.tolerance
        if within or len(kept) == settings.most_protected or trial.gain < settings.least_gain:
            break
        found = trial.score if not kept else score((*kept, trial.part))
        if found - best >= settings.least_gain:
            kept, best = (*kept, trial.part), found
    return _outcome(kept, best, unprotected, float_score, trials)


def narrow_mixed_precision(
    found: MixedPrecision, members: Mapping[str, Sequence[str]], score: Score, settings: MixedPrecisionSettings
) -> MixedPrecision:
    """Replace each kept part by the one of its convolutions that does as well alone: the others may be fast again.

    Args:
        found: the outcome of `search_mixed_precision`.
        members: the quantized convolutions of each part.
        score: as of the search; called once for each convolution of a kept part.
        settings: a convolution does as well if the score falls by less than `least_gain`.
    """
    kept, best = found.keep_float, found.score
    for part in found.keep_float:
        alone = members.get(part, ())
        if len(alone) < 2:
            continue
        others = tuple(name for name in kept if name != part)
        scores = {name: score((*others, name)) for name in alone}
        winner = max(scores, key=scores.__getitem__)
        if scores[winner] > best - settings.least_gain:
            kept, best = (*others, winner), scores[winner]
    return found.model_copy(update={"keep_float": kept, "score": best})


def parts_of(report: QuantizeReport) -> dict[str, tuple[str, ...]]:
    """Return the quantized convolutions of each part of `rank_parts`."""
    members: dict[str, tuple[str, ...]] = {}
    for name in report.quantized:
        members[_part(name)] = (*members.get(_part(name), ()), name)
    return members


def _try_alone(parts: Iterable[str], score: Score, unprotected: float) -> tuple[Trial, ...]:
    scores = {part: score((part,)) for part in parts}
    trials = [Trial(part=part, score=value, gain=value - unprotected) for part, value in scores.items()]
    return tuple(sorted(trials, key=lambda trial: (-trial.gain, trial.part)))


def _outcome(
    kept: tuple[str, ...], score: float, unprotected: float, float_score: float, trials: tuple[Trial, ...]
) -> MixedPrecision:
    return MixedPrecision(
        keep_float=kept, score=score, unprotected_score=unprotected, float_score=float_score, probes=trials
    )


def _part(name: str) -> str:
    found = _BLOCK.match(name)
    return found.group() if found else name
