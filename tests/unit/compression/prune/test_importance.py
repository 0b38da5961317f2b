# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importance, silencing and sensitivity on a network small enough to compute by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vision_line.errors import ModelError
from vision_line_compression.prune.channels import kept_channels, rate_channels, silenced
from vision_line_compression.prune.groups import ChannelGroup, ChannelUnit, Member
from vision_line_compression.prune.sensitivity import (
    lowest_channels,
    measure_sensitivity,
    measured_loss,
    rated_loss,
    summed_loss,
)

CHANNELS = 4


class Pair(nn.Module):
    """Convolution, normalisation and a convolution that reads the channels twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, CHANNELS, 1, bias=False)
        self.bn = nn.BatchNorm2d(CHANNELS)
        self.second = nn.Conv2d(2 * CHANNELS, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map (n, 1, h, w) to (n, 1, h, w)."""
        features = torch.relu(self.bn(self.first(image)))
        result: torch.Tensor = self.second(torch.cat((features, features), 1))
        return result


def pair() -> Pair:
    """Return the network with known weights, in evaluation mode."""
    model = Pair().eval()
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1))
        model.second.weight.copy_(torch.tensor([1.0, 0, 0, 0, 2.0, 0, 0, 0]).reshape(1, 8, 1, 1))
        model.bn.weight.copy_(torch.tensor([-0.5, 0.1, 0.2, 0.3]))
        model.bn.bias.copy_(torch.tensor([1.0, 1.0, -1.0, 0.0]))
    return model


def one_by_one(model: nn.Module, batches: list[torch.Tensor], signs: list[float]) -> Iterator[None]:
    """Leave the gradients of one example's loss, the sum of the outputs times its sign, after another."""
    for images, sign in zip(batches, signs, strict=True):
        (sign * model(images).sum()).backward()
        yield


GROUP = ChannelGroup(
    name="first",
    channels=CHANNELS,
    members=(
        Member(layer="first", side="out", runs=((0, 0, CHANNELS),)),
        Member(layer="bn", side="out", runs=((0, 0, CHANNELS),)),
        Member(layer="second", side="in", runs=((0, 0, CHANNELS), (0, CHANNELS, CHANNELS))),
    ),
)
UNIT = ChannelUnit((GROUP,), "p3", (1, 2, 3, 4))


def test_bn_rates_by_the_absolute_scale() -> None:
    """The sign of γ does not matter."""
    rated = rate_channels(pair(), [GROUP], "bn")["first"]

    np.testing.assert_allclose(rated, [0.5, 0.1, 0.2, 0.3], rtol=1e-6)


def test_l2_sums_all_weights_that_touch_a_channel() -> None:
    """Written weights and both places where the channel is read count."""
    rated = rate_channels(pair(), [GROUP], "l2")["first"]

    np.testing.assert_allclose(rated, [math.sqrt(1 + 1 + 4), 2.0, 3.0, 4.0])


def test_taylor_is_the_squared_first_order_change_of_the_loss() -> None:
    """The root of the rating is the derivative of the loss when a channel's γ and β are scaled together."""
    model = pair()
    images = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))

    rated = rate_channels(model, [GROUP], "taylor", lambda network: one_by_one(network, [images], [1.0]))["first"]

    step = 1e-3
    for channel in range(CHANNELS):
        moved = pair()
        with torch.no_grad():
            before = float(moved(images).sum())
            moved.bn.weight[channel] *= 1 - step
            moved.bn.bias[channel] *= 1 - step
            after = float(moved(images).sum())
        assert rated[channel] ** 0.5 == pytest.approx(abs(after - before) / step, rel=1e-2, abs=1e-2)


def test_taylor_squares_each_example_by_itself() -> None:
    """Of two examples whose gradients cancel out, as those of a converged network do, neither is without importance."""
    images = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))

    def rated(*signs: float) -> NDArray[np.float64]:
        batches = [images] * len(signs)
        return rate_channels(pair(), [GROUP], "taylor", lambda model: one_by_one(model, batches, list(signs)))["first"]

    single = rated(1.0)
    assert single.max() > 0
    np.testing.assert_allclose(rated(1.0, -1.0), single, rtol=1e-6)
    np.testing.assert_allclose(rated(1.0, 3.0), 5 * single, rtol=1e-6)  # (1 + 9) / 2


@pytest.mark.parametrize("examples", [[], [None]])
def test_taylor_without_gradients_is_refused(examples: list[None]) -> None:
    """A forgotten backward pass does not rate every channel zero, nor does a set without images."""
    with pytest.raises(ModelError, match=r"gradient|no example"):
        rate_channels(pair(), [GROUP], "taylor", lambda _: examples)


def test_ties_keep_the_later_channels() -> None:
    """Equal channels are removed in their order, so that a plan can be repeated."""
    assert kept_channels(np.array([1.0, 1.0, 1.0, 0.5]), 2) == (1, 2)


def test_silenced_channels_come_back() -> None:
    """While silenced a channel has no influence; afterwards, even after an error, all is as before."""
    model = pair()
    image = torch.rand(1, 1, 4, 4)
    whole = model(image)
    bias = model.state_dict()["second.bias"]
    removed = {"first": np.array([True, False, False, False])}

    def interrupted() -> None:
        with silenced(model, [GROUP], removed):
            torch.testing.assert_close(model(image), torch.full((1, 1, 4, 4), float(bias)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(model(image), whole)


def test_probes_silence_the_least_valuable_and_restore() -> None:
    """Scores are asked for at the widths nearest to the probes, lowest channels first."""
    model = pair()
    ratings = rate_channels(model, [GROUP], "bn")
    seen: list[list[float]] = []

    def score(probed: nn.Module) -> float:
        bn = probed.get_submodule("bn")
        assert isinstance(bn, nn.BatchNorm2d)
        seen.append([round(value, 3) for value in bn.weight.tolist()])
        return 1.0

    reported: list[tuple[int, int]] = []
    curves = measure_sensitivity(
        model, [UNIT], ratings, score, (0.25, 0.5, 0.99), lambda done, total: reported.append((done, total))
    )

    assert reported == [(1, 3), (2, 3), (3, 3)]
    assert seen == [[-0.5, 0.0, 0.2, 0.3], [-0.5, 0.0, 0.0, 0.3], [-0.5, 0.0, 0.0, 0.0]]
    assert [share for share, _ in curves["first"]] == [0.75, 0.5, 0.25]
    assert model.bn.weight.tolist()[1] == pytest.approx(0.1)


def test_damage_is_the_logarithm_of_what_remains() -> None:
    """Damage is 0 for all channels, never falls as they go, and lies between measured points on a line."""
    damage = measured_loss(UNIT, ((0.75, 0.4), (0.25, 0.5)), 0.8)

    assert damage[3] == 0.0
    assert damage[2] == pytest.approx(math.log(2))
    assert damage[1] == damage[0] == pytest.approx(math.log(2))
    rated = rated_loss(UNIT, {"first": np.array([1.0, 1.0, 1.0, 1.0])})
    assert rated == pytest.approx((math.log(4), math.log(2), math.log(4 / 3), 0.0))


def test_summed_damage_compares_units() -> None:
    """A unit of a tenth of the worth is a tenth of the damage at every width; the mean unit's whole counts as 1."""
    other = ChannelUnit((GROUP.model_copy(update={"name": "other"}),), "p3", (1, 2, 3, 4))
    values = np.array([4.0, 1.0, 3.0, 2.0])
    precious, spare = summed_loss((UNIT, other), {"first": values, "other": values / 10})

    assert precious == pytest.approx(tuple(value / 5.5 for value in (6.0, 3.0, 1.0, 0.0)))
    assert spare == pytest.approx(tuple(value / 10 for value in precious))


def test_every_group_of_a_unit_loses_its_own_lowest() -> None:
    """Counts are tied, indices are not."""
    other = GROUP.model_copy(update={"name": "other"})
    unit = ChannelUnit((GROUP, other), "p3", (2, 4))
    removed = lowest_channels(unit, {"first": np.arange(4.0), "other": -np.arange(4.0)}, 2)

    assert removed["first"].tolist() == [True, True, False, False]
    assert removed["other"].tolist() == [False, False, True, True]
