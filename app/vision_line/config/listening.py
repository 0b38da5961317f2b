# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the programs of one file listen, and which of them could never listen at the same time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from vision_line.config.listen import ListenAddress
from vision_line.config.models import Config
from vision_line.config.output_settings import AnyOutput
from vision_line.config.toml import KeyPath, Problem, TomlTable, dotted

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared, not bound


class Listener(NamedTuple):
    """A key of the file that says where something listens."""

    path: KeyPath
    address: ListenAddress

    def meets(self, address: ListenAddress) -> bool:
        """Whether the two cannot both listen: one port, and one address or all of them."""
        hosts = {self.address.host, address.host}
        return self.address.port == address.port and (len(hosts) == 1 or bool(hosts & _EVERYWHERE))


def listeners(config: Config) -> list[Listener]:
    """Return all that listens: a run, its outputs, its lanes and its simulator."""
    found = listeners_of_outputs(config.output)
    if config.metrics.address is not None:
        found.append(Listener(("metrics", "listen"), config.metrics.address))
    if config.modbus is not None:
        found.append(Listener(("modbus", "listen"), config.modbus.address))
    if config.simulator is not None:
        found.append(Listener(("simulator", "port"), ListenAddress("127.0.0.1", config.simulator.port)))
    return found


def listeners_of_outputs(outputs: Iterable[AnyOutput]) -> list[Listener]:
    """Return the outputs that are servers and are enabled."""
    return [
        Listener(("output", index, "listen"), output.address)
        for index, output in enumerate(outputs)
        if output.type == "opcua" and output.enabled
    ]


def shared_ports(found: Iterable[Listener], data: TomlTable) -> Iterator[Problem]:
    """Yield each pair that could not listen together, at one of the two keys; `data` is the file's."""
    for one, other in combinations(found, 2):
        if one.meets(other.address):
            yield one.path, f"found {one.address}, where {dotted(other.path, data)} listens too: expected another port"
