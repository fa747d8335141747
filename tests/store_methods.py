"""Methods of the store that do something else in a test."""

from collections.abc import Callable
from typing import Any

import pytest

from consortium_mcp.store.part import Part, StoreMethod


def replace_method(monkeypatch: pytest.MonkeyPatch, part: Part, name: str, function: Callable[..., Any]) -> None:
    """Let a function stand for a method of a part of one store; awaited, it runs in the thread that writes."""
    monkeypatch.setattr(part, name, StoreMethod(part.database.in_writer, function))
