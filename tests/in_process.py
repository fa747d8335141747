"""The real server in this process, and the SDK's client connected to it: for many small questions to it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import splintr
from mcp import Client
from mcp_types import CallToolResult
from pydantic import BaseModel

from consortium_mcp.consultancy import Consultancy
from consortium_mcp.runner import Runner
from consortium_mcp.server import build_server, menu


@asynccontextmanager
async def in_process(
    mode: str, consultancy: Consultancy, patience_seconds: float = 60, **options: Any
) -> AsyncIterator[Client]:
    """A client of a server over a consultancy.

    Args:
        mode: `auto` negotiates the newest revision, `legacy` the handshake of 2025-11-25.
        patience_seconds: how long tools/list waits for the models, on a machine that may have much else to do.
        options: of the SDK's client.
    """
    with mock.patch.object(menu, "PATIENCE_SECONDS", patience_seconds):
        async with Runner(consultancy) as runner, Client(build_server(runner), mode=mode, **options) as client:
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
