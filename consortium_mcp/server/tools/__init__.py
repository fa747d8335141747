"""The tools, with docstrings for the calling model; they know neither SQL nor the transport."""

from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.tools.cancellation import Cancellations
from consortium_mcp.server.tools.consulting import add_consulting
from consortium_mcp.server.tools.definitions import add_definitions, list_known_models, list_saved
from consortium_mcp.server.tools.history import add_history
from consortium_mcp.service.runner import Runner

__all__ = ["add_tools", "list_known_models", "list_saved"]


def add_tools(server: StrictServer, runner: Runner, cancellations: Cancellations) -> None:
    """Register every tool; tools/list keeps this order."""
    add_consulting(server, runner, cancellations)
    add_history(server, runner)
    add_definitions(server, runner)
