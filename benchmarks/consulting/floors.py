"""Bare MCP servers that put a prompt to members and their texts to an arbiter, and do nothing else.

python -m benchmarks.consulting.floors aiohttp|kept|plain
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server import MCPServer

Ask = Callable[[str, str], Awaitable[str]]
"""Puts a prompt to a model, named first."""


def shared_session() -> Ask:
    """One aiohttp session for all, and no SDK."""
    import aiohttp

    sessions: list[aiohttp.ClientSession] = []

    async def ask(model: str, prompt: str) -> str:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        async with sessions[0].post(f"{os.environ['PROVIDER_URL']}/chat/completions", json=body) as response:
            text: str = (await response.json())["choices"][0]["message"]["content"]
            return text

    return ask


def llm_plainly() -> Ask:
    """As llm's documentation says: the model looked up for each prompt, and what llm then builds for it."""
    import llm

    async def ask(model: str, prompt: str) -> str:
        return str(await llm.get_async_model(model).prompt(prompt).text())

    return ask


def llm_kept() -> Ask:
    """llm's models looked up once, and one SDK client for each."""
    import llm

    models: dict[str, Any] = {}
    for name in ("member", "arbiter"):
        model: Any = llm.get_async_model(name)
        client = model.get_client(None, async_=True)
        model.get_client = lambda key, *, async_=False, client=client: client
        models[name] = model

    async def ask(model: str, prompt: str) -> str:
        return str(await models[model].prompt(prompt).text())

    return ask


FLOORS = {"aiohttp": shared_session, "kept": llm_kept, "plain": llm_plainly}


def main(floor: str) -> None:
    """Serve over stdio."""
    ask = FLOORS[floor]()
    server = MCPServer("floor", log_level="WARNING")  # else it would log each call of llm

    @server.tool()
    async def consult(prompt: str, members: int) -> str:
        """Ask the members at once, then the arbiter."""
        texts = await asyncio.gather(*(ask("member", prompt) for _ in range(members)))
        return await ask("arbiter", "\n\n".join([prompt, *texts]))

    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
