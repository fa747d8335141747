"""Minimal MCP servers that ask members, send the responses to an arbiter, and do nothing else.

python -m benchmarks.consulting.floors aiohttp|kept|plain
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server import MCPServer

Ask = Callable[[str, str], Awaitable[str]]
"""Asks a model, given its name and the prompt."""


def shared_session() -> Ask:
    """One shared aiohttp session, without an SDK."""
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
    """llm as documented: the model is looked up for each prompt, and llm builds a client for it."""
    import llm

    async def ask(model: str, prompt: str) -> str:
        return str(await llm.get_async_model(model).prompt(prompt).text())

    return ask


def llm_kept() -> Ask:
    """llm's models, looked up once, with one kept SDK client each."""
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
    server = MCPServer("floor", log_level="WARNING")  # otherwise it would log each call of llm

    @server.tool()
    async def consult(prompt: str, members: int) -> str:
        """Ask the members at once, then the arbiter."""
        texts = await asyncio.gather(*(ask("member", prompt) for _ in range(members)))
        return await ask("arbiter", "\n\n".join([prompt, *texts]))

    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
