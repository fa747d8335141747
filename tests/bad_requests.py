"""Requests that no client would send, as Hypothesis draws them, and how they are sent: many at once, each in time."""

import http.client
import json
import re
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st

from tests.server_process import INITIALIZE, JSON

SECONDS = 60
"""How long each request waits for its answer: one that takes longer hangs."""

CUT = 0
"""Instead of a status: the server ended the connection without an answer, as it may where what came is no HTTP."""

OWN_SESSION = "s" * 32
"""Stands for the session that a connection has of its own."""

LEGACY, MODERN = "2025-11-25", "2026-07-28"
METHODS: tuple[Any, ...] = (
    *("ping", "tools/list", "tools/call", "resources/list", "resources/read", "resources/subscribe", "initialize"),
    *("resources/templates/list", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel"),
    *("notifications/initialized", "notifications/cancelled", "server/discover", "subscriptions/listen"),
    *("tools/call", "tools/call", "resources/read", "prompts/get"),
    *("", "x" * 1000, "tools/call\r\n", "../tools/list", "__init__", "rpc.discover", None, 7, [], {}),
)
PATHS = (
    *("/messages/?session_id=0", f"/messages/?session_id={'0' * 32}", "/messages/?session_id=%0a%00", "/messages/"),
    *("/sse", "/sse?x=1", "/sse/", "/mcp/", "/mcp?a=b&a=c", "/mcp/../..", "//mcp", "/%2e%2e/%2e%2e/etc/passwd", "/%00"),
    *(
        "/",
        "*",
        "/healthz",
        "/readyz",
        "/.well-known/oauth-protected-resource",
        "http://evil.example/",
        "/" + "x" * 9999,
    ),
)
VERBS = ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "TRACE", "BREW")
HEADERS = {
    "Content-Type": ("text/plain", "multipart/form-data; boundary=x", "application/json;q", "application/json, x", ""),
    "Accept": ("*/*", "text/html", "application/json", "text/event-stream", "", ";q=,;,"),
    "Mcp-Protocol-Version": ("2024-11-05", "1999-01-01", "x", "", "2026-07-28\t", "\xff"),
    "Mcp-Session-Id": ("x", "0" * 32, "../..", "%00", "\xff", "a" * 5000),
}
MORE_HEADERS = (
    *("Mcp-Method: tools/call", "Mcp-Name: get_run", "Mcp-Name: =?base64?/?=", "Mcp-Param-X: 1", "Last-Event-ID: 1"),
    *("Authorization: Bearer x", "Authorization: Basic \xff", "Origin: null", "Host: evil.example"),
    *("Expect: 100-continue", "Connection: Upgrade\r\nUpgrade: websocket", "Connection: close", "X: " + "y" * 20_000),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Content-Length: -1", "Content-Length: 9999"),
    *("Content-Encoding: gzip", "Forwarded: for=\x00", "X\x00: y", ": nothing", "no colon", " folded: x"),
)
WHOLE_BODIES = (
    *(b"", b"{", b"null", b"[]", b"\x00", b"\xff\xfe", b"[" * 5000, b'{"a":' * 5000, b"1" * 5000, b"NaN", b'"\\ud800"'),
    *(b'{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', b"\xef\xbb\xbf{}", b" " * 100_000),
)

_texts = st.sampled_from(["", "x", "\0", "\x1b[2J", "a\r\nb", "\ud800", "../../etc/passwd", "x" * 10_000]) | st.text(
    max_size=8
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _texts
_values = _scalars | st.lists(_scalars, max_size=3) | st.dictionaries(_texts, _scalars, max_size=3)
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
}
_params = st.fixed_dictionaries(
    {"_meta": st.sampled_from([_META] * 6 + [{}, None, 3])},
    optional={
        "name": st.sampled_from(["consult_consortium", "get_run", "list_runs", "list_models", "cancel_run"]) | _texts,
        "arguments": st.dictionaries(
            st.sampled_from(["prompt", "run_id", "models", "limit", "x"]), _values, max_size=3
        ),
        "uri": st.sampled_from(["consortium://runs", "consortium://runs/x/../y", "file:///etc/passwd"]) | _texts,
        "ref": _values,
    },
)
_messages = st.fixed_dictionaries(
    {
        "jsonrpc": st.sampled_from(["2.0"] * 15 + ["1.0", None]),
        "id": st.sampled_from([1, 2, 3, "x", "", -1, "_GET_stream"] * 3 + [10**30, 1.5, None, {}]),
        "method": st.sampled_from(METHODS),
        "params": st.integers(0, 5).flatmap(lambda number: _params if number else _values),
    }
)


@dataclass(frozen=True, repr=False)
class RawRequest:
    """A request as it goes over the wire."""

    wire: bytes
    """Everything that is sent."""

    verb: str = ""
    """Its method, which says whether its answer has a body."""

    streams: bool = False
    """Whether its answer may be a stream without end."""

    ends: bool = False
    """Whether the client says that nothing more comes, where a server would rightly wait for more."""

    def __repr__(self) -> str:
        """Short enough for a report of two hundred, which Hypothesis refuses to write where it is long."""
        return f"<{self.wire[:70]!r}>"


@st.composite
def bad_requests(draw: st.DrawFn, host: str) -> list[RawRequest]:
    """225 requests and more that are wrong somewhere: each of 15 heads with each of 15 bodies, and what is no HTTP."""
    heads = draw(st.lists(_heads(), min_size=15, max_size=15))
    bodies = draw(st.lists(_bodies(), min_size=15, max_size=15))
    no_http = draw(st.lists(st.binary(max_size=100), max_size=5))
    requests = [_request(host, *head, body) for head in heads for body in bodies]
    return [*requests, *(RawRequest(one + b"\r\n\r\n", ends=True) for one in no_http)]


def _request(host: str, verb: str, path: str, headers: list[str], body: bytes) -> RawRequest:
    length = f"Content-Length: {len(body)}"
    head = [f"{verb} {path} HTTP/1.1", f"Host: {host}", length, *headers, *_names(body), "", ""]
    return RawRequest(
        "\r\n".join(head).encode("latin-1") + body,
        verb,
        streams=verb == "GET" or b"subscriptions/listen" in body,
        ends=any(one.startswith(("Content-Length", "Transfer-Encoding")) for one in headers),
    )


def _names(body: bytes) -> list[str]:
    """The headers that repeat what is in the body, as the newest revision wants it; none where that is none."""
    try:
        message = json.loads(body)
        names = {"Mcp-Method": message["method"], "Mcp-Name": message["params"].get("name")}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    return [f"{key}: {name}" for key, name in names.items() if re.fullmatch(r"[!-~]{,99}", str(name))]


@st.composite
def _heads(draw: st.DrawFn) -> tuple[str, str, list[str]]:
    """Method, path and lines of headers, of which some are wrong and all else is as it should be, in either era."""
    headers = dict(JSON)
    if draw(st.booleans()):
        headers["Mcp-Protocol-Version"] = MODERN
    else:
        headers |= {"Mcp-Protocol-Version": LEGACY, "Mcp-Session-Id": OWN_SESSION}
    verb, path, more = "POST", "/mcp", []
    for wrong in draw(st.lists(st.sampled_from(["verb", "path", "more", "missing", *HEADERS]), max_size=2)):
        if wrong == "verb":
            verb = draw(st.sampled_from(VERBS))
        elif wrong == "path":
            path = draw(st.sampled_from(PATHS))
        elif wrong == "more":
            more.append(draw(st.sampled_from(MORE_HEADERS)))
        elif wrong == "missing":
            headers.pop(draw(st.sampled_from(sorted(headers))))
        else:
            headers[wrong] = draw(st.sampled_from(HEADERS[wrong]))
    return verb, path, [*(f"{name}: {value}" for name, value in headers.items()), *more]


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """What is sent behind the head: mostly JSON-RPC that is wrong somewhere."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from(WHOLE_BODIES))
    if kind == 1:
        return draw(st.binary(max_size=50))
    message: Any = draw(_messages)
    if kind == 2:
        message = [message] * draw(st.integers(0, 3))
    whole = json.dumps(message).encode()
    return whole[: draw(st.integers(0, len(whole)))] if kind == 3 else whole


class Sender:
    """Sends requests over several lines at once."""

    def __init__(self, url: str, lines: int = 16) -> None:
        """Begin without a connection."""
        self.sessions: set[str] = set()
        """The sessions that the server said it has opened, less those that it said are gone."""
        self._lines = [_Line(url, self.sessions) for _ in range(lines)]
        self._free = SimpleQueue[_Line]()
        for line in self._lines:
            self._free.put(line)
        self._pool = ThreadPoolExecutor(lines)

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for line in self._lines:
            line.close()

    def statuses(self, requests: Iterable[RawRequest]) -> list[int]:
        """What each is answered, or CUT; raises TimeoutError where one is not answered in time."""
        return list(self._pool.map(self._status, requests))

    def _status(self, request: RawRequest) -> int:
        line = self._free.get()
        try:
            return line.status(request)
        finally:
            self._free.put(line)


class _Line:
    """A session, and a connection, which is kept for as long as the server keeps it."""

    def __init__(self, url: str, sessions: set[str]) -> None:
        self._url = urlsplit(url)
        self._sessions = sessions
        self._session = ""
        self._connection: socket.socket | None = None

    def status(self, request: RawRequest) -> int:
        try:
            return self._answer(request)
        except TimeoutError as error:
            raise TimeoutError(f"No answer within {SECONDS} s to {request.wire[:2000]!r}") from error
        except (ConnectionError, http.client.HTTPException):
            self.close()
            return CUT

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _answer(self, request: RawRequest) -> int:
        session = self._session = self._session or self._opened()
        connection = self._connection = self._connection or socket.create_connection(self._address, timeout=SECONDS)
        connection.sendall(request.wire.replace(OWN_SESSION.encode(), session.encode(), 1))
        if request.ends:
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection, method=request.verb or None)
        response.begin()
        left = request.streams and response.getheader("Content-Type", "").startswith("text/event-stream")
        if not left:
            response.read()
        response.close()
        if left or response.will_close or request.ends:
            self.close()
        if response.status < 400 and (opened := response.getheader("Mcp-Session-Id")):
            self._sessions.add(opened)
        if response.status == 200 and request.verb == "DELETE":
            self._sessions.discard(session)
            self._session = ""
        if left and self._session:
            # Another request with its id, sent before the SDK has noticed, would never be answered; that harms only a
            # client that breaks the protocol so.
            self._end_session()
        return response.status

    @property
    def _address(self) -> tuple[str, int]:
        return str(self._url.hostname), self._url.port or 80

    def _end_session(self) -> None:
        with closing(http.client.HTTPConnection(self._url.netloc, timeout=SECONDS)) as connection:
            connection.request("DELETE", self._url.path, headers={**JSON, "Mcp-Session-Id": self._session})
            connection.getresponse().read()
        self._sessions.discard(self._session)
        self._session = ""

    def _opened(self) -> str:
        """A new session."""
        with closing(http.client.HTTPConnection(self._url.netloc, timeout=SECONDS)) as connection:
            connection.request("POST", self._url.path, json.dumps(INITIALIZE), JSON)
            response = connection.getresponse()
            response.read()
        session = str(response.getheader("Mcp-Session-Id"))
        self._sessions.add(session)
        return session
