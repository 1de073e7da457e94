"""Scan, sign, walk: the debit follows.

Everything is in the generated module under the names of the Rust documentation; `events` is the one addition.
"""

import datetime
from collections.abc import AsyncIterator

from . import walkpay as _generated
from .walkpay import *  # noqa: F401,F403

__all__ = [*_generated.__all__, "events"]

# One wait for an event: long enough to be quiet, short enough to notice a terminal that was shut down.
_WAIT = datetime.timedelta(seconds=25)


async def events(terminal: "_generated.Terminal", after: int) -> "AsyncIterator[_generated.HostEvent]":
    """The events above `after` of the user who is signed in, as they come, until the loop ends or the terminal does.

    None is lost by stopping: acknowledge with `Terminal.ack_events` what has been dealt with.
    """
    while True:
        event = await terminal.next_event(after, _WAIT)
        if event is not None:
            after = event.number
            yield event
