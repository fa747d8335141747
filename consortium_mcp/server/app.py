"""Builds the MCP server from its parts."""

import logging
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.subscriptions import ToolsListChanged

from consortium_mcp._util.event_loop import settle
from consortium_mcp.server.base.choices import SchemaChoices
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.handshake import Front
from consortium_mcp.server.resources.changes import Changes
from consortium_mcp.server.resources.completion import add_completion
from consortium_mcp.server.resources.listeners import Listeners
from consortium_mcp.server.resources.prompts import add_prompts
from consortium_mcp.server.resources.reading import add_resources
from consortium_mcp.server.tools import add_tools
from consortium_mcp.server.tools.cancellation import Cancellations
from consortium_mcp.service.runner import Runner

logger = logging.getLogger(__name__)


def build_server(runner: Runner, *before: ServerMiddleware[Any]) -> StrictServer:
    """The MCP server for a runner, which must be entered while the server runs.

    Args:
        before: the outermost middleware.
    """
    service, listeners = runner.service, Listeners()
    menu = SchemaChoices(service.store.consortiums.list_names.sync, service.settings)
    watch = Changes(service.store, listeners, service.timing)
    front = Front(menu, listeners, before, service.settings, watch.lifespan)
    attach_tools(front, runner)
    return front.server


def attach_tools(front: Front, runner: Runner) -> None:
    """Add tools, resources, prompts and completions to the server's front."""
    cancellations = Cancellations(runner)
    add_tools(front.server, runner, cancellations)
    add_resources(front.server, runner)
    add_prompts(front.server)
    add_completion(front.completions, runner.service.store)
    front.behind += [_Announcing(runner, front.menu, front.listeners), cancellations]


async def announce_models(menu: SchemaChoices, listeners: Listeners) -> None:
    """Load the current choices, and tell all listeners if a client has seen an outdated list."""
    try:
        has_changed = await menu.look_up()
        settle()
        if has_changed:
            await listeners.publish_to_all(ToolsListChanged())
    except Exception:  # a client may have left; such errors must not end the runs
        logger.exception("The list of models could not be announced to clients")


class _Announcing:
    """Loads the models after the first answered request, and after each list of tools; no answer waits for them.

    A client that only calls tools is not notified, because it may have left by then.
    """

    def __init__(self, runner: Runner, menu: SchemaChoices, listeners: Listeners) -> None:
        self._runner = runner
        self._menu = menu
        self._listeners = listeners
        self._has_begun = False

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        try:
            return await call_next(ctx)
        finally:
            if ctx.method == "tools/list" or not self._has_begun:
                self._has_begun = True
                self._runner.start(announce_models, self._menu, self._listeners)
