# SPDX-License-Identifier: AGPL-3.0-or-later
"""The types of OPC 40001-101 (Machinery, Result Transfer), from the file that the OPC Foundation publishes.

It lies beside this module as it was published (its licence is in it). The library cannot read the examples of
structures in it, so these are left out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from xml.etree import ElementTree as Xml

from asyncua import Server, ua

from vision_line.outputs.opcua.inspection_results import InspectionResult

URI = "http://opcfoundation.org/UA/Machinery/Result/"
_FILE = Path(__file__).with_name("Opc.Ua.Machinery_Result.NodeSet2.xml")
_XML = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
_STRUCTURES = frozenset({"ResultDataType", "ResultMetaDataType", "ProcessingTimesDataType"})
_COMPLETED = 1


@dataclass(frozen=True, slots=True)
class ResultTypes:
    """Where the types are; `index` is that of their namespace."""

    index: int

    def node_id(self, number: int) -> ua.NodeId:
        """Return the id of a node of the namespace."""
        return ua.NodeId(number, self.index)

    @property
    def event(self) -> ua.NodeId:
        """`ResultReadyEventType`."""
        return self.node_id(1002)

    @property
    def management(self) -> ua.NodeId:
        """`ResultManagementType`."""
        return self.node_id(1004)

    @property
    def variable(self) -> ua.NodeId:
        """`ResultType`."""
        return self.node_id(2001)

    @property
    def data(self) -> ua.NodeId:
        """`ResultDataType`."""
        return self.node_id(3008)

    def name(self, text: str) -> ua.QualifiedName:
        """Return a browse name of the namespace."""
        return ua.QualifiedName(text, self.index)

    def value(self, result: InspectionResult, content: str) -> ua.ResultDataType:
        """Return a result as `ResultDataType`; its content is the message as JSON."""
        meta = _new(self.node_id(3007))
        meta.ResultId = result.id
        meta.HasTransferableDataOnFile = False
        meta.IsPartial = result.is_partial
        meta.IsSimulated = result.is_simulated
        meta.ResultState = _COMPLETED
        meta.StepId = result.source
        meta.PartId = result.part_id or None
        meta.JobId = result.lot or None
        meta.ExternalRecipeId = result.recipe or None
        meta.CreationTime = result.at.astimezone(UTC)
        meta.ProcessingTimes = _new(self.node_id(3006))
        meta.ProcessingTimes.StartTime = result.began.astimezone(UTC)
        meta.ProcessingTimes.EndTime = result.at.astimezone(UTC)
        meta.ResultEvaluation = ua.get_type(self.node_id(3002))(int(result.evaluation))
        meta.ResultEvaluationCode = result.code
        meta.ResultEvaluationDetails = ua.LocalizedText(result.details)
        made = _new(self.data)
        made.ResultMetaData = meta
        made.ResultContent = [ua.Variant(content, ua.VariantType.String)]
        return made


async def add_result_types(server: Server) -> ResultTypes:
    """Add the types to a server that does not run yet.

    Raises:
        ua.UaError: the library cannot read the file.
    """
    await server.import_xml(xmlstring=await asyncio.to_thread(_readable))
    await server.load_data_type_definitions()
    return ResultTypes(await server.get_namespace_index(URI))


def _readable() -> bytes:
    """Return the file without the examples of structures."""
    root = Xml.fromstring(_FILE.read_bytes())  # noqa: S314  a file of ours
    for node in root:
        value = node.find(f"{_XML}Value")
        is_example = node.tag == f"{_XML}UAVariableType" or node.get("DataType") in _STRUCTURES
        if value is not None and is_example:
            node.remove(value)
    return Xml.tostring(root)


def _new(type_id: ua.NodeId) -> ua.ExtensionObject:
    return ua.get_type(type_id)()
