"""Builds the server out of its parts."""

import importlib.metadata
import threading
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from consortium_mcp.catalogue import load_catalogue
from consortium_mcp.runner import Runner
from consortium_mcp.server.cancellation import Cancellations
from consortium_mcp.server.resources import add_resources
from consortium_mcp.server.strict import StrictServer
from consortium_mcp.server.tools import add_tools

INSTRUCTIONS = """\
Consult a consortium when one model's word is not enough: decisions that are hard to undo, facts that must be right,
reviews, estimates. Do not use it for small talk or what you can look up. One consult makes several paid model calls.
consult_consortium waits some 45 seconds. If it returns status running, call get_run with the run_id until the run has
ended; never start the same consult again. An answer that begins with "Incomplete" lacks something: say so when you use
it. Confidence is the arbiter's own estimate; mention dissent when there is any. list_models shows which ids can be
used; list_consortiums shows what is saved."""


def build_server(runner: Runner) -> StrictServer:
    """The MCP server over a runner, which must be entered for as long as the server runs."""
    cancellations = Cancellations(runner)
    server = StrictServer(
        "consortium-mcp",
        title="Consortium of models",
        description="Asks several language models one question and returns one answer that says how far to trust it.",
        instructions=INSTRUCTIONS,
        version=importlib.metadata.version("consortium-mcp"),
        log_level=runner.consultancy.settings.log_level,
        middleware=[_WarmUp(), cancellations],
    )
    add_tools(server, runner, cancellations)
    add_resources(server, runner)
    return server


class _WarmUp:
    """Imports llm and its plugins in a thread once the first request is answered, so that no answer waits for it."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        try:
            return await call_next(ctx)
        finally:
            if self._thread is None:
                self._thread = threading.Thread(target=load_catalogue, name="consortium-warm-up", daemon=True)
                self._thread.start()
