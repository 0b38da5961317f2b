# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ask the OPC UA server by node-opcua, without and with encryption.

Usage: python tools/opcua_second_client.py FOLDER
FOLDER gets node-opcua (from npm, 50 MB) where it has none yet; `node` and `npm` are needed. Nothing else of the project
needs them, so this is no part of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.desk import CHEAP
from tests.fakes.desk_records import DeskRecords, writing
from tests.fakes.ports import free_port

from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.outputs.opcua.certificates import CertificateFolder, application_uri
from vision_line.reviews.passwords import PasswordHasher

CLIENT = Path(__file__).with_name("opcua_client.mjs")
PASSWORD = "a long password"  # noqa: S105
STREAMS = '[[output]]\ntype = "opcua"\nname = "scada"\nlisten = "127.0.0.1:{port}"\n'
WITHOUT_ENCRYPTION = "encrypted = false\nanonymous = true\n"
LIMIT_S = 60.0


def install(folder: Path) -> None:
    """Have node-opcua in a folder."""
    if not (folder / "node_modules" / "node-opcua-client").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "node-opcua-client@2"]
        subprocess.run(command, check=True)


@contextmanager
def served(records: Path, port: int, more: str) -> Iterator[None]:
    """Serve the records by `vision-line outputs` while the block runs."""
    streams = records / "streams.toml"
    streams.write_text(STREAMS.format(port=port) + more, encoding="utf-8")
    command = [sys.executable, "-m", "vision_line", "outputs", "--streams", str(streams), "--record", str(records)]
    process = subprocess.Popen(command)
    try:
        while f":{port:04X} 00000000:0000 0A" not in Path("/proc/net/tcp").read_text(encoding="ascii"):
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)


def asked(folder: Path, rows: DeskRecords, run: int, arguments: list[str]) -> dict[str, object]:
    """Run the client until it is done, add an event once it has subscribed, and return what it said."""
    pki = tempfile.mkdtemp()
    environment = {**os.environ, "NODE_CLIENT": str(folder), "NODE_CLIENT_PKI": pki}
    said: dict[str, object] = {}
    with subprocess.Popen(["node", CLIENT, *arguments], stdout=subprocess.PIPE, text=True, env=environment) as client:
        assert client.stdout is not None  # noqa: S101  it is a pipe
        for line in client.stdout:
            if not line.startswith("{"):
                continue
            found = json.loads(line)
            said[found["what"]] = found["value"]
            if found["what"] == "subscribed":
                rows.event(run, "cam1", time.time() % 1000)
            if found["what"] == "done":
                break
        client.kill()
    return said


def check(said: dict[str, object]) -> None:
    """Compare what a client said with what is right."""
    for what in ("children", "state", "write", "event", "result", "latest"):
        print(f"  {what}: {said.get(what)}")
    event, result, latest = (said.get(name) for name in ("event", "result", "latest"))
    if not (isinstance(event, dict) and isinstance(result, dict) and isinstance(latest, dict)):
        sys.exit("no event, or no result")
    right = {
        "state": said["state"] == "RUNNING",
        "write": said["write"] != "Good",
        "event": (event["camera"], event["verdict"], event["evaluation"]) == ("cam1", "reject", 2),
        "result": (result["status"], result["schema"]) == ("Good", "vision-line.event/1"),
        "latest": latest["id"] == result["id"],
    }
    if wrong := [name for name, holds in right.items() if not holds]:
        sys.exit(f"not as expected: {', '.join(wrong)}")


def main() -> None:
    """Ask both kinds of servers."""
    folder = Path(sys.argv[1]).absolute()
    install(folder)
    with tempfile.TemporaryDirectory() as text, writing(Path(text)) as rows:
        records = Path(text)
        Accounts(records, PasswordHasher(CHEAP)).add("scada", Role.READER, PASSWORD, by="tool")
        run = rows.run(0, None, "cam1")
        rows.state(run, "cam1", "RUNNING", 1.0)
        url = f"opc.tcp://127.0.0.1:{(port := free_port())}/vision-line"
        print("without encryption, anonymous:")
        with served(records, port, WITHOUT_ENCRYPTION):
            check(asked(folder, rows, run, [url]))
        print("encrypted, with a user and a trusted certificate:")
        own = CertificateFolder(records / "client")
        certificate = own.prepare("second", "127.0.0.1")
        (records / "opcua" / "trusted" / "second.der").write_bytes(own.own_der())
        server = records / "opcua" / "own" / "certificate.der"
        pem = records / "client" / "certificate.pem"
        pem.write_text(as_pem(own.own_der()), encoding="ascii")
        secured = [str(pem), str(own.key), application_uri(certificate), str(server), "scada", PASSWORD]
        with served(records, port, ""):
            check(asked(folder, rows, run, [url, *secured]))
    print("both as expected")


def as_pem(der: bytes) -> str:
    """Return a certificate as text."""
    import ssl

    return ssl.DER_cert_to_PEM_cert(der)


if __name__ == "__main__":
    main()
