# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[modbus]` and `[[coil]]` of `streams.toml`: the PLC that asks, and the outputs of a remote I/O module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vision_line.config.listen import ListenAddress, parse_listen
from vision_line.config.toml import Problem
from vision_line.documented import Documented


class _Table(Documented, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class ModbusSettings(_Table):
    """`[modbus]`: the registers of the lanes for a PLC, over Modbus TCP."""

    listen: str = "127.0.0.1:1502"
    """IP address and port: `192.168.10.2:502`."""
    allow_remote: bool = False
    """true: `listen` may be an address that other machines reach; Modbus has no password and no encryption."""
    peers: list[str] = []
    """Addresses or networks that may connect: `["192.168.10.20"]`; needed for other machines; empty: this machine."""
    accept_writes: bool = False
    """true: the PLC may write: triggers, ids, its belt; false: it only reads."""
    classes: list[str] = Field([], max_length=1000)
    """Classes that have a code in the registers, the first has 1; a defect of any other has 65535."""

    @field_validator("peers")
    @classmethod
    def _peers(cls, value: list[str]) -> list[str]:
        for peer in value:
            try:
                ip_network(peer)
            except ValueError:
                raise ValueError(f"found {peer!r}, expected an IP address or a network as 192.168.10.0/28") from None
        return value

    @model_validator(mode="after")
    def _fits(self) -> ModbusSettings:
        if self.address.is_loopback:
            return self
        if not self.allow_remote:
            raise ValueError(f"found {self.listen!r}, which other machines reach: expected allow_remote = true")
        if not self.peers:
            raise ValueError("peers: expected the addresses that may connect, with allow_remote")
        return self

    @property
    def address(self) -> ListenAddress:
        """Where to listen."""
        return parse_listen(self.listen)

    def allows(self, peer: str) -> bool:
        """Whether a machine at this address may connect."""
        address = ip_address(peer)
        mapped = getattr(address, "ipv4_mapped", None)
        found = address if mapped is None else mapped
        if not self.peers:
            return bool(found.is_loopback)
        return any(found in ip_network(each) for each in self.peers)


class CoilSettings(_Table):
    """One `[[coil]]`: an output of a remote I/O module that a lane's verdicts switch."""

    lane: str
    """The lane whose parts it sorts."""
    address: str
    """IP address and port of the module: `192.168.10.50:502`."""
    unit: int = Field(1, ge=0, le=255)
    """The module's unit id."""
    coil: int = Field(0, ge=0, le=65535)
    """Number of the output, from 0."""
    energised: Literal["good", "reject"] = "reject"
    """`reject`: on to divert a part; `good`: on to let it pass, so that a broken wire or a dead program diverts."""
    pulse_ms: int = Field(100, ge=10, le=10_000)
    """How long it is on for a part."""

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        parse_listen(value)
        return value

    @property
    def module(self) -> ListenAddress:
        """Where the module is."""
        return parse_listen(self.address)


def repeated_outputs(coils: Sequence[CoilSettings]) -> Iterator[Problem]:
    """Yield each `[[coil]]` whose output another one switches too: one's pulse would be ended by the other."""
    first: dict[tuple[ListenAddress, int, int], int] = {}
    for index, coil in enumerate(coils):
        before = first.setdefault((coil.module, coil.unit, coil.coil), index)
        if before != index:
            words = f"found output {coil.coil} of unit {coil.unit} at {coil.address}, which coil {before + 1} has"
            yield ("coil", index, "coil"), f"{words}: expected one [[coil]] for each output"
