"""Reading server-sent events from the bytes of a network, wherever those are cut."""

from collections.abc import Iterable, Iterator

# No model writes a line like that; it bounds what a broken server can make us keep.
LONGEST_LINE = 4_000_000


class EventTooLongError(Exception):
    """A line without end."""


def read_events(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the data of each event. Comments and other fields are passed over; the end ends an event too."""
    data: list[bytes] = []
    for line in _read_lines(blocks):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data.clear()
    if data:
        yield b"\n".join(data)


def _read_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    kept = b""
    for block in blocks:
        *whole, kept = (kept + block).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(kept) > LONGEST_LINE:
            raise EventTooLongError
    if kept:
        yield kept.removesuffix(b"\r")
