"""Parses server-sent events from bytes that arrive in chunks of any size."""

from collections.abc import Iterable, Iterator


class EventReader:
    """Reads server-sent events as they arrive; it never raises.

    See https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
    It is more lenient in three points. Bytes that are no UTF-8 are replaced. The end of the stream ends an event.
    A line `error: {…}`, as old llama.cpp servers write it, is data.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """The pieces of an unfinished line; a list, because a line may be long."""
        self._data: list[bytes] = []
        """The data lines of an unfinished event."""
        self.waiting = 0
        """The number of bytes of the unfinished event."""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that is now complete."""
        self._rest.append(chunk)
        self.waiting += len(chunk)
        if b"\n" in chunk or b"\r" in chunk:
            lines = b"".join(self._rest).splitlines(keepends=True)
            # After a CR at the end, an LF may follow.
            self._rest = [] if lines[-1].endswith(b"\n") else [lines.pop()]
            self.waiting = sum(map(len, self._rest)) + sum(map(len, self._data))
            yield from self._events(lines)

    def end(self) -> Iterator[str]:
        """The same at the end of the stream."""
        lines = b"".join(self._rest).splitlines(keepends=True)
        self._rest = []
        yield from self._events([*lines, b"\n"])

    def _events(self, ended_lines: Iterable[bytes]) -> Iterator[str]:
        for ended_line in ended_lines:
            line = ended_line.rstrip(b"\r\n")
            name, _, value = line.partition(b":")
            if name == b"data" or (name == b"error" and value.lstrip()[:1] == b"{"):
                self._data.append(value.removeprefix(b" "))
                self.waiting += len(value)
            elif not line and self._data:
                self.waiting -= sum(map(len, self._data))
                yield b"\n".join(self._data).decode("utf-8", "replace")
                self._data = []
