# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages as CloudEvents 1.0, and requests signed as Standard Webhooks says. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from vision_line.outputs.notification import VERSION, Notification, json_bytes
from vision_line.records.formats import iso_utc

STRUCTURED = "application/cloudevents+json; charset=utf-8"
BATCHED = "application/cloudevents-batch+json; charset=utf-8"


def cloud_event(said: Notification, source: str, sent_utc: float) -> bytes:
    """Return a message as a CloudEvent in JSON; its `data` is what every output says."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": said.id,
        "source": source,
        "type": f"vision-line.{said.kind}.v{VERSION}",
        "time": iso_utc(said.at_utc),
        "datacontenttype": "application/json",
    }
    named = said.camera or said.lane
    about = {} if named is None else {"subject": named}
    return b'%b,"data":%b}' % (json_bytes(event | about)[:-1], said.as_json(sent_utc))


def body_of(messages: Sequence[Notification], source: str, sent_utc: float, *, batched: bool) -> bytes:
    """Return a request's body: one event, or a list of them."""
    events = [cloud_event(said, source, sent_utc) for said in messages]
    return b"[%b]" % b",".join(events) if batched else events[0]


def request_id(messages: Sequence[Notification]) -> str:
    """Return what names a request, the same one when it is sent again."""
    first, last = messages[0], messages[-1]
    return first.id if first is last else f"{first.id}-{last.number}"


def signed_headers(name: str, at_s: int, body: bytes, secret: str | None) -> Mapping[str, str]:
    """Return `webhook-id`, `webhook-timestamp` and, with a `secret`, `webhook-signature`.

    The signature is the HMAC-SHA256 of `id.timestamp.body` by the bytes that stand behind `whsec_` as base64.
    """
    headers = {"webhook-id": name, "webhook-timestamp": str(at_s)}
    if secret is None:
        return headers
    signature = hmac.digest(key_of(secret), f"{name}.{at_s}.".encode() + body, hashlib.sha256)
    return headers | {"webhook-signature": f"v1,{base64.b64encode(signature).decode()}"}


def key_of(secret: str) -> bytes:
    """Return the key in `whsec_...`.

    Raises:
        ValueError: it is none.
    """
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
