"""Tells connected clients of either protocol era that a list has changed."""

from mcp.server.session import ServerSession
from mcp.server.subscriptions import SubscriptionBus, ToolsListChanged


async def announce_tools_changed(bus: SubscriptionBus, *sessions: ServerSession) -> None:
    """Say that tools/list names other consortiums or models now.

    Args:
        bus: reaches the clients of 2026-07-28 that listen.
        sessions: of clients of 2025-11-25, who are written to directly; the SDK drops it for the others.
    """
    await bus.publish(ToolsListChanged())
    for session in sessions:
        await session.send_tool_list_changed()
