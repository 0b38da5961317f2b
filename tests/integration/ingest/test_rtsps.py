# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSPS: the password goes to the right camera only, on the connection whose certificate was checked."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fakes.rtsp.raw_server import PASSWORD, USER, RawCamera, Unit

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import ServeRaw, Until, Watch

CREDENTIALS = f"{USER}:{PASSWORD}@"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Authority:
    """A CA of our own in a folder, with the certificates that it signed."""

    folder: Path

    @property
    def ca_file(self) -> str:
        """The CA's certificate."""
        return str(self.folder / "ca.pem")

    def context(self, name: str) -> ssl.SSLContext:
        """Return what a server needs to show a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def fingerprint(self, name: str) -> str:
        """Return a certificate's SHA-256, computed apart from the product."""
        pem = (self.folder / f"{name}.pem").read_text()
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def sign(self, name: str, names: str, days: int) -> None:
        """Make a certificate for `names` that is valid for `days`."""
        self._openssl("req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.folder / "names").write_text(f"subjectAltName={names}\n")
        self._openssl(
            *f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names".split(),
            *f"-days {days} -out {name}.pem".split(),
        )

    def make(self) -> Authority:
        """Make the CA itself."""
        options = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=our-CA", "-days", "2"]
        self._openssl("req", "-x509", *KEY, *options)
        return self

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that signed a right certificate, one for another host, and one that is over."""
    authority = Authority(tmp_path_factory.mktemp("ours")).make()
    authority.sign("camera", "IP:127.0.0.1,DNS:localhost", 2)
    authority.sign("elsewhere", "DNS:other.example", 2)
    authority.sign("over", "IP:127.0.0.1", -1)
    return authority


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_of_a_trusted_ca_opens(
    host: str, ours: Authority, clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """With `tls_ca_file`, for an address and for a name; the password is given then."""
    server = serve_raw(cam=RawCamera(clip, auth=("sha256",)), tls=ours.context("camera"))
    cam = watch(server.url("cam", CREDENTIALS, host), tls_ca_file=ours.ca_file)
    await wait_until(lambda: len(cam.frames) >= 5 or any(cam.codes), 10)
    assert not any(cam.codes), cam.states


@pytest.mark.parametrize(
    ("certificate", "with_ca", "says"),
    [
        ("camera", False, "unable to get local issuer certificate"),
        ("elsewhere", True, "mismatch"),
        ("over", True, "expired"),
        ("ca", False, "self-signed certificate"),
    ],
)
async def test_a_wrong_certificate_learns_nothing(
    certificate: str,
    with_ca: bool,
    says: str,
    ours: Authority,
    clip: list[Unit],
    serve_raw: ServeRaw,
    watch: Watch,
    wait_until: Until,
) -> None:
    """TLS_FAILED with what was found and what can be set; no request is sent, let alone a password."""
    server = serve_raw(cam=RawCamera(clip), tls=ours.context(certificate))
    cam = watch(server.url("cam", CREDENTIALS), **({"tls_ca_file": ours.ca_file} if with_ca else {}))
    await wait_until(lambda: "TLS_FAILED" in cam.codes, 10)
    detail = next(change.detail for change in cam.states if change.code == "TLS_FAILED")
    assert says in detail.lower()
    assert ours.fingerprint(certificate) in detail.replace(":", "").lower()
    assert not server.requests


@pytest.mark.parametrize("certificate", ["ca", "elsewhere", "over"])
async def test_a_pinned_certificate_opens(
    certificate: str, ours: Authority, clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """The fingerprint alone decides: cameras sign for themselves, for no name, and forget to renew."""
    server = serve_raw(cam=RawCamera(clip), tls=ours.context(certificate))
    cam = watch(server.url("cam", CREDENTIALS), tls_fingerprint=ours.fingerprint(certificate))
    await wait_until(lambda: len(cam.frames) >= 2 or any(cam.codes), 10)
    assert not any(cam.codes), cam.states


async def test_another_certificate_than_the_pinned_one_learns_nothing(
    ours: Authority, clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """Not even one that a trusted CA signed, nor with verification off."""
    server = serve_raw(cam=RawCamera(clip), tls=ours.context("camera"))
    pin = {"tls_fingerprint": ours.fingerprint("over"), "tls_ca_file": ours.ca_file}
    cams = [watch(server.url("cam", CREDENTIALS), name, **pin, **more) for name, more in MODES]
    await wait_until(lambda: all("TLS_FAILED" in cam.codes for cam in cams), 10)
    assert not server.requests


MODES: tuple[tuple[str, dict[str, bool]], ...] = (("on", {}), ("off", {"tls_verify": False}))


async def test_verification_can_be_switched_off(
    ours: Authority, clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """`tls_verify = false` takes whoever answers."""
    server = serve_raw(cam=RawCamera(clip), tls=ours.context("over"))
    cam = watch(server.url("cam", CREDENTIALS), tls_verify=False)
    await wait_until(lambda: len(cam.frames) >= 2 or any(cam.codes), 10)
    assert not any(cam.codes), cam.states


async def test_a_redirection_out_of_tls_is_refused(
    ours: Authority, clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """Never from rtsps to rtsp, not even on the same port."""
    server = serve_raw(cam=RawCamera(clip), tls=ours.context("camera"))
    server.redirect("cam", server.url("cam").replace("rtsps:", "rtsp:"))
    cam = watch(server.url("cam", CREDENTIALS), tls_ca_file=ours.ca_file)
    await wait_until(lambda: "REDIRECTED" in cam.codes, 10)


async def test_udp_is_not_used_beside_tls(
    ours: Authority, clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """The frames of an encrypted camera do not travel in the clear."""
    server = serve_raw(cam=RawCamera(clip), tls=ours.context("camera"))
    cam = watch(server.url("cam"), tls_ca_file=ours.ca_file, transport="udp")
    await wait_until(lambda: len(cam.frames) >= 2, 10)
    assert any("interleaved" in line for lines in server.requests for line in lines)
