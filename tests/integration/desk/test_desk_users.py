# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line desk user` and a desk that other machines reach: users, TLS, a proxy."""

from __future__ import annotations

import os
import pty
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes.desk import CHEAP
from tests.fakes.ports import free_port
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.errors import ExitCode
from vision_line.reviews.passwords import PasswordHasher

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
DESK = (sys.executable, "-m", "vision_line", "desk")


def user(record: Path, *arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `vision-line desk user`; `typed` is its standard input."""
    command = [*DESK, "user", *arguments, "--record", str(record)]
    return subprocess.run(command, input=typed or "", capture_output=True, text=True, check=False, timeout=60)


def with_user(record: Path) -> Path:
    """Add anna, in no time."""
    Accounts(record, PasswordHasher(CHEAP)).add("anna", Role.QUALITY, PASSWORD, by="test")
    return record


def certificate(folder: Path) -> tuple[str, str]:
    """Write a certificate for 127.0.0.1 and its key; return their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "desk")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    locked = serialization.BestAvailableEncryption(b"secret")
    (folder / "locked.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_the_life_of_a_user(tmp_path: Path) -> None:
    """With the real cost of a password; nothing that is printed has one."""
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    done = [
        user(tmp_path, "add", "Anna", "--role", "reviewer", typed=PASSWORD + "\n"),
        user(tmp_path, "add", "petra", "--role", "viewer", "--no-password"),
        user(tmp_path, "password", "anna", "--password-file", str(secret)),
        user(tmp_path, "role", "anna", "--role", "quality"),
        user(tmp_path, "remove", "petra"),
    ]
    assert [one.returncode for one in done] == [ExitCode.DONE] * 5, done
    assert PASSWORD not in "".join(one.stdout + one.stderr for one in done)
    assert user(tmp_path, "list").stdout == "anna\tquality\tpassword\n"
    account = Accounts(tmp_path).find("anna")
    assert account is not None
    assert PasswordHasher().matches(PASSWORD, account.password)
    assert len(Accounts(tmp_path).page().entries) == 5
    assert "on the command line" in str(Accounts(tmp_path).page().entries[0].body["by"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "anna", "--role", "viewer"), "there is a user anna already"),
        (("add", "otto", "--role", "viewer"), "12 to 256 characters"),
        (("add", "otto", "--role", "viewer", "--no-password", "--password-file", "x"), "found both"),
        (("password", "anna", "--password-file", "/none"), "cannot be read as text"),
        (("password", "otto"), "there is no user otto"),
        (("remove", "otto"), "there is no user otto"),
        (("role", "otto", "--role", "viewer"), "there is no user otto"),
        (("add", "o/o", "--role", "viewer"), "expected a user's name"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """In this process: so many would take long to start."""
    words = ["desk", "user", *arguments, "--record", str(with_user(tmp_path))]
    done = CliRunner().invoke(cli, words, input="short\n")
    assert done.exit_code == ExitCode.CONFIG
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_options_before_user_are_not_swallowed(tmp_path: Path) -> None:
    """They would name another record directory than the user's command takes."""
    command = [*DESK, "--record", str(tmp_path), "user", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CONFIG
    assert "desk user behind it" in " ".join(done.stderr.replace("│", "").split())


def test_the_terminal_does_not_show_what_is_typed(tmp_path: Path) -> None:
    """It is asked twice."""
    terminal, inner = pty.openpty()
    command = [*DESK, "user", "add", "anna", "--role", "viewer", "--record", str(tmp_path)]
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, start_new_session=True) as process:
        shown = b""
        for prompt in (rb"Password of anna: \Z", rb"Repeat for confirmation: \Z"):
            while not re.search(prompt, shown):
                shown += os.read(terminal, 1024)
            os.write(terminal, PASSWORD.encode() + b"\n")
        assert process.wait(60) == ExitCode.DONE
    os.close(inner)
    os.close(terminal)
    assert PASSWORD.encode() not in shown
    assert Accounts(tmp_path).exist()


def test_https_with_a_user(tmp_path: Path) -> None:
    """On an address that others reach, were there a network."""
    cert, key = certificate(tmp_path)
    port = free_port()
    command = [*DESK, "--record", str(with_user(tmp_path)), "--listen", f"0.0.0.0:{port}", "--name", "127.0.0.1"]
    command += ["--tls-cert", cert, "--tls-key", key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"sign in at https://127.0.0.1:{port}\n"
        address = f"https://127.0.0.1:{port}"
        with httpx.Client(verify=ssl.create_default_context(cafile=cert), base_url=address, timeout=60) as client:
            fields = {"name": "anna", "password": PASSWORD}
            answer = client.post("/enter", data=fields, headers={"Origin": address})
            assert answer.status_code == 303
            assert answer.headers["set-cookie"].startswith(f"__Host-vision_line_desk_{port}=")
            assert "quality" in client.get("/account").text
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/enter", timeout=60)
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == ExitCode.INTERRUPTED
        assert errors == ""


def test_a_new_certificate_and_secret_are_taken_over(tmp_path: Path) -> None:
    """At a SIGHUP, and nobody has to sign in again; what cannot be used is said, and those of before stay."""
    secret = tmp_path / "secret"
    secret.write_text("x" * 32)
    cert, key = certificate(tmp_path)
    address = f"https://127.0.0.1:{(port := free_port())}"
    command = [*DESK, "--record", str(with_user(tmp_path)), "--listen", f"127.0.0.1:{port}"]
    command += ["--tls-cert", cert, "--tls-key", key, "--behind-proxy", "127.0.0.1/32", "--proxy-secret", str(secret)]

    def asked(said: str, trusted: str) -> int:
        """Return how a request of the proxy is answered, 0: the certificate is another one."""
        headers = {"X-Forwarded-User": "anna", "X-Desk-Secret": said}
        try:
            return httpx.get(f"{address}/account", headers=headers, verify=trust_in(trusted), timeout=60).status_code
        except httpx.ConnectError:
            return 0

    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        before = Path(cert).read_text(encoding="ascii")
        assert (asked("x" * 32, before), asked("y" * 32, before)) == (200, 401)
        certificate(tmp_path)
        secret.write_text("y" * 32)
        process.send_signal(signal.SIGHUP)
        assert "were read again" in process.stderr.readline()
        now = Path(cert).read_text(encoding="ascii")
        assert (asked("y" * 32, now), asked("x" * 32, now), asked("y" * 32, before)) == (200, 401, 0)
        Path(cert).write_text("no certificate", encoding="ascii")
        secret.write_text("short")
        said: list[str] = []
        for _ in range(2):  # and neither time that they were read
            process.send_signal(signal.SIGHUP)
            said += [process.stderr.readline() for _ in range(2)]
        assert all("stays in force" in line for line in said), said
        assert "y" * 32 not in "".join(said)
        assert asked("y" * 32, now) == 200
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == ExitCode.INTERRUPTED


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Have a process end also where a test fails: else that would wait for it."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def trust_in(certificate_text: str) -> ssl.SSLContext:
    """Return what takes this certificate alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate_text)
    return context


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "192.0.2.1:8443"], "--tls-cert with --tls-key, or --behind-proxy"),
        (["--listen", "0.0.0.0:8443", "--tls-cert", "cert.pem", "--tls-key", "key.pem"], "--name"),
        (["--tls-cert", "cert.pem"], "found one of them"),
        (["--tls-cert", "cert.pem", "--tls-key", "none.pem"], "cannot be used"),
        (["--tls-cert", "cert.pem", "--tls-key", "locked.pem"], "cannot be used"),
        (["--tls-cert", "key.pem", "--tls-key", "key.pem"], "cannot be used"),
        (["--behind-proxy", "127.0.0.1/32"], "found one of them"),
        (["--behind-proxy", "127.0.0.1/33", "--proxy-secret", "cert.pem"], "expected a network"),
        (["--behind-proxy", "127.0.0.1/32", "--proxy-secret", "none"], "cannot be read"),
        (["--behind-proxy", "127.0.0.1/32", "--proxy-secret", "short"], "32 characters or more"),
    ],
)
def test_what_is_not_safe_is_not_served(tmp_path: Path, options: list[str], says: str) -> None:
    certificate(tmp_path)
    (tmp_path / "short").write_text("secret")
    command = [*DESK, "--record", str(with_user(tmp_path)), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == ExitCode.CONFIG, done
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_proxy_without_users_is_not_believed(tmp_path: Path) -> None:
    """It would let nobody in."""
    (tmp_path / "secret").write_text("x" * 32)
    command = [*DESK, "--record", str(tmp_path), "--behind-proxy", "127.0.0.1/32", "--proxy-secret"]
    done = subprocess.run([*command, str(tmp_path / "secret")], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CONFIG
    assert "needs users" in done.stderr
