"""Keeps SDK clients of llm's OpenAI-based models as long as an event loop lives, without the SDK's retries.

llm builds a new client for every prompt (30-60 ms of work and a new connection each) and never closes it. The SDK then
repeats failed calls twice, besides our own attempts and unknown to budget and journal. Asynchronous clients use
aiohttp, which the SDK supports: with httpx's transport a call takes twice the processor time. Their streamed calls go
to aiohttp directly (`openai_streaming.py`). `CONSORTIUM_DIRECT_STREAMING=0` turns both off.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from consortium_mcp._util.lazy import aiohttp, httpx2, openai
from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.models.adapting import adapted_parameters
from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.models.openai_replies import MOST_REDIRECTS, read, read_async
from consortium_mcp.models.openai_streaming import stream_directly
from consortium_mcp.models.reaching import certificates_problem, proxy_problem
from consortium_mcp.models.reply_bounds import ENCODINGS

_Key = tuple[Any, ...]

_SHOWS_RESPONSES = bool(os.environ.get("LLM_OPENAI_SHOW_RESPONSES"))
"""Whether llm must print what its clients receive, which only its own transport does."""

KEPT_ALIVE_SECONDS = 4
"""The seconds to keep an idle connection: many servers close one after 5 seconds, possibly during our next request."""

_LONGEST_HEADER = 65_536
"""The longest header of a reply in bytes; aiohttp's limit of 8,190 would lose a paid reply with a longer one."""


class KeptClients:
    """The clients of one process; safe to use from several threads."""

    def __init__(self, direct_streaming: bool = True) -> None:
        """Create it without building a client; the first call does.

        Args:
            direct_streaming: whether streamed replies bypass the SDK; False also keeps the SDK's own transport.
        """
        self._direct_streaming = direct_streaming
        self._lock = threading.Lock()
        self._clients: dict[_Key, Any] = {}
        self._sessions: dict[int, Any] = {}
        """The clients of each event loop."""
        self._trusted: Any = None
        """The certificate authorities that all clients trust."""

    def use_in(self, entry: ModelEntry) -> None:
        """Make a model's calls use kept clients; models of other kinds stay unchanged.

        Each load of the catalogue makes new model objects, so other users of llm are not affected. The first call is
        slow and belongs in a thread. Raises ModelUnavailableError if no server can be reached.
        """
        with self._lock:  # runs with the same catalogue share their model objects
            for model in (entry.async_model, entry.sync_model):
                if hasattr(model, "get_client") and not hasattr(model, "_consortium_keeps_clients"):
                    self._trusted = self._trusted or _trusted()
                    model.get_client = self._keeping(model, model.get_client)  # type: ignore[union-attr]
                    model._consortium_keeps_clients = True  # type: ignore[union-attr]

    def _keeping(self, model: Any, build: Callable[..., Any]) -> Callable[..., Any]:
        def get_client(key: Any, *, async_: bool = False) -> Any:
            loop = id(asyncio.get_running_loop()) if async_ else None
            # The arguments of a client: with a changed key or address, another client is built.
            identity = (type(model), model.get_key(key), model.api_base, repr(model.headers), loop)
            with self._lock:
                if identity not in self._clients:
                    self._clients[identity] = _adapting(self._kept(build(key, async_=async_), async_), async_)
                return self._clients[identity]

        return get_client

    def _kept(self, client: Any, async_: bool) -> Any:
        """A client of ours instead of llm's; our reader reads its replies."""
        client = client.with_options(max_retries=0)
        if _SHOWS_RESPONSES:
            return client
        own: dict[str, Any] = {
            "verify": self._trusted,
            "event_hooks": {"response": [read_async if async_ else read]},
            "headers": {"Accept-Encoding": ENCODINGS},
            "max_redirects": MOST_REDIRECTS,
        }
        if not async_:
            return client.with_options(http_client=openai.DefaultHttpxClient(**own))
        # aiohttp accepts no key besides a name and a password in the address.
        if not self._direct_streaming or client.base_url.userinfo:
            return client.with_options(http_client=openai.DefaultAsyncHttpxClient(**own))
        client = client.with_options(http_client=openai.DefaultAioHttpClient(**own))
        stream_directly(client, self._session())
        return client

    def _session(self) -> Any:
        """The aiohttp session for the streamed calls of the running event loop."""
        here = id(asyncio.get_running_loop())
        if here not in self._sessions:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._trusted, keepalive_timeout=KEPT_ALIVE_SECONDS)
            self._sessions[here] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": ENCODINGS},
                auto_decompress=False,
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
            )
        return self._sessions[here]

    async def aclose(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Close the clients of an event loop; others may still be in use.

        Args:
            loop: None means the current one.
        """
        here = id(loop or asyncio.get_running_loop())
        with self._lock:
            mine = [self._clients.pop(identity) for identity in list(self._clients) if identity[-1] == here]
            session = self._sessions.pop(here, None)
        for client in mine:
            await client.close()
        if session is not None:
            await session.close()

    def close(self) -> None:
        """Close the clients that belong to no event loop."""
        with self._lock:
            mine = [self._clients.pop(identity) for identity in list(self._clients) if identity[-1] is None]
        for client in mine:
            client.close()


def _trusted() -> Any:
    """The certificates that clients trust; raises ModelUnavailableError if they cannot be loaded."""
    if problem := certificates_problem() or proxy_problem():
        raise ModelUnavailableError(problem)
    aiohttp.ClientSession  # noqa: B018 - imported here, where no event loop waits for it
    return _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _certificates(file: str | None, folder: str | None) -> Any:
    """The certificates that clients trust, loaded once per process, because that takes 30-60 ms.

    Args:
        file: `SSL_CERT_FILE`; if a variable changes, they are loaded again.
        folder: `SSL_CERT_DIR`.
    """
    return httpx2.create_ssl_context()


def _adapting(client: Any, async_: bool) -> Any:
    """The client, changed to omit or rename what a provider has rejected."""
    completions = client.chat.completions
    create = completions.create

    async def create_async(**parameters: Any) -> Any:
        return await create(**adapted_parameters(parameters))

    completions.create = create_async if async_ else lambda **parameters: create(**adapted_parameters(parameters))
    return client
