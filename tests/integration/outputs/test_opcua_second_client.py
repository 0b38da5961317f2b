# SPDX-License-Identifier: AGPL-3.0-or-later
"""The OPC UA server is asked by node-opcua, which shares no code with it: what one library takes, another may not."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
from tests.fakes.desk import CHEAP
from tests.fakes.ports import free_port
from tests.integration.outputs.conftest import Line, serving

from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.outputs.opcua.certificates import CertificateFolder, application_uri
from vision_line.reviews.passwords import PasswordHasher
from vision_line.telemetry.output_status import known_outputs

#: Where `make opcua-client` puts it: beside the environment's own packages.
FOLDER = Path(sys.prefix) / "node-opcua"
CLIENT = Path(__file__).parents[2] / "fakes" / "second_opcua_client.mjs"
PASSWORD = "a long password"  # noqa: S105
STREAMS = """[[output]]
type = "opcua"
name = "scada"
listen = "127.0.0.1:{port}"
encrypted = false
anonymous = true
"""

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules" / "node-opcua-client").is_dir(),
    reason="needs node and node-opcua: make opcua-client",
)


@dataclass
class SecondClient:
    """A client that runs, and what it has said so far."""

    lines: IO[str]
    said: dict[str, Any] = field(default_factory=dict)

    def until(self, what: str) -> Any:
        """Return what it says of something, once it does."""
        while what not in self.said:
            line = self.lines.readline()
            assert line, f"it ended, and had said {self.said}"
            if line.startswith("{"):
                found = json.loads(line)
                self.said[found["what"]] = found["value"]
        return self.said[what]


@contextmanager
def asking(keys: Path, *arguments: str | Path) -> Iterator[SecondClient]:
    """Run a client; `keys` is where it keeps whom it trusts."""
    environment = {**os.environ, "NODE_CLIENT": str(FOLDER), "NODE_CLIENT_PKI": str(keys)}
    command = ["node", CLIENT, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield SecondClient(process.stdout)
        finally:
            process.kill()


def certified(folder: Path, server: Path) -> list[str | Path]:
    """Return the arguments of a client with a certificate and a user."""
    own = CertificateFolder(folder)
    certificate = own.prepare("second", "127.0.0.1")
    pem = folder / "certificate.pem"
    pem.write_text(ssl.DER_cert_to_PEM_cert(own.own_der()), encoding="ascii")
    return [pem, own.key, application_uri(certificate), server, "scada", PASSWORD]


def test_node_opcua_finds_all_of_it(line: Line, tmp_path: Path) -> None:
    """Without encryption, and with certificate and user: it browses, reads, may not write, hears an event, asks."""
    port = free_port()
    url, records = f"opc.tcp://127.0.0.1:{port}/vision-line", line.directory / "opcua"
    line.configure(STREAMS.format(port=port))
    line.rows.state(line.run, "cam1", "RUNNING", 1.0)
    Accounts(line.directory, PasswordHasher(CHEAP)).add("scada", Role.READER, PASSWORD, by="test")
    with serving(line.streams, line.directory):
        while not any(output.state and output.state.state == "connected" for output in known_outputs(line.directory)):
            time.sleep(0.05)
        secured = certified(tmp_path / "client", records / "own" / "certificate.der")
        with asking(tmp_path / "plain", url) as plain, asking(tmp_path / "secured", url, *secured) as trusted:
            assert trusted.until("refused")
            (rejected,) = (records / "rejected").iterdir()
            rejected.rename(records / "trusted" / rejected.name)
            for client in (plain, trusted):
                client.until("subscribed")
            wanted = line.event()
            for client in (plain, trusted):
                client.until("done")

    assert "refused" not in plain.said
    for said in (plain.said, trusted.said):
        assert {"Cameras", "Heartbeat", "LastNumber", "ResultManagement"} <= {*said["children"]}
        assert (said["state"], said["write"] == "Good") == ("RUNNING", False)
        event, result = said["event"], said["result"]
        assert (event["camera"], event["verdict"], event["evaluation"]) == ("cam1", "reject", 2)
        assert (result["status"], result["id"], result["schema"]) == ("Good", wanted, "vision-line.event/1")
        assert said["latest"] == {"status": "Good", "id": wanted}
