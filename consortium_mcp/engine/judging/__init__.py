"""Turns responses into a verdict: the arbiter's question, the reader of its reply, the methods; knows no strategy."""

from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.judging.grouping import with_groups
from consortium_mcp.engine.judging.methods import JudgingMethod, judging_methods
from consortium_mcp.engine.judging.question import shown_order
from consortium_mcp.engine.judging.standing_in import most_agreed

__all__ = ["JudgingMethod", "ReadsSchema", "judging_methods", "most_agreed", "shown_order", "with_groups"]
