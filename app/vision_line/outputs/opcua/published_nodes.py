# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients find: `VisionLine` with results, variables of cameras, events. Ids are texts that never change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asyncua import Node, Server, ua
from asyncua.common.event_objects import BaseEvent
from asyncua.server.event_generator import EventGenerator

from vision_line.outputs.cursor import JournalName
from vision_line.outputs.notification import ALARM, Notification
from vision_line.outputs.opcua.inspection_results import InspectionResult, ResultEvaluation, said_at
from vision_line.outputs.opcua.result_types import ResultTypes

URI = "urn:vision-line:outputs"
ROOT = "VisionLine"
_TEXT, _NUMBER, _MOMENT = ua.VariantType.String, ua.VariantType.UInt64, ua.VariantType.DateTime
_SEVERITY = {ResultEvaluation.OK: 100, ResultEvaluation.NOT_DECIDABLE: 500, ResultEvaluation.NOT_OK: 700}
_PLAIN_SEVERITY = 300
#: What every event of ours has beside what its type has; `Content` is the message as JSON.
_FIELDS = {"Id": _TEXT, "Number": _NUMBER, "Kind": _TEXT, "Camera": _TEXT, "Content": _TEXT}
#: What those of results have as well, for clients that read no structures.
_RESULT_FIELDS = {
    "Verdict": _TEXT,
    "EvaluationCode": ua.VariantType.Int64,
    "ClassName": _TEXT,
    "Lane": _TEXT,
    "PartId": _TEXT,
    "Lot": _TEXT,
}


@dataclass(slots=True)
class _CameraNodes:
    """A camera's variables, the intervals of it that are open, and what was set last of what time alone changes."""

    variables: dict[str, ua.NodeId]
    open: dict[str, tuple[str, float]] = field(default_factory=dict)
    ticked: tuple[float, str] | None = None


class PublishedNodes:
    """The nodes of one server. Values are gathered, and written by `flush`, so that nothing changes too often."""

    def __init__(self, server: Server, types: ResultTypes, index: int, kinds: list[str]) -> None:
        self._server = server
        self._types = types
        self._index = index
        self._kinds = kinds
        self._cameras: dict[str, _CameraNodes] = {}
        self._results: dict[str, ua.NodeId] = {}
        self._changed: dict[str, InspectionResult] = {}  # the newest of each source, with the next `flush`
        self._lanes: dict[str, Node] = {}
        self._pending: dict[ua.NodeId, ua.DataValue] = {}
        self._flushing = asyncio.Lock()
        self.latest: InspectionResult | None = None

    async def build(self, methods: dict[str, Callable[..., Awaitable[object]]]) -> None:
        """Make everything that does not depend on cameras; `methods` are called by their name."""
        objects = self._server.get_objects_node()
        self._root = await self._object(objects, ROOT, ROOT)
        self._camera_folder = await self._folder(self._root, f"{ROOT}/Cameras", self._own("Cameras"))
        management = await self._management()
        self._result_folder = await self._folder(
            management, f"{ROOT}/ResultManagement/Results", self._types.name("Results")
        )
        await self._methods(management, methods)
        self._line = {
            name: await self._variable(self._root, f"{ROOT}/{name}", name, kind)
            for name, kind in {
                "Heartbeat": ua.VariantType.UInt32,
                "LineAliveTime": _MOMENT,
                "CertificateExpires": _MOMENT,
                "LastNumber": _NUMBER,
                **dict.fromkeys(_LAST_NUMBERS.values(), _NUMBER),
            }.items()
        }
        self._result_event = await self._event_type(
            "VisionResultEventType", self._types.event, _FIELDS | _RESULT_FIELDS
        )
        base = ua.NodeId(ua.ObjectIds.BaseEventType)
        self._message_event = await self._event_type("VisionMessageEventType", base, _FIELDS)

    async def _management(self) -> Node:
        """Make the object by hand: the library would give the children of its type ids that a restart changes."""
        name = self._types.name("ResultManagement")
        item = ua.AddNodesItem(
            ParentNodeId=self._root.nodeid,
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HasComponent),
            RequestedNewNodeId=self._id(f"{ROOT}/ResultManagement"),
            BrowseName=name,
            NodeClass=ua.NodeClass.Object,
            NodeAttributes=ua.ObjectAttributes(DisplayName=ua.LocalizedText(name.Name)),
            TypeDefinition=self._types.management,
        )
        (made,) = await self._server.iserver.isession.add_nodes([item])
        made.StatusCode.check()
        return self._server.get_node(made.AddedNodeId)

    async def _methods(self, management: Node, methods: dict[str, Callable[..., Awaitable[object]]]) -> None:
        texts, handles = ua.NodeId(ua.ObjectIds.String), ua.NodeId(ua.ObjectIds.UInt32)
        integers = ua.NodeId(ua.ObjectIds.Int32)
        found = [
            argument("resultHandle", handles),
            argument("result", self._types.data),
            argument("error", integers),
        ]
        arguments = {
            "GetLatestResult": ([argument("timeout", integers)], found),
            "GetResultById": ([argument("resultId", texts), argument("timeout", integers)], found),
            "ReleaseResultHandle": ([argument("resultHandle", handles)], [argument("error", integers)]),
        }
        for name, (inputs, outputs) in arguments.items():
            path = f"{ROOT}/ResultManagement/{name}"
            await management.add_method(self._id(path), self._types.name(name), methods[name], inputs, outputs)

    async def add_method(
        self,
        name: str,
        call: Callable[..., Awaitable[object]],
        inputs: list[ua.Argument],
        outputs: list[ua.Argument],
    ) -> None:
        """Make a method of the line."""
        await self._root.add_method(self._id(f"{ROOT}/{name}"), self._own(name), call, inputs, outputs)

    async def _event_type(self, name: str, base: ua.NodeId, fields: dict[str, ua.VariantType]) -> EventGenerator:
        node = await self._server.get_node(base).add_object_type(self._id(name), self._own(name))
        for key, kind in fields.items():
            empty = ua.Variant(_empty(kind), kind)
            made = await node.add_property(self._id(f"{name}/{key}"), self._own(key), empty, kind)
            await made.set_modelling_rule(True)
        generator = await self._server.get_event_generator(node, self._root)
        # Clients that know only the server's own object get its events too.
        await self._server.get_node(ua.ObjectIds.Server).add_reference(self._root, ua.ObjectIds.HasNotifier)
        return generator

    async def raise_result(self, result: InspectionResult) -> None:
        """Raise the event of a result, and show it as the newest of its source."""
        if self.is_heard:
            await self._raise(result)
        self.latest = self._changed[result.source] = result
        if result.said.camera is not None:
            await self.show(result.said.camera, "LastVerdict", result.verdict, result.at)

    @property
    def is_heard(self) -> bool:
        """Whether anybody subscribes to anything: an event that nobody can hear need not be made."""
        return bool(self._server.iserver.subscription_service.subscriptions)

    async def _raise(self, result: InspectionResult) -> None:
        content = result.said.as_json(time.time()).decode()
        value = self._types.value(result, content)
        event = self._result_event.event
        self._fill(event, result.said, content)
        event.Result = value
        for path, (kind, found) in _meta_fields(value.ResultMetaData).items():
            event.add_variable(path, found, kind)
        event.Verdict, event.EvaluationCode = result.verdict, result.code
        event.ClassName, event.Lane = result.said.class_name or "", result.said.lane or ""
        event.PartId, event.Lot = result.part_id, result.lot
        event.SourceName = result.source
        event.Severity = _SEVERITY.get(result.evaluation, _PLAIN_SEVERITY)
        await self._trigger(self._result_event, result.at, f"{result.source}: {result.details}")

    async def raise_message(self, said: Notification) -> None:
        """Raise the event of what is no result."""
        if not self.is_heard:
            return
        event = self._message_event.event
        self._fill(event, said, said.as_json(time.time()).decode())
        event.SourceName = said.camera or said.lane or ROOT
        event.Severity = _PLAIN_SEVERITY
        await self._trigger(self._message_event, said_at(said), f"{event.SourceName}: {said.kind}")

    @staticmethod
    def _fill(event: BaseEvent, said: Notification, content: str) -> None:
        event.Id, event.Number, event.Kind = said.id, said.number, said.kind
        event.Camera, event.Content = said.camera or "", content

    async def _trigger(self, generator: EventGenerator, at: datetime, message: str) -> None:
        """Raise an event for who subscribes to our object, and for who subscribes to the server's."""
        generator.event.emitting_node = self._root.nodeid
        await generator.trigger(time_attr=at.astimezone(UTC), message=message)
        generator.event.emitting_node = ua.NodeId(ua.ObjectIds.Server)
        await self._server.iserver.subscription_service.trigger_event(generator.event)

    async def _show(self, result: InspectionResult) -> None:
        """Have the newest result of its source written."""
        value = self._types.value(result, result.said.as_json(time.time()).decode())
        if result.source not in self._results:
            path = f"{ROOT}/ResultManagement/Results/{result.source}"
            node = await self._result_folder.add_variable(
                self._id(path), self._own(result.source), value, datatype=self._types.data
            )
            self._results[result.source] = node.nodeid
        self.set(self._results[result.source], ua.Variant(value), result.at)

    async def show(self, camera: str, name: str, value: object, at: datetime) -> None:
        """Set a camera's variable; one that the output does not ask for is not there, and would never change."""
        variables = (await self._camera(camera)).variables
        if name in variables:
            self.set(variables[name], ua.Variant(value, _CAMERA_VARIABLES[name][1]), at)

    async def show_state(self, said: Notification) -> None:
        """Set a camera's state."""
        if said.camera is not None:
            await self.show(said.camera, "State", str(said.content.get("state") or ""), said_at(said))

    async def show_interval(self, said: Notification) -> None:
        """Take note of an interval that began or ended."""
        if said.camera is None:
            return
        nodes = await self._camera(said.camera)
        key = str(said.content.get("interval_id") or said.content.get("key"))
        if said.content.get("withdrawn") or said.content.get("ended_utc") is not None:
            nodes.open.pop(key, None)
        else:
            nodes.open[key] = (str(said.content.get("cause") or ""), _began(said))

    async def clear_intervals(self) -> None:
        """Forget which intervals are open: they are said anew."""
        for nodes in self._cameras.values():
            nodes.open.clear()

    async def tick(self, now_utc: float) -> None:
        """Set what changes with time alone."""
        now = datetime.fromtimestamp(now_utc, UTC)
        for camera, nodes in self._cameras.items():
            cause, began_utc = min(nodes.open.values(), key=lambda one: one[1], default=("", now_utc))
            seconds = round(max(0.0, now_utc - began_utc), 1)
            if nodes.ticked != (seconds, cause):
                nodes.ticked = seconds, cause
                await self.show(camera, "NotInspectedSeconds", seconds, now)
                await self.show(camera, "NotInspectedCause", cause, now)

    def set_line(self, name: str, value: object, at: datetime, status: int = ua.StatusCodes.Good) -> None:
        """Set a variable of the line."""
        kind = ua.VariantType.UInt32 if name == "Heartbeat" else _NUMBER if name.endswith("Number") else _MOMENT
        self.set(self._line[name].nodeid, ua.Variant(value, kind), at, status)

    def set(self, node: ua.NodeId, value: ua.Variant, at: datetime, status: int = ua.StatusCodes.Good) -> None:
        """Have a value written with the next `flush`; `at` is its source's time."""
        self._pending[node] = ua.DataValue(
            value,
            ua.StatusCode(status),
            SourceTimestamp=at.astimezone(UTC),
            ServerTimestamp=datetime.now(UTC),
        )

    async def flush(self) -> None:
        """Write what changed; all of it is written when this returns, whoever began."""
        async with self._flushing:
            changed, self._changed = self._changed, {}
            for result in changed.values():
                await self._show(result)
            pending, self._pending = self._pending, {}
            for node, value in pending.items():
                await self._server.write_attribute_value(node, value)

    async def _camera(self, name: str) -> _CameraNodes:
        if name not in self._cameras:
            path = f"{ROOT}/Cameras/{name}"
            folder = await self._object(self._camera_folder, path, name)
            self._cameras[name] = _CameraNodes(
                {
                    variable: (await self._variable(folder, f"{path}/{variable}", variable, kind)).nodeid
                    for variable, (needs, kind) in _CAMERA_VARIABLES.items()
                    if needs & set(self._kinds)
                }
            )
        return self._cameras[name]

    async def line_variable(self, name: str, lane: str | None) -> ua.NodeId:
        """Make a text of the line, or of a lane."""
        parent, path = self._root, ROOT
        if lane is not None:
            parent, path = await self._lane(lane), f"{ROOT}/Lanes/{lane}"
        return (await self._variable(parent, f"{path}/{name}", name, _TEXT)).nodeid

    async def _lane(self, name: str) -> Node:
        if not self._lanes:
            self._lane_folder = await self._folder(self._root, f"{ROOT}/Lanes", self._own("Lanes"))
        if name not in self._lanes:
            self._lanes[name] = await self._object(self._lane_folder, f"{ROOT}/Lanes/{name}", name)
        return self._lanes[name]

    async def _object(self, parent: Node, path: str, name: str) -> Node:
        return await parent.add_object(self._id(path), self._own(name))

    async def _folder(self, parent: Node, path: str, name: ua.QualifiedName) -> Node:
        return await parent.add_folder(self._id(path), name)

    async def _variable(self, parent: Node, path: str, name: str, kind: ua.VariantType) -> Node:
        return await parent.add_variable(self._id(path), self._own(name), ua.Variant(_empty(kind), kind))

    def _id(self, path: str) -> ua.NodeId:
        return ua.NodeId(path, self._index)

    def _own(self, name: str) -> ua.QualifiedName:
        return ua.QualifiedName(name, self._index)


#: A camera's variables, each with the kinds of messages that it lives on.
_CAMERA_VARIABLES = {
    "State": (frozenset({"state"}), _TEXT),
    "LastVerdict": (frozenset({"event"}), _TEXT),
    "NotInspectedSeconds": (frozenset({"interval"}), ua.VariantType.Double),
    "NotInspectedCause": (frozenset({"interval"}), _TEXT),
}


#: Where the newest number of each journal is, which rises by itself alone; that of the records is `LastNumber`.
_LAST_NUMBERS = {JournalName.PARTS: "LastPartNumber", JournalName.REVIEWS: "LastReviewNumber"}


def last_number(said: Notification) -> str | None:
    """Return which variable of the line a message's number is for, None: it has none. Pure."""
    if said.kind == ALARM:
        return None
    begin = said.id.partition(":")[0]
    return next((name for journal, name in _LAST_NUMBERS.items() if journal == begin), "LastNumber")


def _meta_fields(meta: ua.ResultMetaDataType) -> dict[str, tuple[ua.VariantType, object]]:
    """Return what clients may select of a result's meta data by its path, with its type."""
    path = "Result/ResultMetaData"
    return {
        path: (ua.VariantType.ExtensionObject, meta),
        f"{path}/ResultId": (_TEXT, meta.ResultId),
        f"{path}/IsPartial": (ua.VariantType.Boolean, meta.IsPartial),
        f"{path}/IsSimulated": (ua.VariantType.Boolean, meta.IsSimulated),
        f"{path}/PartId": (_TEXT, meta.PartId),
        f"{path}/JobId": (_TEXT, meta.JobId),
        f"{path}/CreationTime": (_MOMENT, meta.CreationTime),
        f"{path}/ResultEvaluation": (ua.VariantType.Int32, int(meta.ResultEvaluation)),
        f"{path}/ResultEvaluationCode": (ua.VariantType.Int64, meta.ResultEvaluationCode),
    }


def _empty(kind: ua.VariantType) -> object:
    """Return what a variable of a kind is before it is set."""
    return {_TEXT: "", _MOMENT: datetime.fromtimestamp(0, UTC), ua.VariantType.Double: 0.0}.get(kind, 0)


def argument(name: str, kind: ua.NodeId) -> ua.Argument:
    """Return a method's argument of one value."""
    return ua.Argument(Name=name, DataType=kind, ValueRank=-1)


def _began(said: Notification) -> float:
    try:
        return datetime.fromisoformat(str(said.content.get("started_utc"))).timestamp()
    except ValueError:
        return said.at_utc
