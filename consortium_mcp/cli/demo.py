"""`demo`: one consult through a real client and server, on the embedded model."""

import os
import shlex
import sys
from typing import Any

import anyio
import click
from mcp import Client, StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from rich.console import Console

from consortium_mcp.cli.json_output import RunOutput, json_option, print_json, run_output
from consortium_mcp.cli.local_model import engine_problem, show_fetch
from consortium_mcp.cli.screen import say
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.models.local import LOCAL_MODEL_ID, chosen_weights
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.figures import figure_text

QUESTION = "What is the capital of France?"

SERVER = ["-m", "consortium_mcp", "serve", "--transport", "stdio"]
"""The arguments that start the server on stdio, even if the environment names another transport."""


@click.command()
@click.argument("prompt", default=QUESTION)
@json_option(RunOutput)
def demo(prompt: str, as_json: bool) -> None:
    """Consult the embedded model once, as a client would.

    Three instances answer PROMPT through the real server and a real MCP client. Missing weights are fetched first.
    """
    if problem := engine_problem():
        raise ConsortiumError(problem)
    if chosen_weights() is None:
        show_fetch()
    click.echo(f"Starting: {shlex.join([sys.executable, *SERVER])}", err=True)
    try:
        result = anyio.run(_consult, prompt)
    except BaseExceptionGroup as group:  # the SDK's client wraps an error that ends its tasks
        if group.subgroup(MCPError) is None:
            raise
        raise ConsortiumError("The server ended before it answered; its messages are printed above.") from group
    answer: dict[str, Any] = result.structured_content or {}
    if result.is_error or not answer:
        raise ConsortiumError(getattr(result.content[0], "text", "The server gave no answer."))
    if as_json:
        with ConsortiumService() as service:
            print_json(run_output(service.store.runs.load.sync(answer["run_id"])))
    else:
        say(_shown(prompt, answer))


async def _consult(prompt: str) -> CallToolResult:
    # The whole environment: the SDK would only pass on variables that it considers safe, without LLM_USER_PATH.
    server = StdioServerParameters(command=sys.executable, args=SERVER, env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
        with Console(stderr=True).status("starting") as status:

            async def report(progress: float, total: float | None, message: str | None) -> None:
                status.update(message or "")

            arguments = {"prompt": prompt, "models": [f"{LOCAL_MODEL_ID}:3"], "max_iterations": 1, "wait_seconds": 600}
            result = await client.call_tool("consult_consortium", arguments, progress_callback=report)
        if result.structured_content and not result.is_error:
            await client.read_resource(result.structured_content["run_uri"])
        return result


def _shown(prompt: str, answer: dict[str, Any]) -> str:
    confidence = figure_text(answer["confidence"])
    lines = [
        f"Question:   {prompt}",
        *(f"Incomplete: {sentence}" for sentence in answer["degraded"]),
        f"Answer:     {answer['answer']}",
        f"Confidence: {confidence}",
        f"Dissent:    {answer['dissent'] or 'none'}",
        "Who answered:",
        *(
            f"  {one['label']}: {one['error_kind'] or 'ok'}, {one['duration_ms'] / 1000:.1f} s"
            for one in answer["responses"]
        ),
        f"The run:    {answer['run_uri']}",
        f"To read:    {answer['transcript_uri']}, or `consortium-mcp runs show {answer['run_id']}`",
        "The embedded model has only 135 million parameters: it shows how a consult works, not its quality.",
        "`consortium-mcp models` lists the models that you can use.",
        "`consortium-mcp save NAME -m MODEL …` makes a consortium of them.",
    ]
    return "\n".join(lines)
