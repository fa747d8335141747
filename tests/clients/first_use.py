"""The first steps of a user, with real parts: `python -m tests.clients.first_use` after `make dist`.

In a home with nothing but Python: the wheel is installed, `setup` gets two llm plugins and writes Cursor's entry, and a
client starts that entry and consults. The three vendors are servers on this machine; their plugins are real.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from tests.clients.plugin_endpoint import Endpoint, serving
from tests.clients.plugin_replies import ANTHROPIC, OLLAMA
from tests.paths import ROOT
from tests.provider import Provider, verdict

QUESTION = "What is the capital of France?"


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Print how long a step took."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:6.1f} s  {step}", flush=True)


async def consult(entry: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Start the server exactly as the entry does, and make a consult."""
    command = StdioServerParameters(
        command=entry["command"], args=entry.get("args", []), env={**environment, **entry.get("env", {})}
    )
    async with Client(stdio_client(command)) as client:
        result = await client.call_tool("consult_consortium", {"prompt": QUESTION, "wait_seconds": 60})
        return dict(result.structured_content or {})


def main(home: Path, wheel: Path) -> None:
    """Every step, with its seconds."""
    programs = home / "venv" / "bin"
    known = {"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin"}
    anthropic, ollama = Endpoint(ANTHROPIC), Endpoint(OLLAMA)
    anthropic.answer = ANTHROPIC.text(["Paris."])
    ollama.answer = OLLAMA.text(["Paris."])
    with Provider() as openai, serving(anthropic.serve, ollama.serve) as urls:
        openai.write_llm_config(home / ".config" / "io.datasette.llm", ["gpt-scripted"], schema=["gpt-scripted"])
        openai.on("gpt-scripted", ["ok", "Paris.", verdict("The capital of France is Paris.")])
        there = {"ANTHROPIC_API_KEY": "sk-recorded", "ANTHROPIC_BASE_URL": urls[0], "OLLAMA_HOST": urls[1]}
        with timed("a fresh environment"):
            subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
        with timed("pip install of the wheel"):
            subprocess.run([programs / "pip", "install", "--quiet", wheel], check=True)
        with timed("setup: plugins installed, keys stored, three models asked, saved, Cursor's entry written"):
            flags = "--provider anthropic --provider ollama -m gpt-scripted --arbiter gpt-scripted"
            answers = "--plugins --store-keys --client cursor"
            command: list[str | Path] = [programs / "consortium-mcp", "setup", *flags.split(), *answers.split()]
            subprocess.run(command, check=True, env={**os.environ, **known, **there})
        entry = json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]["consortium"]
        with timed(f"a consult by {entry['command']}, started as Cursor's file says"):
            answer = anyio.run(consult, entry, known)
    print(answer["answer"], answer["confidence"], [one["label"] for one in answer["responses"]])
    assert len(answer["responses"]) == 3 and not answer["degraded"]


if __name__ == "__main__":
    (built,) = (ROOT / "dist").glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder), built)
