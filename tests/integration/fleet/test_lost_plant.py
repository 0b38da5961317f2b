# SPDX-License-Identifier: AGPL-3.0-or-later
"""An operator applies a plant to a store that has lost the one in force, while boxes live."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.fakes.nats_servers import running_nats

from vision_line.cli.fleet import apply
from vision_line.errors import RunError
from vision_line.fleet.coordination import CONFIG
from vision_line.fleet.nats_coordination import NatsCoordination
from vision_line.fleet.node_report import NodeReport

PLANT = """config_version = 1
[fleet]
camera_networks = ["127.0.0.0/8"]
[[stream]]
name = "cam1"
url = "rtsp://127.0.0.1:1/cam1"
"""


async def test_a_plant_is_not_begun_anew_while_boxes_obey_one(tmp_path: Path) -> None:
    """It would be number 1 again, and of another fleet: boxes would refuse it, each in its own log."""
    plant, key = tmp_path / "plant.toml", tmp_path / "operator.pem"
    plant.write_text(PLANT, encoding="utf-8")
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with running_nats(tmp_path, 1) as servers:
        store = NatsCoordination(servers.urls, "box")
        beating = asyncio.create_task(beat(store))
        try:
            with pytest.raises(RunError, match="the store has lost plant 7, and boxes put it back in a moment"):
                await asyncio.to_thread(apply, plant, tuple(servers.urls), key, None, dry_run=False)
            assert await store.get(CONFIG) is None
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await store.close()


async def beat(store: NatsCoordination) -> None:
    """Be a box that obeys plant 7."""
    while True:
        await store.put("node.box", NodeReport(config_serial=7).to_bytes())
        await asyncio.sleep(0.3)
