# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line desk`: the quality desk in a browser, as a process of its own that only reads the records."""

from __future__ import annotations

import logging
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vision_line.cli.part_sender import part_sender
from vision_line.config.listen import ListenAddress, parse_listen
from vision_line.errors import ConfigError, ExitCode
from vision_line.packages import install_extra
from vision_line.records.background import let_inspection_go_first
from vision_line.records.schema import FILE_NAME as RECORD_FILE
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream

if TYPE_CHECKING:
    from vision_line.desk.access import Access, TrustedProxy
    from vision_line.desk.guard import Guard
    from vision_line.desk.users.sessions import Sessions
    from vision_line.desk.users.sign_in_check import SignInCheck

    MakeDesk = Callable[[Access, Callable[[str], None], Sessions, SignInCheck], Guard]
    #: What takes a secret of a file that was read again.
    TakeSecret = Callable[[bytes], None]

logger = logging.getLogger(__name__)

#: What the desk imports that the runtime does not.
_NEEDED = ("fastapi", "jinja2", "python_multipart", "segno", "uvicorn", "websockets")
#: What stands before a link that signs in, and shall be in no log.
OPEN_ONCE = "open once in a browser"
#: Of a secret that programs know; in characters.
_SHORTEST_SECRET = 32


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """The command's options."""

    record: Path
    listen: str = "127.0.0.1:8080"
    names: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: tuple[str, ...] = ()
    proxy_secret: Path | None = None
    database: str | None = None
    boxes: Path | None = None
    fleet_token: Path | None = None


class _Secrets:
    """Secrets that were read from files, and who has each: at a SIGHUP they get what the file says then."""

    def __init__(self) -> None:
        self._taken: list[tuple[Path, str, TakeSecret]] = []

    def taken(self, file: Path, option: str, take: TakeSecret) -> None:
        """Note that `take` is to have the secret of a file whenever it is read again."""
        self._taken.append((file, option, take))

    def read_again(self) -> bool:
        """Read all of them; of a file that has none now, the secret of before stays. Return whether each had one."""
        are_read = True
        for file, option, take in self._taken:
            try:
                take(_secret_of(file, option))
            except ConfigError as exc:
                logger.error("%s; the one of before stays in force", exc)
                are_read = False
        return are_read


def serve_desk(options: DeskOptions) -> int:
    """Serve the desk until a signal; return the exit code.

    Raises:
        ConfigError: an option is wrong; others would reach the desk without signing in; or the extra is not installed.
        RunError: the port is in use.
    """
    address = listen_address(options.listen)
    check_installed()
    from vision_line.desk.users.accounts import Accounts
    from vision_line.desk.users.sessions import Sessions
    from vision_line.desk.users.sign_in_check import SignInCheck
    from vision_line.desk.web_server import bound_socket, serve

    let_inspection_go_first()
    accounts, sessions, secrets = Accounts(options.record), Sessions(), _Secrets()
    access = _access(options, address, secrets, has_users=accounts.exist())
    certificate = _certificate(options)
    if options.database is None:
        make = _of_one_box(options, secrets)
    else:
        make = _of_all_boxes(options, options.database, secrets)

    def say_link(secret: str) -> None:
        if is_journal(sys.stdout):
            say(f"http://{address} waits for a user: vision-line desk user add NAME --role ROLE", sys.stdout)
        else:
            say(f"{OPEN_ONCE}: http://{address}/enter?token={secret}", sys.stdout)

    def say_ready() -> None:
        if access.allows_links and not accounts.exist():
            say_link(sessions.new_link())
        else:
            say(f"sign in at {access.url}", sys.stdout)

    def renew(connections: ssl.SSLContext | None) -> None:
        are_read = secrets.read_again()
        if (connections is None or _renew_certificate(options, connections)) and are_read:
            logger.info("secrets and certificate were read again")

    with bound_socket(address) as held, logging_to_stream():
        application = make(access, say_link, sessions, SignInCheck(accounts))
        interrupted = serve(application, held, say_ready, renew, certificate)
    return ExitCode.INTERRUPTED if interrupted else ExitCode.DONE


def _of_one_box(options: DeskOptions, secrets: _Secrets) -> MakeDesk:
    """Return what makes the desk of a box."""
    from vision_line.desk.application import make_application
    from vision_line.desk.fleet_door import FleetDoor
    from vision_line.desk.record_reader import RecordReader

    if options.boxes is not None:
        raise ConfigError("--boxes says where the boxes of a --database are, and none is given")
    door = None
    if options.fleet_token is not None:
        door = FleetDoor(_secret_of(options.fleet_token, "--fleet-token"))
        secrets.taken(options.fleet_token, "--fleet-token", partial(setattr, door, "token"))

    def make(access: Access, say_link: Callable[[str], None], sessions: Sessions, check: SignInCheck) -> Guard:
        reader, send_part = RecordReader(options.record), part_sender(options.record)
        return make_application(reader, access, say_link, sessions, check, send_part, fleet_door=door)

    return make


def _of_all_boxes(options: DeskOptions, database: str, secrets: _Secrets) -> MakeDesk:
    """Return what makes the desk of all boxes, once the database is found to be one that can be read."""
    from vision_line.central.database_connection import connected
    from vision_line.central.database_url import database_url
    from vision_line.central.schema_steps import check_usable, found_schema
    from vision_line.desk.application import make_central_application
    from vision_line.desk.central.box_addresses import read_boxes
    from vision_line.desk.central.central_source import CentralSource
    from vision_line.desk.central.fetched_files import FetchedFiles

    url = database_url(None if database == "-" else database)
    if (options.record / RECORD_FILE).is_file():
        raise ConfigError(
            f"--record {options.record}: has a box's records; name a folder of the desk's own, for its users and copies"
        )
    boxes = {} if options.boxes is None else read_boxes(options.boxes)
    if boxes and options.fleet_token is None:
        raise ConfigError("--boxes needs --fleet-token: the boxes give their images to who knows it")
    token = b"" if options.fleet_token is None else _secret_of(options.fleet_token, "--fleet-token")
    with connected(url) as connection:
        check_usable(found_schema(connection))
    options.record.mkdir(parents=True, exist_ok=True)
    files = FetchedFiles(options.record, boxes, token.decode())
    if options.fleet_token is not None:
        secrets.taken(options.fleet_token, "--fleet-token", lambda found: setattr(files, "token", found.decode()))

    def make(access: Access, say_link: Callable[[str], None], sessions: Sessions, check: SignInCheck) -> Guard:
        source = CentralSource(url, options.record)
        return make_central_application(source, files, boxes, access, say_link, sessions, check=check)

    return make


def check_installed() -> None:
    """Raise ConfigError where what the desk needs is not installed."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"the desk needs {', '.join(missing)}: {install_extra('desk')}")


def is_journal(stream: IO[str]) -> bool:
    """Whether systemd keeps what is written here: it says so in the environment, by device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream in memory, or a closed one
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def listen_address(listen: str, option: str = "--listen") -> ListenAddress:
    """Return the address that an option names.

    Raises:
        ConfigError: it is none.
    """
    try:
        return parse_listen(listen)
    except ValueError as exc:
        raise ConfigError(f"{option}: {exc}") from exc


def _access(options: DeskOptions, address: ListenAddress, secrets: _Secrets, *, has_users: bool) -> Access:
    """Return how the desk is reached, if that is safe."""
    from vision_line.desk.access import Access

    is_tls = options.tls_cert is not None
    proxy = _proxy(options.behind_proxy, options.proxy_secret, secrets)
    if not address.is_loopback and not (has_users and (is_tls or proxy)):
        raise ConfigError(
            f"--listen {address}: expected an address of this machine alone, such as 127.0.0.1:8080; others need"
            " users (vision-line desk user add), and --tls-cert with --tls-key, or --behind-proxy"
        )
    if proxy and not has_users:
        raise ConfigError("--behind-proxy needs users: vision-line desk user add NAME --role ROLE --no-password")
    if ip_address(address.host).is_unspecified and not options.names:
        raise ConfigError(f"--listen {address}: say with --name how browsers call this machine")
    return Access(address, options.names, is_tls, proxy)


def _proxy(networks: Sequence[str], secret_file: Path | None, secrets: _Secrets) -> TrustedProxy | None:
    from vision_line.desk.access import TrustedProxy

    if not networks and secret_file is None:
        return None
    if not networks or secret_file is None:
        raise ConfigError("expected --behind-proxy and --proxy-secret, found one of them")
    try:
        found = tuple(ip_network(network) for network in networks)
    except ValueError as exc:
        raise ConfigError(f"--behind-proxy: expected a network such as 127.0.0.1/32: {exc}") from exc
    proxy = TrustedProxy(found, _secret_of(secret_file, "--proxy-secret"))
    secrets.taken(secret_file, "--proxy-secret", partial(setattr, proxy, "secret"))
    return proxy


def _secret_of(file: Path, option: str) -> bytes:
    """Return the secret that a file has.

    Raises:
        ConfigError: it cannot be read, or the secret is short.
    """
    try:
        secret = file.read_bytes().strip()
    except OSError as exc:
        raise ConfigError(f"{option} {file}: cannot be read: {exc.strerror}") from exc
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigError(f"{option} {file}: expected {_SHORTEST_SECRET} characters or more")
    return secret


def _certificate(options: DeskOptions) -> tuple[Path, Path] | None:
    """Return certificate and key, None without TLS.

    Raises:
        ConfigError: one is missing, or they cannot be used.
    """
    certificate, key = options.tls_cert, options.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("expected --tls-cert and --tls-key, found one of them")
    try:  # the server would say it by a traceback, and ask for the password of a key
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--tls-cert {certificate} with --tls-key {key}: cannot be used: {exc}") from exc
    return certificate, key


def _renew_certificate(options: DeskOptions, connections: ssl.SSLContext) -> bool:
    """Have new connections begin with the certificate that the files hold now; return whether it can be used."""
    try:
        certificate = _certificate(options)  # of its own first: a half of a pair would be taken over
        if certificate is not None:
            connections.load_cert_chain(*certificate, password="")
    except (ConfigError, OSError, ValueError) as exc:  # the files may change between the two
        logger.error("%s; the one of before stays in force", exc)
        return False
    return True
