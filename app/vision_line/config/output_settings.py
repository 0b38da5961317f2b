# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[[output]]` of `streams.toml`: what other systems are told of the records, and how they are reached."""

from __future__ import annotations

import re
from base64 import b64decode
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

from vision_line.config.listen import ListenAddress, parse_listen
from vision_line.config.table_values import HOW_TO_ESCAPE
from vision_line.config.toml import Problem
from vision_line.documented import Documented
from vision_line.errors import mask_credentials

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TOPIC = re.compile(r"[^\x00-\x1f\x7f+#]{1,200}")
_SITE = re.compile(r"[A-Za-z0-9._~/-]{1,200}")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")

#: What an output may ask for: kinds of the entries of the records' journal; of the parts' from `part` on; of the
#: reviews' `challenge`; `alarm` is the state of a run.
OutputKind = Literal[
    "event",
    "evidence",
    "clip",
    "state",
    "interval",
    "minute",
    "run",
    "camera",
    "configuration",
    "doubt",
    "clock_step",
    "near_miss",
    "audit",
    "seal",
    "removal",
    "part",
    "correction",
    "lot",
    "recipe",
    "recipe_state",
    "challenge",
    "alarm",
]
Verdicts = Literal["accept", "warn", "reject", "not_inspected"]


class OutputSettings(Documented, BaseModel):
    """Keys of every `[[output]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    name: str
    """Unique; letters, digits, `_`, `.`, `-`. An output that gets another name begins anew."""
    enabled: bool = True
    """false: the output is kept in the file but gets nothing; what happens meanwhile it gets later."""
    kinds: list[OutputKind] = Field(
        [
            "event",
            "evidence",
            "state",
            "interval",
            "run",
            "doubt",
            "part",
            "correction",
            "lot",
            "recipe",
            "recipe_state",
        ],
        min_length=1,
    )
    """What is sent, by the kinds of the journals' entries."""
    cameras: list[str] = []
    """Only these cameras; empty: all."""
    classes: list[str] = []
    """Events, images and near misses of these classes only; empty: all."""
    lanes: list[str] = []
    """Parts, lots and recipes of these lanes only, and what is for every lane; empty: all."""
    verdicts: list[Verdicts] = []
    """Events, images and parts of these verdicts only; empty: all. Of an event, what comes once it has one of them."""
    since: Literal["now", "all"] = "now"
    """Where a new output begins: with what happens from now on, or with the oldest entry that is kept."""
    max_backlog: int = Field(0, ge=0)
    """With more entries of a journal waiting the oldest are given up, which is counted and sent as `lost`; 0: never."""
    timeout_s: float = Field(10.0, gt=0, le=120)
    """How long connecting, and each acknowledgement, may take."""
    ca: str | None = None
    """PEM file of the trusted CAs, relative to this file; default: the system's."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"expected 1 to 64 letters, digits, '_', '.', '-', found {value!r}")
        if value == "central":
            raise ValueError("expected another name: 'central' is what [central] is called among the outputs")
        return value


class MqttOutput(OutputSettings):
    """`type = "mqtt"`: a broker."""

    type: Literal["mqtt"]
    """`mqtt`."""
    url: SecretStr
    """`mqtts://` or `mqtt://`, user, password, host, port: `mqtts://{MQTT_USER}:{MQTT_PASSWORD}@broker.plant:8883`."""
    topic: str
    """What every topic begins with: `acme/hall-2/line-1/vision`."""
    accept_commands: bool = False
    """true: lots, recipes, parts and challenges come in below `cmd/`. Needs `mqtts://` with a user."""

    @field_validator("url", mode="before")
    @classmethod
    def _url(cls, value: object) -> SecretStr:
        return checked_url(value, ("mqtt", "mqtts"))

    @field_validator("topic")
    @classmethod
    def _topic(cls, value: str) -> str:
        if not _TOPIC.fullmatch(value) or value.startswith(("/", "$")) or value.endswith("/"):
            raise ValueError(f"expected a topic without +, # and a / at its ends, found {value!r}")
        return value

    @model_validator(mode="after")
    def _commands(self) -> MqttOutput:
        if self.accept_commands and not _may_command(self.url.get_secret_value()):
            raise ValueError(
                "accept_commands: expected mqtts:// with user and password, or a broker on this machine: else anybody"
                " in the network may change lots and recipes"
            )
        return self


class WebhookOutput(OutputSettings):
    """`type = "webhook"`: an HTTP server."""

    type: Literal["webhook"]
    """`webhook`."""
    url: SecretStr
    """`https://` or `http://`: where each message is posted to."""
    source: str
    """Who says it, the `source` of every CloudEvent: `/vision-line/hall-2/line-1`."""
    secret: SecretStr | None = None
    """Signs each request: `{WEBHOOK_SECRET}`, with `whsec_` before base64 of 24 to 64 bytes; default: not signed."""
    batch: int = Field(1, ge=1, le=100)
    """1: a request each message. More: up to so many in one request, as a CloudEvents batch."""

    @field_validator("url", mode="before")
    @classmethod
    def _url(cls, value: object) -> SecretStr:
        return checked_url(value, ("http", "https"))

    @field_validator("secret", mode="before")
    @classmethod
    def _secret(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.startswith("{") and not _is_key(value):
            raise ValueError("expected whsec_ and base64 of 24 to 64 bytes, or a {NAME}")
        return SecretStr(value)

    @field_validator("source")
    @classmethod
    def _source(cls, value: str) -> str:
        if not _SITE.fullmatch(value):
            raise ValueError(f"expected a path of letters, digits, '.', '_', '~', '-', '/', found {value!r}")
        return value


class OpcUaOutput(OutputSettings):
    """`type = "opcua"`: a server that clients connect to."""

    type: Literal["opcua"]
    """`opcua`. Its `kinds` are by default `event`, `state`, `interval`, `run`; with `part`, parts are its results."""
    kinds: list[OutputKind] = Field(["event", "state", "interval", "run"], min_length=1)
    allow_remote: bool = False
    """true: `listen` may be an address that other machines reach."""
    listen: str = "127.0.0.1:4840"
    """IP address and port of the server: `127.0.0.1:4840`, `[::1]:4840`; its endpoint is `/vision-line`."""
    encrypted: bool = True
    """false: clients may also come without encryption and certificate; passwords are never taken from these."""
    anonymous: bool = False
    """true: clients without user and password may come too; they only read."""
    accept_commands: bool = False
    """true: lots, recipes, parts and challenges come in by methods, from users of the role quality."""
    certificates: str | None = None
    """Folder of the server's and clients' certificates, relative to this file; default: `opcua` in the records."""
    max_sessions: int = Field(20, ge=1, le=100)
    """How many clients may be connected at once."""

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str, info: ValidationInfo) -> str:
        if not parse_listen(value).is_loopback and not info.data.get("allow_remote"):
            raise ValueError(f"found {value!r}, which other machines reach: expected 127.0.0.1, or allow_remote = true")
        return value

    @property
    def address(self) -> ListenAddress:
        """Where to listen."""
        return parse_listen(self.listen)


def _may_command(url: str) -> bool:
    """Whether a broker knows who speaks, and nobody listens between; one whose URL is a `{NAME}` is asked later."""
    if url.startswith("{"):
        return True
    parts = urlsplit(url)
    is_private = parts.scheme.lower() == "mqtts" and bool(parts.username) and bool(parts.password)
    return is_private or _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_key(secret: str) -> bool:
    """Whether it is a key as Standard Webhooks writes one."""
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return secret.startswith("whsec_") and 24 <= len(key) <= 64


_TYPES = frozenset({"mqtt", "webhook", "opcua"})
AnyOutput = MqttOutput | WebhookOutput | OpcUaOutput
Output = Annotated[AnyOutput, Field(discriminator="type")]


def display_url(output: MqttOutput | WebhookOutput) -> str:
    """Return the URL with user and password masked: the only form that may be shown or logged."""
    return mask_credentials(output.url.get_secret_value().replace(" ", "%20"))


def shown_address(output: AnyOutput) -> str:
    """Return where an output is reached: a URL without user, password and path, which may be a secret."""
    if isinstance(output, OpcUaOutput):
        return f"opc.tcp://{output.address}"
    parts = urlsplit(output.url.get_secret_value())
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if parts.port is None else f":{parts.port}")


def checked_url(value: object, schemes: tuple[str, ...]) -> SecretStr:
    """Return a URL that may still hold `{NAME}`s; one that begins with it is checked when it is filled in.

    Raises:
        ValueError: it is none of the schemes, has no host, or holds a password that ends too early; what was found is
            not shown.
    """
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a string, found {type(value).__name__}")  # noqa: TRY004  pydantic wants ValueError
    if value.startswith("{"):
        return SecretStr(value)
    expected = " or ".join(f"{scheme}://" for scheme in schemes)
    scheme, separator, _ = value.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise ValueError(f"expected {expected}, found neither")
    if _CONTROL.search(value):
        raise ValueError("expected no spaces or control characters in a URL")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as resolvers do: it refuses a label that is empty or too long
    except ValueError:
        # Not chained: it quotes what it took for the port, which may be a piece of the password.
        raise ValueError(f"expected {expected} with host[:port], found no such host or port") from None
    if not host or port == 0:
        raise ValueError(f"expected a host name behind {expected}, and no port 0")
    if ":" in parts.netloc and "@" not in parts.netloc and "@" in value.partition("://")[2]:
        # It would go to a host that is called as the user is, which would be shown.
        raise ValueError(f"expected no @ behind the host: {HOW_TO_ESCAPE}")
    return SecretStr(value)


def output_problems(problems: list[Problem]) -> list[Problem]:
    """Return problems at the keys where they are in the file: of one of several types, its name is a part of the path.

    Pure.
    """
    return [
        (path[:2] + path[3:], words)
        if path[:1] == ("output",) and len(path) > 2 and path[2] in _TYPES
        else (path, words)
        for path, words in problems
    ]
