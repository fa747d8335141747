"""The real server in this process with the SDK's client, for many small requests."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import splintr
from mcp import Client
from mcp.server.context import ServerMiddleware
from mcp_types import CallToolResult
from pydantic import BaseModel

from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService


@asynccontextmanager
async def in_process(
    mode: str, service: ConsortiumService, *before: ServerMiddleware[Any], knows_models: bool = True, **options: Any
) -> AsyncIterator[Client]:
    """A client of a server over a service.

    Args:
        mode: `auto` negotiates the newest revision, `legacy` the handshake of 2025-11-25.
        before: what stands before everything else that a client asks.
        knows_models: whether the models are known before anything is asked.
        options: of the SDK's client.
    """
    async with Runner(service) as runner:
        server = build_server(runner, *before)
        if knows_models:
            await server.menu.look_up()
        async with Client(server, mode=mode, **options) as client:
            yield client


def as_sent(model: BaseModel) -> dict[str, Any]:
    """A part of the protocol as it goes over the wire."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def tokens(value: object) -> int:
    """How many cl100k tokens a value costs: a text as it is, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(_CL100K.encode(text))


def result_tokens(result: CallToolResult) -> int:
    """What a whole result costs."""
    return tokens(as_sent(result))


_CL100K = splintr.Tokenizer.from_pretrained("cl100k_base")
