# SPDX-License-Identifier: AGPL-3.0-or-later
"""The PLC: photo-eyes, encoders and ejectors of all lanes, a scan of 10 ms, the handshake of docs/outputs/modbus.md.

It lets a board pass only for a verdict `accept` with the board's number that it read in time. Everything else diverts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from benchmarks.virtual_plc.belt import Belt, BoardPass
from vision_line.lanes import modbus_map as plc
from vision_line.parts.part import PartVerdict

SCAN_S = 0.01
#: How old the belt's count may be that the line has.
ENCODER_S = 0.04
#: A trigger that was not taken so soon is not trusted.
TRIGGER_S = 0.05
#: A heartbeat that stands for so long is none.
WATCHDOG_S = 0.3
ANSWER_S = 0.25
RECONNECT_S = 0.3
ACTUATOR_S = 0.05
_ACCEPT = plc.VERDICTS[PartVerdict.ACCEPT]


@dataclass(slots=True)
class Sorted:
    """What became of a board. `distrusted` is why the PLC would not accept it whatever came."""

    board: BoardPass
    number: int
    distrusted: str = ""
    verdict: int = plc.NO_VERDICT
    is_passed: bool = False
    is_late: bool = False

    @property
    def part_id(self) -> str:
        """What the PLC calls it in the records."""
        return f"{self.board.camera}-{self.number}"


@dataclass(slots=True)
class _PlcLane:
    number: int
    belt: Belt
    passes: Iterator[BoardPass]
    coming: BoardPass
    last_number: int = 0
    counted_s: float = 0.0
    has_begun: bool = False
    open: deque[Sorted] = field(default_factory=deque)


class VirtualPlc:
    """Sorts the boards of all lanes in a thread of its own, until it is closed."""

    def __init__(self, port: int, belts: Sequence[Belt]) -> None:
        now_s = time.monotonic()
        self.done: list[Sorted] = []
        #: When the state of the line changed, as the PLC knows it: (moment, why it accepts nothing or "").
        self.faults: deque[tuple[float, str]] = deque(maxlen=1000)
        self.answers_s: list[float] = []
        self._port = port
        self._lanes = [self._lane(number, belt, now_s) for number, belt in enumerate(belts)]
        self._client: ModbusTcpClient | None = None
        self._tried_s = self._beat_s = -1.0
        self._beat = -1
        self._fault = "no connection"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plc")

    @staticmethod
    def _lane(number: int, belt: Belt, now_s: float) -> _PlcLane:
        passes = belt.passes(now_s)
        return _PlcLane(number, belt, passes, next(passes))

    def start(self) -> None:
        """Begin to scan."""
        self._thread.start()

    def close(self) -> None:
        """End; what is between photo-eye and ejector is in no count."""
        self._over.set()
        self._thread.join()

    @property
    def fault(self) -> str:
        """Why it accepts nothing now."""
        return self._fault

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            try:
                self._scan()
            except (ModbusException, OSError) as exc:
                self._lose(str(exc) or type(exc).__name__)
            self._eject()
            due_s = max(due_s + SCAN_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]

    def _scan(self) -> None:
        self._see()
        client = self._connected()
        if client is None:
            return
        for lane in self._lanes:
            self._write(client, lane)
        self._read(client)

    def _connected(self) -> ModbusTcpClient | None:
        now_s = time.monotonic()
        if self._client is None and now_s - self._tried_s > RECONNECT_S:
            self._tried_s = now_s
            client = ModbusTcpClient("127.0.0.1", port=self._port, timeout=ANSWER_S, retries=0)
            if client.connect():  # type: ignore[no-untyped-call]
                self._client = client
                self._beat_s = now_s
        return self._client

    def _lose(self, why: str) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None
        self._set_fault(f"no answer: {why}")

    def _set_fault(self, why: str) -> None:
        if why != self._fault:
            self._fault = why
            self.faults.append((time.monotonic(), why))
        if why.startswith("no answer") or why == "heartbeat":
            for lane in self._lanes:
                for part in lane.open:
                    if part.verdict == plc.NO_VERDICT:
                        part.distrusted = part.distrusted or why

    def _see(self) -> None:
        """Take the boards that the photo-eyes saw since the last scan."""
        now_s = time.monotonic()
        for lane in self._lanes:
            while lane.coming.at_s <= now_s:
                lane.last_number = lane.last_number % 65535 + 1
                lane.open.append(Sorted(lane.coming, lane.last_number, "not told"))
                lane.coming = next(lane.passes)

    def _write(self, client: ModbusTcpClient, lane: _PlcLane) -> None:
        """Tell a lane's newest board, or where its belt is; first of all that the PLC has begun."""
        now_s = time.monotonic()
        untold = [part for part in lane.open if part.distrusted == "not told"]
        at = plc.HANDSHAKE_AT + lane.number * plc.HANDSHAKE_WORDS
        if not lane.has_begun:
            lane.has_begun = not client.write_register(at + plc.offset(plc.HANDSHAKE, "trigger"), 0).isError()
        if untold:
            part = untold[0]
            part.distrusted = "told late"
            values = self._block(lane, part, now_s)
            answer = client.write_registers(at, plc.encode(plc.HANDSHAKE, values, plc.size(plc.HANDSHAKE)))
            if answer.isError():
                part.distrusted = f"refused with {answer.exception_code}"
            elif time.monotonic() - part.board.at_s <= TRIGGER_S:
                part.distrusted = ""
            lane.counted_s = now_s
        elif now_s - lane.counted_s >= ENCODER_S:
            lane.counted_s = now_s
            count = lane.belt.count(now_s)
            where = at + plc.offset(plc.HANDSHAKE, "encoder")
            client.write_registers(where, [count >> 16, count & 0xFFFF])

    def _block(self, lane: _PlcLane, part: Sorted, now_s: float) -> plc.Values:
        return {
            "enable": 1,
            "acknowledged": 0,
            "machine_parts": lane.last_number,
            "machine_rejects": 0,
            "recipe": 0,
            "age_ms": min(round(1000 * (now_s - part.board.at_s)), 5000),
            "encoder": lane.belt.count(part.board.at_s),
            "part_id": part.part_id,
            "lot": "",
            "trigger": part.number,
        }

    def _read(self, client: ModbusTcpClient) -> None:
        asked_s = time.monotonic()
        head = plc.decode(plc.HEAD, _checked(client.read_input_registers(plc.HEAD_AT, count=16)))
        words = _checked(client.read_input_registers(plc.RESULTS_AT, count=plc.LANE_WORDS * len(self._lanes)))
        answered_s = time.monotonic()
        self.answers_s.append(answered_s - asked_s)
        self._watch(head, answered_s)
        for lane in self._lanes:
            mine = words[lane.number * plc.LANE_WORDS :][: plc.LANE_WORDS]
            self._take(lane, dict(zip(reversed(mine[::2]), reversed(mine[1::2]), strict=True)), asked_s, answered_s)

    def _watch(self, head: plc.Values, now_s: float) -> None:
        if head["heartbeat"] != self._beat:
            self._beat, self._beat_s = int(head["heartbeat"]), now_s
        if now_s - self._beat_s > WATCHDOG_S:
            self._set_fault("heartbeat")
        else:
            self._set_fault("" if int(head["state"]) & plc.READY else "not ready")

    @staticmethod
    def _take(lane: _PlcLane, verdicts: dict[int, int], asked_s: float, answered_s: float) -> None:
        for part in lane.open:
            found = verdicts.get(part.number, plc.NO_VERDICT)
            if not found or part.distrusted or part.verdict:
                continue
            limit_s = part.board.ejector_s - ACTUATOR_S
            if found in plc.GOOD and asked_s > limit_s:
                part.is_late = True
            elif answered_s <= limit_s or found not in plc.GOOD:
                part.verdict = found

    def _eject(self) -> None:
        """Let the boards at the ejectors pass, or divert them."""
        now_s = time.monotonic()
        for lane in self._lanes:
            # A little later: an accept that could still be read then would be a late one.
            while lane.open and lane.open[0].board.ejector_s + 0.3 <= now_s:
                part = lane.open.popleft()
                part.is_passed = part.verdict == _ACCEPT
                self.done.append(part)


def _checked(answer: object) -> list[int]:
    """Return the registers of an answer.

    Raises:
        ModbusException: it is a refusal.
    """
    if getattr(answer, "exception_code", 0):
        raise ModbusException(f"refused with {answer.exception_code}")  # type: ignore[attr-defined]
    return list(getattr(answer, "registers", []))
