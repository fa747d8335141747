"""Reads the end of a reply of OpenAI's Responses API, which llm drops: failed, incomplete, refused."""

import json
from typing import Any

from consortium_mcp.models.reply_events import EventReader
from consortium_mcp.models.reply_faults import not_a_reply, reported

_FAILED = ("error", "response.failed")

_LONGEST_START = 2_000
"""The number of bytes of a reply that are kept to describe one in another form."""


class ResponsesReader:
    """Reads one reply as it arrives, beside the client that the reply is for.

    It has the attributes of ReplyReader that describe the end of a reply.
    """

    def __init__(self, streams: bool) -> None:
        """Begin.

        Args:
            streams: whether the reply is a stream of events; else it is one JSON object.
        """
        self._events = EventReader() if streams else None
        self._body: list[bytes] = []
        self._start = b""
        self._is_reply = False
        self.finish_reason: str | None = None
        """The reason why the reply is incomplete; None for a complete reply."""
        self.refusal = ""
        """The model's refusal; empty if it does not refuse."""
        self.thinking = self.tool_arguments = ""
        self.tools: list[str] = []

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes; raises ReplyFault at an error that the provider reports."""
        if len(self._start) < _LONGEST_START:
            self._start += chunk[:_LONGEST_START]
        if self._events is None:
            self._body.append(chunk)
            return
        for data in self._events.feed(chunk):
            self._take(_decoded(data))

    def end(self) -> None:
        """Read the rest; raises ReplyFault at an error that the provider reports, or for another form of reply."""
        if self._events is None:
            self._take_response(_decoded(b"".join(self._body)))
        else:
            for data in self._events.end():
                self._take(_decoded(data))
        if not self._is_reply:
            raise not_a_reply(self._start)

    def _take(self, event: Any) -> None:
        if not isinstance(event, dict):
            return
        kind = event.get("type")
        self._is_reply |= isinstance(kind, str) and kind.startswith("response.")
        if kind in _FAILED or (kind is None and event.get("error")):
            inner = event.get("response")
            error = (inner.get("error") if isinstance(inner, dict) else None) or event.get("error")
            raise reported(error or {name: event.get(name) for name in ("code", "message")})
        if kind == "response.incomplete":
            self._take_response(event.get("response"))
        elif kind == "response.refusal.delta" and isinstance(event.get("delta"), str):
            self.refusal += event["delta"]

    def _take_response(self, response: Any) -> None:
        if not isinstance(response, dict):
            return
        if error := response.get("error"):
            raise reported(error)
        self._is_reply |= "output" in response
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        if isinstance(reason, str):
            self.finish_reason = reason
        for item in _objects(response.get("output")):
            for part in _objects(item.get("content")):
                if isinstance(part.get("refusal"), str):
                    self.refusal = part["refusal"]


def _decoded(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
