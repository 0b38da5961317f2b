# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said on `lanes.sock`: framed as the feed is, docs/outputs/lanes.md explains each key. Pure.

Every message of a client is answered once, in order: with what its kind says, or `refused`. Beside the answers a client
that follows gets a `decision` for each part.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from vision_line.errors import ConfigError
from vision_line.feed.protocol import Header, Limits
from vision_line.lanes.plc_door import PartDecision, Trigger

#: Name of the socket in the record directory.
LANES_SOCKET = "lanes.sock"
#: What either side takes at most.
LANES_LIMITS = Limits(header=1 << 18, payload=0)
#: Stands for every lane.
EVERY_LANE = "*"

_Seconds = Annotated[StrictFloat | StrictInt, Field(allow_inf_nan=False)]
_Count = Annotated[StrictInt, Field(ge=0, lt=2**32)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PartRequest(_Request):
    """A part begins to pass a lane; the answer is `taken`, with its `sequence`.

    `at_s` is when, by the monotonic clock, which is the same for all processes of a machine; None: now.
    """

    kind: Literal["part"]
    lane: StrictStr
    at_s: _Seconds | None = None
    number: _Count | None = None
    part_id: StrictStr = ""
    lot: StrictStr | None = None
    recipe: StrictStr | None = None
    encoder: _Count | None = None

    def trigger(self, now_s: float) -> Trigger:
        """Return it as lanes take it."""
        at_s = now_s if self.at_s is None else float(self.at_s)
        return Trigger(
            self.lane, at_s, self.number, self.part_id, lot=self.lot, recipe=self.recipe, encoder=self.encoder
        )


class EncoderRequest(_Request):
    """The belt's count, of 32 bits, at a moment; the answer is `noted`."""

    kind: Literal["encoder"]
    lane: StrictStr
    count: _Count
    at_s: _Seconds | None = None


class EnableRequest(_Request):
    """Have a lane decide, or divert everything; the answer is `noted`."""

    kind: Literal["enable"]
    lane: StrictStr
    is_enabled: StrictBool


class CountedRequest(_Request):
    """What the machine counted since its start, each modulo 65536; the answer is `noted`."""

    kind: Literal["counted"]
    lane: StrictStr
    parts: _Count
    rejects: _Count


class FollowRequest(_Request):
    """Be sent the decisions of these lanes, `*` of all, from now on; the answer is `noted`."""

    kind: Literal["follow"]
    lanes: tuple[StrictStr, ...]


class StatusRequest(_Request):
    """How the lanes are; the answer is `status`."""

    kind: Literal["status"]


LaneRequest = Annotated[
    PartRequest | EncoderRequest | EnableRequest | CountedRequest | FollowRequest | StatusRequest,
    Field(discriminator="kind"),
]
_READER: TypeAdapter[LaneRequest] = TypeAdapter(LaneRequest)


def read_request(header: Header) -> LaneRequest:
    """Return what a client asks.

    Raises:
        ConfigError: it is no such message; in words.
    """
    try:
        return _READER.validate_python(header)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{ascii(place)[1:-1]}: {first['msg']}") from None


def decision_message(decision: PartDecision) -> Header:
    """Return a decision as followers are sent it."""
    return {
        "kind": "decision",
        "lane": decision.lane,
        "sequence": decision.sequence,
        "number": decision.trigger.number,
        "part_id": decision.trigger.part_id,
        "verdict": decision.verdict,
        "cause": decision.cause,
        "class": decision.class_name,
        "score": decision.score,
        "triggered_s": decision.trigger.at_s,
        "decided_s": decision.decided_s,
        "deadline_s": decision.deadline_s,
    }
