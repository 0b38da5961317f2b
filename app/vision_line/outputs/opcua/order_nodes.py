# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which lot and which recipe were asked for last: everywhere, and at each lane that had one of its own."""

from __future__ import annotations

from collections.abc import Mapping

from asyncua import ua

from vision_line.outputs.cursor import JournalName
from vision_line.outputs.notification import Notification
from vision_line.outputs.opcua.inspection_results import said_at
from vision_line.outputs.opcua.published_nodes import PublishedNodes
from vision_line.parts.orders import LOT, RECIPE

#: The variables, by the kind of messages that each lives on.
_VARIABLES: Mapping[str, str] = {LOT: "CurrentLot", RECIPE: "CurrentRecipe"}


class OrderNodes:
    """The variables of one server; one is there once its kind was asked for."""

    def __init__(self, nodes: PublishedNodes) -> None:
        self._nodes = nodes
        self._newest: dict[tuple[str, str | None], Notification] = {}
        self._variables: dict[tuple[str, str | None], ua.NodeId] = {}

    async def show(self, said: Notification) -> None:
        """Take note of what was asked for; what is no lot and no recipe is passed over, and so is what is older."""
        place = (said.kind, said.lane)
        known = self._newest.get(place)
        if said.kind not in _VARIABLES or (known is not None and known.number > said.number):
            return
        self._newest[place] = said
        if place not in self._variables:
            self._variables[place] = await self._nodes.line_variable(_VARIABLES[said.kind], said.lane)
        for kind, lane in self._variables:
            if kind == said.kind and said.lane in {lane, None}:
                self._set(kind, lane)

    def clear(self, journal: str) -> None:
        """Forget what was asked for in a journal that another one took the place of; its numbers begin anew."""
        if journal == JournalName.PARTS:
            self._newest.clear()

    def _set(self, kind: str, lane: str | None) -> None:
        """Set what counts: the newest one, which one for everywhere is too."""
        found = (self._newest.get((kind, place)) for place in (lane, None))
        newest = max((one for one in found if one is not None), key=lambda one: one.number)
        value = ua.Variant(str(newest.content[kind]), ua.VariantType.String)
        self._nodes.set(self._variables[kind, lane], value, said_at(newest))
