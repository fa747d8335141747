"""The measured servers: ours and those it is compared with, started over stdio and called by the SDK's client."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import CallToolResult

from benchmarks.consulting import upstream

UPSTREAM = "llm-consortium"

PROMPT = "Is it safe to retry a POST after a timeout?"

PATIENT = {
    "CONSORTIUM_MAX_CONCURRENT_CALLS": "1000",
    "CONSORTIUM_MAX_CONCURRENT_RUNS": "1000",
    "CONSORTIUM_MAX_WAITING_RUNS": "1000",
}
"""Settings that disable our server's limits, because the minimal servers have none."""


def _ours(prompt: str, members: int) -> dict[str, Any]:
    return {"prompt": prompt, "models": [f"member:{members}"], "arbiter": "arbiter", "wait_seconds": 600}


def _others(prompt: str, members: int) -> dict[str, Any]:
    return {"prompt": prompt, "members": members}


@dataclass(frozen=True)
class Side:
    """One server."""

    name: str
    started: tuple[str, ...]
    """The arguments of Python that start it."""

    tool: str
    arguments: Callable[[str, int], dict[str, Any]]
    """The arguments of a call, from its prompt and its number of members."""

    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def connected(self, folder: Path) -> AsyncIterator["Asking"]:
        """Start it and connect.

        Args:
            folder: an LLM_USER_PATH, which also gets its stderr.
        """
        environment = {**os.environ, "LLM_USER_PATH": str(folder), **self.environment}
        server = StdioServerParameters(command=self.python, args=list(self.started), env=environment)
        stderr = folder / f"{self.name}.stderr"
        try:
            with stderr.open("a") as log:
                before = set(_children())
                async with Client(stdio_client(server, errlog=log)) as client:
                    (process,) = set(_children()) - before
                    yield Asking(self, client, process)
        except Exception as error:
            error.add_note(f"{self.name} said on stderr: {stderr.read_text()[-2000:] or 'nothing'}")
            raise


@dataclass
class Asking:
    """A running server and its client."""

    side: Side
    client: Client
    process: int
    """The server's process id."""

    asked: int = 0

    async def consult(self, members: int, wish: str = "") -> None:
        """Make one consult; a wish is appended to the prompt."""
        self.asked += 1
        prompt = f"{PROMPT} ({self.asked}) {wish}"  # an equal request would join the earlier run
        result = await self.client.call_tool(self.side.tool, self.side.arguments(prompt, members))
        assert not result.is_error and "POST may be sent" in _said(result), _said(result)

    @property
    def peak_memory_mb(self) -> float:
        """The largest memory use of the server so far."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ours() -> Side:
    """Our server."""
    return Side("consortium-mcp", ("-m", "consortium_mcp"), "consult_consortium", _ours, environment=PATIENT)


def floor(name: str, which: str, url: str) -> Side:
    """One of the minimal servers.

    Args:
        url: the provider's URL.
    """
    return Side(
        name, ("-m", "benchmarks.consulting.floors", which), "consult", _others, environment={"PROVIDER_URL": url}
    )


def llm_consortium(folder: Path) -> Side:
    """llm-consortium, installed into a new environment in the folder, which is also its home."""
    script = str(Path(__file__).with_name("upstream.py"))
    python = upstream.environment(folder)
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return Side(UPSTREAM, (script,), "consult", _others, python=python, environment=home)


def _said(result: CallToolResult) -> str:
    return "".join(getattr(block, "text", "") for block in result.content)


def _children() -> list[int]:
    """The running child processes of this process."""
    pid = os.getpid()
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
