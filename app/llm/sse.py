"""Reading server-sent events from the bytes of a network, wherever those are cut."""

from collections.abc import Iterable, Iterator, Sequence

# No model writes an event like that; it bounds what a broken server can make us keep.
LONGEST_EVENT = 4_000_000


class EventTooLongError(Exception):
    """An event without end."""


def read_events(blocks: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the data of the events that a block brings to their end, for each that brings any.

    Comments and other fields are passed over; the end of the last block ends an event too. Raises `EventTooLongError`.
    """
    data: list[bytes] = []
    kept = b""
    for block in blocks:
        *lines, kept = (kept + block).split(b"\n")
        if events := _events_in(lines, data):
            yield events
        if len(kept) + sum(map(len, data)) > LONGEST_EVENT:
            raise EventTooLongError
    if events := _events_in((kept, b""), data):
        yield events


def _events_in(lines: Iterable[bytes], data: list[bytes]) -> list[bytes]:
    """Return the events that end in `lines`; `data` holds what has come of one that has not."""
    events: list[bytes] = []
    for line in lines:
        plain = line.removesuffix(b"\r")
        if plain.startswith(b"data:"):
            data.append(plain[5:].removeprefix(b" "))
        elif not plain and data:
            events.append(b"\n".join(data))
            data.clear()
    return events
