# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may come, and how much of the server one client may have.

The library leaves holes that this closes: it serves sessions that were created and never activated, and connections
without encryption where only encrypted ones are offered; it does not compare the certificate of a connection with
that which a client names; it takes passwords that were sent readable; ids of sessions can be guessed.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from asyncua import ua
from asyncua.common.events import Event
from asyncua.common.utils import ServiceError
from asyncua.crypto import uacrypto
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession, SessionState
from asyncua.server.monitored_item_service import MonitoredItemData
from asyncua.server.subscription_service import SubscriptionService
from asyncua.server.user_managers import UserManager
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from vision_line.errors import RunError
from vision_line.outputs.opcua.bounded_subscription import BoundedSubscription
from vision_line.outputs.opcua.certificates import CertificateFolder, application_uri, is_current
from vision_line.outputs.opcua.sign_in_of_clients import ASKING, ClientSignIn, SignInRefusedError

logger = logging.getLogger(__name__)

SESSION_TIMEOUT_S = 60.0
#: Of one session.
MOST_SUBSCRIPTIONS = 5
MOST_ITEMS = 500
#: What waits for a client that does not fetch it: messages, and values or events of one monitored item.
_MOST_UNACKNOWLEDGED = 100
_MOST_QUEUED = 1000
#: Publishing intervals between these, in milliseconds.
_SHORTEST_MS, _LONGEST_MS = 50.0, 5000.0
#: Sessions that are not activated yet; the oldest goes.
_MOST_PENDING = 10
_OAEP = frozenset(
    {"http://www.w3.org/2001/04/xmlenc#rsa-oaep", "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256"}
)
_NOBODY = User(role=UserRole.Anonymous)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may come."""

    certificates: CertificateFolder
    sign_in: ClientSignIn
    is_encrypted_only: bool
    is_anonymous_allowed: bool
    max_sessions: int


class GuardedServer(InternalServer):
    """The library's server with an admission and with bounds."""

    def __init__(self, admission: Admission, before_session: Callable[[], Awaitable[None]] | None = None) -> None:
        """`before_session` is awaited before a client gets a session."""
        self.admission = admission
        self.before_session = before_session
        super().__init__(user_manager=_NamedUsers())
        self.subscription_service = BoundedSubscriptions(self.aspace, iserver=self)
        self.isession.subscription_service = self.subscription_service
        self.allow_remote_admin = False
        self.min_session_timeout_ms = 5000.0
        self.max_session_timeout_ms = SESSION_TIMEOUT_S * 1000
        self.max_connections = admission.max_sessions + _MOST_PENDING
        self.max_pending_activation_seconds = 10.0
        self.max_unacked_messages_per_subscription = _MOST_UNACKNOWLEDGED
        self.max_monitored_item_queue_size = _MOST_QUEUED
        # A session that fetches nothing ends first, which its client hears of; of a subscription's end nobody does.
        self.max_lifetime_count = round(2 * SESSION_TIMEOUT_S * 1000 / _SHORTEST_MS)
        self.max_keep_alive_count = 60
        self.max_subscriptions = MOST_SUBSCRIPTIONS * admission.max_sessions
        anonymous = (ua.AnonymousIdentityToken,) if admission.is_anonymous_allowed else ()
        self.supported_tokens = (ua.UserNameIdentityToken, *anonymous)

    @property
    def sessions(self) -> list[GuardedSession]:
        """The sessions of clients."""
        return [session for session in self._external_sessions.values() if isinstance(session, GuardedSession)]

    def create_session(self, name: tuple[str, int], user: User = _NOBODY, external: bool = False) -> InternalSession:
        """Return a new session of a client; of those that are not activated the oldest goes."""
        del external
        pending = [session for session in self.sessions if not session.is_activated()]
        for session in pending[: max(0, len(pending) + 1 - _MOST_PENDING)]:
            self.unregister_external_session(session)
            session.state = SessionState.Closed
        return GuardedSession(self, name, user)

    def register_server(self, server: object, conf: object = None) -> None:
        """Refuse: this is no discovery server, and what others register would be kept.

        Raises:
            ServiceError: always.
        """
        del server, conf
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)

    def decrypt_user_token(self, isession: GuardedSession, token: ua.UserNameIdentityToken) -> tuple[str, str]:
        """Return the user's name once their password was found to be right.

        Raises:
            ServiceError: it is not, or came readable or in a way that gives it away.
        """
        if not isession.is_encrypted or (token.EncryptionAlgorithm and token.EncryptionAlgorithm not in _OAEP):
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)
        name, password = super().decrypt_user_token(isession, token)
        try:
            return self.admission.sign_in.check(name or "", password or "", isession.address), ""
        except SignInRefusedError as exc:
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied) from exc
        except RunError as exc:
            logger.error("OPC UA: nobody can sign in: %s", exc)
            raise ServiceError(ua.StatusCodes.BadInternalError) from exc


class _NamedUsers(UserManager):
    """Everybody who was let in may read; nobody may change the address space."""

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: object = None,
    ) -> User | None:
        del iserver, password, certificate
        return User(role=UserRole.User, name=username)


class GuardedSession(InternalSession):
    """A client's session: does nothing before it was activated, and nothing to what another session has."""

    def __init__(self, server: GuardedServer, name: tuple[str, int], user: User) -> None:
        super().__init__(server, server.aspace, server.subscription_service, name, user=user, external=False)
        self.admission = server.admission
        self.server = server
        self.address = str(name[0]) if name else ""
        self.is_encrypted = False
        self.external = True
        self.auth_token = ua.NodeId(secrets.token_bytes(32), 0, ua.NodeIdType.ByteString)
        self._client_uri: str | None = None
        server.register_external_session(self)

    async def create_session(
        self, params: ua.CreateSessionParameters, sockname: tuple[str, int] | None = None
    ) -> ua.CreateSessionResult:
        """Keep what the client says of itself, to compare it with its certificate."""
        self._client_uri = params.ClientDescription.ApplicationUri
        if self.server.before_session is not None:
            await self.server.before_session()
        return await super().create_session(params, sockname)

    def activate_session(
        self, params: ua.ActivateSessionParameters, peer_certificate: bytes | None
    ) -> ua.ActivateSessionResult:
        """Let the client in.

        Raises:
            ServiceError: its connection, certificate or password is not right, or there are too many.
        """
        self.is_encrypted = bool(peer_certificate)
        if peer_certificate:
            self._check_certificate(peer_certificate)
            self._check_key(peer_certificate, params.ClientSignature.Signature)
        elif self.admission.is_encrypted_only:
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        others = sum(session.is_activated() for session in self.server.sessions if session is not self)
        if others >= self.admission.max_sessions:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        return super().activate_session(params, peer_certificate)

    async def close_session(self, delete_subs: bool = True) -> None:
        """End; nothing of it is left, whatever the client asks for."""
        del delete_subs
        await super().close_session(delete_subs=False)
        await self.subscription_service.delete_subscriptions(self._subscriptions())

    def publish(self, acks: list[ua.SubscriptionAcknowledgement] | None = None) -> tuple[int, list[ua.StatusCode]]:
        """Take a request that will be answered with what there is to say.

        Raises:
            ServiceError: the session was not let in, or has no subscription: it would wait for ever.
        """
        if not self.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)
        if not self._subscriptions():
            raise ServiceError(ua.StatusCodes.BadNoSubscription)
        taken: tuple[int, list[ua.StatusCode]] = super().publish(acks)
        return taken

    def _subscriptions(self) -> list[int]:
        """Return the numbers of this session's subscriptions."""
        subscriptions = self.subscription_service.subscriptions.items()
        return [number for number, one in subscriptions if one.session_id == self.session_id]

    def _check_certificate(self, der: bytes) -> None:
        folder = self.admission.certificates
        try:
            if not folder.is_trusted(der):
                if path := folder.reject(der):
                    logger.warning(
                        "OPC UA: the certificate of %s is not trusted: move %s to %s if it should be",
                        self.address,
                        path,
                        folder.trusted,
                    )
                raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)
            if not is_current(der, datetime.now(UTC)):
                raise ServiceError(ua.StatusCodes.BadCertificateTimeInvalid)
            if application_uri(x509.load_der_x509_certificate(der)) != self._client_uri:
                raise ServiceError(ua.StatusCodes.BadCertificateUriInvalid)
        except (ValueError, OSError) as exc:
            logger.warning("OPC UA: the certificate of %s cannot be checked: %s", self.address, exc)
            raise ServiceError(ua.StatusCodes.BadCertificateInvalid) from exc

    def _check_key(self, der: bytes, signature: bytes | None) -> None:
        """Find out whether the client has the certificate's key: without encryption it can name any certificate."""
        signed = uacrypto.der_from_x509(self.server.certificate) + (self.nonce or b"")
        try:
            uacrypto.verify_sha256(x509.load_der_x509_certificate(der), signed, signature or b"")
        except InvalidSignature as exc:
            raise ServiceError(ua.StatusCodes.BadApplicationSignatureInvalid) from exc

    def check_own(self, subscription: int) -> None:
        """Find out whether a subscription is this session's.

        Raises:
            ServiceError: it is not.
        """
        found = self.subscription_service.subscriptions.get(subscription)
        if found is None or found.session_id != self.session_id:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)

    async def transfer_subscriptions(
        self, params: ua.TransferSubscriptionsParameters, callback: Callable[..., Awaitable[None]]
    ) -> list[ua.TransferResult]:
        """Refuse: clients then subscribe anew.

        Raises:
            ServiceError: always.
        """
        del params, callback
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


#: What a client may ask of its session once it was activated; of the others nothing changes what is not its own.
_SERVICES = (
    *(
        "read",
        "write",
        "browse",
        "browse_next",
        "translate_browsepaths_to_nodeids",
        "register_nodes",
        "unregister_nodes",
    ),
    *("history_read", "history_update", "add_nodes", "delete_nodes", "add_references", "delete_references", "call"),
    *("create_subscription", "create_monitored_items", "modify_monitored_items", "delete_monitored_items"),
    *("modify_subscription", "delete_subscriptions", "set_monitoring_mode", "set_publishing_mode", "republish"),
)


def _guarded(name: str) -> Callable[..., object]:
    """Return a service that refuses who was not let in, and subscriptions of others; awaitable as the service is."""
    service = getattr(InternalSession, name)

    def call(self: GuardedSession, params: object = None, *rest: object, **named: object) -> object:
        if not self.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)
        for subscription in _subscriptions_in(name, params):
            self.check_own(subscription)
        ASKING.set(self.user.name or "")
        return service(self, params, *rest, **named)

    call.__name__ = name
    return call


def _subscriptions_in(service: str, params: object) -> Sequence[int]:
    """Return the ids of subscriptions that a request is about."""
    if service == "delete_subscriptions":
        return params if isinstance(params, list) else ()
    if (ids := getattr(params, "SubscriptionIds", None)) is not None:
        return list(ids)
    found = getattr(params, "SubscriptionId", None)
    return () if found is None else (found,)


for _service in _SERVICES:
    setattr(GuardedSession, _service, _guarded(_service))


class BoundedSubscriptions(SubscriptionService):
    """Subscriptions with bounds: neither a fault nor a flood of one client costs the others much."""

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Awaitable[None]],
        session_id: ua.NodeId,
        request_callback: Callable[..., Awaitable[None]] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Make a subscription with a publishing interval that the server bears.

        Raises:
            ServiceError: the session has too many.
        """
        if sum(one.session_id == session_id for one in self.subscriptions.values()) >= MOST_SUBSCRIPTIONS:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        params.RequestedPublishingInterval = min(max(params.RequestedPublishingInterval, _SHORTEST_MS), _LONGEST_MS)
        made = await super().create_subscription(params, callback, session_id, request_callback)
        # The library makes it, and asks nobody of which class; there is nothing in it but what its base has.
        self.subscriptions[made.SubscriptionId].__class__ = BoundedSubscription
        return made

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """Make monitored items; one whose filter no event could be told by is refused.

        Raises:
            ServiceError: the subscription has too many.
        """
        if len(self._held(params.SubscriptionId)) + len(params.ItemsToCreate) > MOST_ITEMS:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        results: list[ua.MonitoredItemCreateResult] = []
        for item in params.ItemsToCreate:
            if _is_usable(item.ItemToMonitor.AttributeId, item.RequestedParameters.Filter):
                results += await super().create_monitored_items(replace(params, ItemsToCreate=[item]))
            else:
                refused = ua.StatusCode(ua.StatusCodes.BadEventFilterInvalid)
                results.append(ua.MonitoredItemCreateResult(StatusCode=refused))
        return results

    def modify_monitored_items(self, params: ua.ModifyMonitoredItemsParameters) -> list[ua.MonitoredItemModifyResult]:
        """Change monitored items.

        Raises:
            ServiceError: one gets a filter that no event could be told by, or is not there.
        """
        held = self._held(params.SubscriptionId)
        for item in params.ItemsToModify:
            if (known := held.get(item.MonitoredItemId)) is None:
                raise ServiceError(ua.StatusCodes.BadMonitoredItemIdInvalid)
            wanted = item.RequestedParameters.Filter
            if wanted is not None and not _is_usable(known.read_value_id.AttributeId, wanted):
                raise ServiceError(ua.StatusCodes.BadEventFilterInvalid)
        changed: list[ua.MonitoredItemModifyResult] = super().modify_monitored_items(params)
        return changed

    async def trigger_event(self, event: Event, subscription_id: int | None = None) -> None:
        """Put an event into all subscriptions, or one; what cannot take it costs that subscription alone."""
        asked = list(self.subscriptions) if subscription_id is None else [subscription_id]
        for number in asked:
            try:
                await super().trigger_event(event, number)
            except Exception as exc:  # noqa: BLE001  whatever a client's filter provokes in the library
                logger.warning("OPC UA: a subscription asks for what no event has, and is ended: %r", exc)
                await self.delete_subscriptions([number])

    def _held(self, subscription: int) -> dict[int, MonitoredItemData]:
        """Return the items of a subscription by their ids, none where there is none."""
        found = self.subscriptions.get(subscription)
        held: dict[int, MonitoredItemData] = {}
        return held if found is None else found.monitored_item_srv._monitored_items  # noqa: SLF001  no other way to know


def _is_usable(attribute: int, wanted: object) -> bool:
    """Whether an item of this attribute can have a filter. Of an event's, paths that are missing become empty ones."""
    if attribute != ua.AttributeIds.EventNotifier:
        return not isinstance(wanted, ua.EventFilter)
    if not isinstance(wanted, ua.EventFilter):
        return False
    wanted.SelectClauses = wanted.SelectClauses or []
    for clause in wanted.SelectClauses:
        clause.BrowsePath = clause.BrowsePath or []  # C programs say by no path at all that they mean the node itself
        if not clause.BrowsePath and clause.AttributeId not in list(ua.AttributeIds):
            return False
    return all(part.Name for clause in wanted.SelectClauses for part in clause.BrowsePath)
