# SPDX-License-Identifier: AGPL-3.0-or-later
"""A database that asks for a password and talks only by TLS, as one in a plant's network."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from tests.fakes.postgres import PostgresServer, running_postgres, unprivileged
from tests.fakes.shipping_box import ShippingBox, until

from vision_line.central.database_connection import connected
from vision_line.central.database_url import parsed
from vision_line.central.schema_steps import bring_up_to_date

PASSWORD = "much-too-secret"  # noqa: S105  of a server that lives as long as these tests
PAGE = (Path(__file__).parents[3] / "docs/plant.md").read_text(encoding="utf-8")
#: Its maker comes without a password, to make what is tested; others need one, and TLS.
WHO_MAY = "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


@dataclass
class SecureServer:
    """The server, a database with tables in it, and certificates: of its own maker, and of somebody else."""

    postgres: PostgresServer
    database: str
    folder: Path

    def url(self, *, password: str = PASSWORD, maker: str = "right", mode: str = "verify-full") -> str:
        """Return how a box reaches it."""
        reached = self.database.replace("postgres@127.0.0.1", f"box:{password}@localhost")
        return f"{reached}?sslmode={mode}&sslrootcert={self.folder / maker}.pem"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    """Yield a server with the rights of the page for a box that has a password."""
    folder = tmp_path_factory.mktemp("certificates")
    holder = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    for name in ("right", "wrong"):
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *holder, *files]
        subprocess.run(command, check=True, capture_output=True)
    with running_postgres() as server:
        data = server.folder / "data"
        for end in ("key", "pem"):
            shutil.copy(folder / f"right.{end}", data / f"server.{end}")
            (data / f"server.{end}").chmod(0o600)
            shutil.chown(data / f"server.{end}", unprivileged() or data.owner())
        database = server.new_database()
        with connected(parsed(database)) as connection:
            bring_up_to_date(connection, is_new=True)
        (rights,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
        with psycopg.connect(database, autocommit=True) as there:
            there.execute(f"CREATE ROLE box LOGIN PASSWORD '{PASSWORD}'; {rights}".encode())
        server.stop()
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n")
        (data / "pg_hba.conf").write_text(WHO_MAY)
        server.start()
        yield SecureServer(server, database, folder)


@pytest.fixture
def secure_box(secure: SecureServer, tmp_path: Path) -> Iterator[ShippingBox]:
    """Yield a box with records."""
    with ShippingBox.made(tmp_path / "box1", secure.database) as made:
        made.record()
        yield made


async def test_all_is_shipped_in_secret(secure: SecureServer, secure_box: ShippingBox) -> None:
    """With its password, to a server whose certificate is verified."""
    async with secure_box.shipping(secure.url()) as service:
        await until(lambda: service.status().state.behind == 0)
        await until(lambda: secure_box.differences() == [])
        with psycopg.connect(secure.database) as there:
            asked = "SELECT DISTINCT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'box'"
            assert there.execute(asked).fetchall() == [(True,)]


@pytest.mark.parametrize(
    ("wrong", "trouble"),
    [
        ({"password": "guessed"}, "AUTH_FAILED"),
        ({"maker": "wrong"}, "TLS_FAILED"),
        ({"mode": "disable"}, "AUTH_FAILED"),
    ],
    ids=["password", "certificate", "no TLS"],
)
async def test_nothing_is_shipped(
    secure: SecureServer,
    secure_box: ShippingBox,
    wrong: dict[str, str],
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To a wrong server, with a wrong password, in the clear; and no word of it tells the password."""
    async with secure_box.shipping(secure.url(**wrong)) as service:
        await until(lambda: trouble in (service.status().state.error or ""))
        assert service.status().state.behind > 0
        said = f"{service.status()} {caplog.text}"

    assert PASSWORD not in said
    assert "guessed" not in said
