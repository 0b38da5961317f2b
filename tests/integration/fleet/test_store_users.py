# SPDX-License-Identifier: AGPL-3.0-or-later
"""A store that lets in who has a key, by TLS, and lets each write only what is its own."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.errors import Error as NatsError
from tests.fakes.nats_servers import NatsServers, running_nats
from tests.fakes.ports import free_port
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.errors import ConfigError, ExitCode
from vision_line.fleet import nats_coordination
from vision_line.fleet.coordination import CONFIG, DRAIN_PREFIX, LEADER, NODE_PREFIX, PLAN, CoordinationError
from vision_line.fleet.nats_coordination import NatsCoordination
from vision_line.fleet.store_users import public_key_of

USERS = {"box1": ["--node", "box1"], "box2": ["--node", "box2"], "operator": []}


@dataclass
class SecureStore:
    """Servers that know the users, and the folder of their seeds."""

    servers: NatsServers
    folder: Path

    @asynccontextmanager
    async def as_user(self, name: str) -> AsyncIterator[NatsCoordination]:
        """Yield the store as somebody sees it."""
        urls = [url.replace("nats://127.0.0.1", "tls://localhost") for url in self.servers.urls]
        store = NatsCoordination(urls, name, seed_file=self.folder / f"{name}.nk")
        try:
            yield store
        finally:
            await store.close()


def make_certificate(folder: Path) -> None:
    """Make a certificate of localhost and its key."""
    holder = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *holder, *files]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureStore]:
    """Yield a server with the users that the command prints, and a certificate that the system trusts."""
    folder = tmp_path_factory.mktemp("store")
    make_certificate(folder)
    entries = []
    for name, whose in USERS.items():
        done = CliRunner().invoke(cli, ["fleet", "user", f"{folder}/{name}.nk", *whose])
        assert done.exit_code == 0, done.output
        entries.append(done.stdout)
    CliRunner().invoke(cli, ["fleet", "user", f"{folder}/stranger.nk"])  # the servers do not hear of it
    more = f'tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem" }}\n'
    more += f"authorization {{ users: [\n{''.join(entries)}] }}\n"
    with pytest.MonkeyPatch.context() as patch, running_nats(folder, 1, more) as servers:
        patch.setenv("SSL_CERT_FILE", f"{folder}/cert.pem")
        patch.setattr(nats_coordination, "REQUEST_S", 10.0)
        yield SecureStore(servers, folder)


async def test_a_box_does_what_boxes_do(secure: SecureStore) -> None:
    """It makes the bucket, renews its own key, leads, and sees what others write."""
    async with secure.as_user("box1") as store, secure.as_user("operator") as operator:
        await store.put(f"{NODE_PREFIX}box1", b"here")
        assert await store.swap(LEADER, b"box1", 0) is not None
        assert await store.swap(PLAN, b"plan", 0) is not None
        assert await operator.swap(CONFIG, b"config", 0) is not None
        await operator.put(f"{DRAIN_PREFIX}box2", b"drain")
        found = await store.get(CONFIG)
        assert found is not None
        assert found.value == b"config"
        seen = set[str]()
        async with asyncio.timeout(60), aclosing(store.watch()) as entries:  # type: ignore[type-var]
            async for entry in entries:
                seen.add(entry.key)
                if len(seen) == 5:
                    break


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("box1", CONFIG),
        ("box1", f"{NODE_PREFIX}box2"),
        ("box1", f"{DRAIN_PREFIX}box2"),
        ("operator", f"{NODE_PREFIX}box1"),
        ("operator", PLAN),
    ],
)
async def test_nobody_writes_what_is_not_his(
    secure: SecureStore, user: str, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The servers do not take it, and the log says so."""
    async with secure.as_user(user) as store:
        await store.get(key)
        monkeypatch.setattr(nats_coordination, "REQUEST_S", 1.0)
        with pytest.raises(CoordinationError):
            await store.put(key, b"forged")
        monkeypatch.setattr(nats_coordination, "REQUEST_S", 10.0)
        found = await store.get(key)
        assert found is None or found.value != b"forged"
    assert "permissions violation" in caplog.text.lower()


async def test_who_is_not_known_is_not_let_in(secure: SecureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the servers do not have."""
    monkeypatch.setattr(nats_coordination, "REQUEST_S", 1.0)
    async with secure.as_user("stranger") as store:
        with pytest.raises((CoordinationError, NatsError)):
            await store.get(CONFIG)


async def test_a_server_that_nobody_vouches_for_gets_nothing(
    secure: SecureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(nats_coordination, "REQUEST_S", 1.0)
    assert ssl.get_default_verify_paths().cafile != str(secure.folder / "cert.pem")
    async with secure.as_user("box1") as store:
        with pytest.raises(CoordinationError):
            await store.get(CONFIG)


def test_the_seed_is_kept_and_its_owners_alone(secure: SecureStore) -> None:
    """Asked again, the command prints the same; it says no seed."""
    seed = secure.folder / "box1.nk"
    assert seed.stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(cli, ["fleet", "user", str(seed), "--node", "box1"])
    assert public_key_of(seed) in again.stdout
    assert seed.read_text().strip() not in again.stdout


@pytest.mark.parametrize("text", ["", "SUAAAA", "no seed at all", "SAAG2J4KCHZ"])
def test_what_is_no_seed_is_refused(tmp_path: Path, text: str) -> None:
    """Before anything is begun."""
    wrong = tmp_path / "box.nk"
    wrong.write_text(text)
    with pytest.raises(ConfigError, match="expected an nkey seed of a user"):
        public_key_of(wrong)
    done = CliRunner().invoke(cli, ["fleet", "status", "--fleet", "nats://127.0.0.1:9", "--seed", str(wrong)])
    assert done.exit_code == ExitCode.CONFIG


@pytest.mark.parametrize("seed", ["stranger", None])
async def test_who_is_refused_hears_why_and_ends_soon(
    secure: SecureStore, seed: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a key, or with one that the servers do not know: said once, and nothing waits for ever at the end."""
    monkeypatch.setattr(nats_coordination, "REQUEST_S", 2.0)
    urls = [url.replace("nats://127.0.0.1", "tls://localhost") for url in secure.servers.urls]
    store = NatsCoordination(urls, "late", seed_file=None if seed is None else secure.folder / f"{seed}.nk")
    async with asyncio.timeout(60):
        for _ in range(3):
            with pytest.raises(CoordinationError, match="the servers do not know this key, see --seed"):
                await store.get(CONFIG)
        await store.close()

    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1, caplog.text
    assert "eof_received" not in caplog.text


async def test_an_encrypted_connection_ends_soon_also_where_its_servers_are_gone(tmp_path: Path) -> None:
    """A box that is switched off must not wait for a store that is away."""
    make_certificate(tmp_path)
    more = f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}\n'
    with pytest.MonkeyPatch.context() as patch, running_nats(tmp_path, 1, more) as servers:
        patch.setenv("SSL_CERT_FILE", f"{tmp_path}/cert.pem")
        patch.setattr(nats_coordination, "REQUEST_S", 10.0)
        urls = [url.replace("nats://127.0.0.1", "tls://localhost") for url in servers.urls]
        stores = [NatsCoordination(urls, f"box{number}") for number in range(4)]
        for store in stores:
            await store.put(f"{NODE_PREFIX}box", b"here")
        await stores[0].close()
        servers.kill_all()
        for store in stores[1:]:
            with suppress(CoordinationError):
                await store.get(CONFIG)
            async with asyncio.timeout(60):
                await store.close()


def test_servers_and_seed_may_stand_in_the_environment(secure: SecureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three servers and a file are long to write each time; what is wrong with them is said."""
    urls = " ".join(url.replace("nats://127.0.0.1", "tls://localhost") for url in secure.servers.urls)
    monkeypatch.setenv("VISION_LINE_FLEET", urls)
    monkeypatch.setenv("VISION_LINE_SEED", str(secure.folder / "operator.nk"))
    known = CliRunner().invoke(cli, ["fleet", "why", "cam1"])
    monkeypatch.setenv("VISION_LINE_FLEET", f"nats://127.0.0.1:{free_port()} nats://127.0.0.1:{free_port()}")
    away = CliRunner().invoke(cli, ["fleet", "status"])

    assert "plant" in known.stderr  # the store has answered, whatever other tests have put there
    assert "did not answer" not in known.stderr
    assert "Connect call failed" in away.stderr
