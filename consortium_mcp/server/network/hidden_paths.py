"""Removes the server's folders from errors that are sent over the network."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError


class HiddenPaths:
    """Middleware that shortens paths in errors to file names; the log has the full paths for the server's user.

    Answers stay unchanged, because a prompt may be about a path.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        """Hide these folders."""
        written = {str(folder) for one in folders for folder in (one, one.resolve())}
        self._beginnings = [f"{one.rstrip(os.sep)}{os.sep}" for one in sorted(written, key=len, reverse=True)]

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Handle the request, and shorten the paths in its error."""
        try:
            result = await call_next(ctx)
        except MCPError as error:
            raise MCPError(error.error.code, self.shortened(error.error.message), error.error.data) from error
        if isinstance(result, dict) and result.get("isError"):
            return {**result, "content": [self._block(one) for one in result["content"]]}
        return result

    def shortened(self, text: str) -> str:
        """The text without the folders."""
        for beginning in self._beginnings:
            text = text.replace(beginning, "")
        return text

    def _block(self, block: dict[str, Any]) -> dict[str, Any]:
        return {**block, "text": self.shortened(block["text"])} if "text" in block else block
