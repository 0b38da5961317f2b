# SPDX-License-Identifier: AGPL-3.0-or-later
"""A subscription whose messages have a bound: a client refuses one that is larger than it takes, and loses all of it.

The library puts whatever waits into one message, however much that is.
"""

from __future__ import annotations

from asyncua import ua
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.uaprocessor import PublishRequestData

#: Events in one message: a few kilobytes each, where a message may have a megabyte.
MOST_EVENTS = 100


class BoundedSubscription(InternalSubscription):
    """The library's, with no more than so many events in a message; the rest follows at once."""

    async def publish_results(self, requestdata: PublishRequestData | None = None) -> bool:
        """Answer a client's request with what waits, and further requests of it with the rest."""
        is_sent: bool = await super().publish_results(requestdata)
        goes_on = is_sent
        while goes_on and self._publishing_enabled and self._triggered_events:
            goes_on = await super().publish_results()
        return is_sent

    def _pop_triggered_events(self, result: ua.PublishResult) -> None:
        """Take the oldest events of each item, as many as a message may have."""
        taken: list[ua.EventFieldList] = []
        for item, waiting in list(self._triggered_events.items()):
            room = MOST_EVENTS - len(taken)
            taken += waiting[:room]
            if waiting[room:]:
                self._triggered_events[item] = waiting[room:]
                break
            del self._triggered_events[item]
        if taken:
            result.NotificationMessage.NotificationData.append(ua.EventNotificationList(Events=taken))
