# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the library would let pass, asked of the server without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User
from asyncua.server.internal_session import SessionState

from vision_line.outputs.opcua.certificates import CertificateFolder, application_uri
from vision_line.outputs.opcua.guarded_server import Admission, GuardedServer, GuardedSession
from vision_line.outputs.opcua.sign_in_of_clients import ClientSignIn

PEER = ("127.0.0.1", 1)


@pytest.fixture
def server(tmp_path: Path) -> GuardedServer:
    folder = CertificateFolder(tmp_path / "opcua")
    own = folder.prepare("scada", "127.0.0.1")
    made = GuardedServer(Admission(folder, ClientSignIn(tmp_path), True, True, 4))
    made.certificate = own
    return made


def code_of(error: pytest.ExceptionInfo[ServiceError]) -> int:
    return int(error.value.code)


def test_another_ones_certificate_is_of_no_use_without_its_key(server: GuardedServer, tmp_path: Path) -> None:
    """A trusted client's certificate is no secret; the client whose it is would have signed."""
    client = CertificateFolder(tmp_path / "client")
    certificate = client.prepare("client", "127.0.0.1")
    (tmp_path / "opcua" / "trusted" / "client.der").write_bytes(client.own_der())
    session = GuardedSession(server, PEER, User())
    session._client_uri = "urn:somebody:else"
    with pytest.raises(ServiceError) as other_uri:
        session.activate_session(ua.ActivateSessionParameters(), client.own_der())
    session._client_uri = application_uri(certificate)
    with pytest.raises(ServiceError) as unsigned:
        session.activate_session(ua.ActivateSessionParameters(), client.own_der())

    assert code_of(other_uri) == ua.StatusCodes.BadCertificateUriInvalid
    assert code_of(unsigned) == ua.StatusCodes.BadApplicationSignatureInvalid
    assert not session.is_activated()


def test_sessions_cannot_be_guessed(server: GuardedServer) -> None:
    """Their tokens are random, and long."""
    tokens = {GuardedSession(server, PEER, User()).auth_token.Identifier for _ in range(5)}

    assert len(tokens) == 5
    assert all(isinstance(token, bytes) and len(token) == 32 for token in tokens)


def test_sessions_that_are_never_activated_are_bounded(server: GuardedServer) -> None:
    """The oldest goes, and cannot be activated any more."""
    made = [server.create_session(PEER, external=True) for _ in range(50)]

    assert len(server.sessions) == 10
    assert server.sessions[-1] is made[-1]
    assert (made[0].state, made[-1].state) == (SessionState.Closed, SessionState.Created)


def test_nobody_registers_a_server_here(server: GuardedServer) -> None:
    """It would be kept, without a bound."""
    with pytest.raises(ServiceError):
        server.register_server(ua.RegisteredServer())

    assert not server._known_servers
