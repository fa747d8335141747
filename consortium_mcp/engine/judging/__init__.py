"""Judging: what the arbiter is asked, how its reply is read, and the methods that turn responses into a verdict."""

from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.judging.methods import JudgingMethod, judging_methods
from consortium_mcp.engine.judging.question import shown_order

__all__ = ["JudgingMethod", "ReadsSchema", "judging_methods", "shown_order"]
