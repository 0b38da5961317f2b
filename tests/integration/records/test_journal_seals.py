# SPDX-License-Identifier: AGPL-3.0-or-later
"""Seals and configurations in the journal: what they say, who signed, and who set what."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vision_line.config.load import load_config
from vision_line.devices.model.model import open_model
from vision_line.errors import BrokenRecordError, ConfigError
from vision_line.records import seal, writer
from vision_line.records.entries import ConfigurationEntry
from vision_line.records.journal_check import Expected
from vision_line.records.log import SqliteLog
from vision_line.records.schema import FILE_NAME
from vision_line.records.seal import clock_trust, load_public_key, load_signing_key
from vision_line.records.verification import verify
from vision_line.runtime.configuration_record import configuration_at_start, configuration_change

OpenLog = Callable[..., SqliteLog]


def key_files(folder: Path) -> tuple[Path, Path]:
    """Return a new private key and its public one, in PEM files."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / "seal.pem", folder / "seal.pub.pem"
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def bodies(records: Path, kind: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        rows = connection.execute("SELECT key, body FROM journal WHERE kind = ? ORDER BY number", (kind,))
        return [{"key": key, **json.loads(body)} for key, body in rows]


def check(records: Path, key: str | None = None) -> dict[str, int]:
    """Return by whom how many seals are signed."""
    return dict(verify(records, Expected(public_key=key), lambda done, total: None, images=False).journal.seals.signed)


def test_the_end_of_a_run_is_sealed(open_log: OpenLog, records: Path) -> None:
    """The seal says how far the journal is and whether the clock follows a server; it is the last entry."""
    open_log().close()
    (said,) = bodies(records, "seal")
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        number, digest = connection.execute(
            "SELECT number, digest FROM journal ORDER BY number DESC LIMIT 2"
        ).fetchall()[1]

    assert (said["entries"], said["head"]) == (number, digest.hex())
    assert said["clock"]["synchronised"] == clock_trust().synchronised
    assert "signature" not in said
    assert check(records) == {}


def test_a_run_is_sealed_now_and_then(
    open_log: OpenLog, records: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    """As long as it is alive, whether there is anything to record or not."""
    monkeypatch.setattr(writer, "SEAL_S", 0.1)
    monkeypatch.setattr(writer, "ALIVE_S", 0.05)
    log = open_log()

    def is_sealed_twice() -> bool:
        log.alive(1.0)
        return len(bodies(records, "seal")) >= 2

    wait_until(is_sealed_twice)
    check(records)


def test_the_kernel_says_whether_its_clock_follows_a_server() -> None:
    """It answers both or neither, and never with a bound below zero."""
    trust = clock_trust()

    assert (trust.synchronised is None) == (trust.max_error_s is None)
    assert trust.max_error_s is None or trust.max_error_s >= 0


def test_a_kernel_that_refuses_leaves_the_clock_unknown() -> None:
    """As under a filter of system calls: a seal is made all the same."""
    code = (
        "from tests.fakes.service_filter import refuse\n"
        "from vision_line.records.seal import clock_trust\n"
        "refuse('adjtimex', 'clock_adjtime')\n"
        "print(clock_trust())"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)

    assert done.stdout == "ClockTrust(synchronised=None, max_error_s=None)\n"


def test_seals_are_signed(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """The signature is of what docs/records.md says; another key, and a last seal without one, are named."""
    private, public = key_files(tmp_path)
    open_log(signing_key=str(private)).close()
    (said,) = bodies(records, "seal")
    text = f"vision-line seal 1 {said['entries']} {said['head']}".encode()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["public_key"])).verify(bytes.fromhex(said["signature"]), text)

    key = load_public_key(public)
    assert check(records, key) == {key: 1}
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(BrokenRecordError, match="signed by another key"):
        check(records, load_public_key(key_files(other)[1]))
    open_log().close()
    assert check(records) == {key: 1}
    with pytest.raises(BrokenRecordError, match="last seal is not signed"):
        check(records, key)


def test_a_chain_that_was_written_anew_cannot_be_signed(
    open_log: OpenLog, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who rebuilds the journal without the key leaves a signature that does not fit."""
    private, public = key_files(tmp_path)
    monkeypatch.setattr(seal, "signed_text", lambda entries, head: f"vision-line seal 1 {entries} {head}?".encode())
    open_log(signing_key=str(private)).close()
    monkeypatch.undo()

    with pytest.raises(BrokenRecordError, match=r"\(seal, .*its signature does not fit"):
        check(records, load_public_key(public))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("no key", "expected a private key as PEM without a password"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    """At the start, before anything is recorded."""
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_signing_key(path)


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    """The optional dependency is asked for only where a key is configured."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path\nfrom vision_line.records.seal import load_signing_key\n"
        "load_signing_key(Path('key.pem'))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False, timeout=60)

    assert "ConfigError: signing_key needs cryptography: run pip install '.[signing]'" in done.stderr


STREAMS = """config_version = 1
[[stream]]
name = "cam01"
url = "rtsp://operator:s3cret@127.0.0.1/1?password=s3cret"
reject_thresholds = {{ open = {threshold} }}
{more}
"""
MORE = '[[stream]]\nname = "cam02"\nurl = "rtsp://operator:s3cret@127.0.0.1/2"\n'


def test_every_setting_is_an_entry_with_before_and_after(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """At a start, at a reload and at the next start: what changed, by whom; and no password anywhere."""
    path, model = tmp_path / "streams.toml", open_model(None)

    def configure(log: SqliteLog, threshold: float, more: str, *, start: bool) -> None:
        path.write_text(STREAMS.format(threshold=threshold, more=more))
        loaded = load_config(path, {})
        for entry in (configuration_at_start(loaded, model),) if start else configuration_change(loaded):
            log.write_configuration(entry)

    log = open_log()
    configure(log, 0.5, MORE, start=True)
    configure(log, 0.7, MORE, start=False)
    configure(log, 0.7, MORE, start=False)
    log.close()
    at_first = bodies(records, "configuration")
    log = open_log()
    configure(log, 0.7, "", start=True)
    log.close()
    *_, gone = said = bodies(records, "configuration")

    assert {entry["key"] for entry in at_first} >= {"model", "section/record", "section/model", "camera/cam01"}
    (first, changed) = [entry for entry in at_first if entry["key"] == "camera/cam01"]
    assert first["before"] is None
    assert changed["before"] == first["after"]
    assert (changed["before"]["reject_thresholds"], changed["after"]["reject_thresholds"]) == (
        {"open": 0.5},
        {"open": 0.7},
    )
    assert (first["why"], changed["why"], changed["file"]["path"]) == ("start", "reload", str(path))
    assert changed["user"]
    assert changed["file"]["owner"]
    assert len(said) == len(at_first) + 1
    assert (gone["key"], gone["after"]) == ("camera/cam02", None)
    assert next(entry for entry in said if entry["key"] == "model")["after"]["sha256"] == model.sha256
    assert "s3cret" not in (records / FILE_NAME).read_bytes().decode("latin-1")
    check(records)


def test_shifts_are_followed_while_a_run_lasts(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """A report finds what was set last, and nothing once they are gone from the file."""
    path, log = tmp_path / "streams.toml", open_log()
    for start in ('["05:00", "17:00"]', '["06:00", "18:00"]', None):
        shifts = "" if start is None else f'[shifts]\ntimezone = "Asia/Tokyo"\nstart = {start}\n'
        path.write_text(STREAMS.format(threshold=0.5, more=shifts))
        for entry in configuration_change(load_config(path, {})):
            log.write_configuration(entry)
    log.close()
    said = [entry for entry in bodies(records, "configuration") if entry["key"] == "section/shifts"]
    assert [entry["after"] and entry["after"]["start"] for entry in said] == [
        ["05:00", "17:00"],
        ["06:00", "18:00"],
        None,
    ]
    assert said[0]["after"]["timezone"] == "Asia/Tokyo"
    check(records)


def test_a_configuration_survives_the_removal_of_its_entry(records: Path, open_log: OpenLog) -> None:
    """One that was carried to the end is what the next one is compared with."""
    entry = ConfigurationEntry("start", {"camera/a": {"min_hits": 3}}, "", {})
    log = open_log()
    log.write_configuration(entry)
    log.close()
    with closing(sqlite3.connect(records / FILE_NAME)) as connection, connection:
        connection.execute(
            "UPDATE journal SET kind = 'carried', key = 'configuration/camera/a' WHERE kind = 'configuration'"
        )
    log = open_log()
    log.write_configuration(entry)
    log.close()

    assert bodies(records, "configuration") == []


def test_an_entry_that_nobody_can_read_does_not_stop_a_run(records: Path, open_log: OpenLog) -> None:
    """Inspection goes on; what is configured is entered anew, and verify names the entry."""
    entry = ConfigurationEntry("start", {"camera/a": {"min_hits": 3}}, "", {})
    log = open_log()
    log.write_configuration(entry)
    log.close()
    with closing(sqlite3.connect(records / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE journal SET body = '{' WHERE kind = 'configuration'")
    log = open_log()
    log.write_configuration(entry)
    log.close()

    with pytest.raises(BrokenRecordError, match=r"\(configuration camera/a, .*was changed"):
        check(records)
