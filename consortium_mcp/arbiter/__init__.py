"""Judging: what the arbiter is asked, how its reply is read, and the methods that turn responses into a verdict."""

from consortium_mcp.arbiter.asking import ReadsSchema
from consortium_mcp.arbiter.methods import JudgingMethod, judging_methods
from consortium_mcp.arbiter.question import shown_order

__all__ = ["JudgingMethod", "ReadsSchema", "judging_methods", "shown_order"]
