"""Answers of responses: found, parsed and compared."""

from consortium_mcp.text.answers.comparison import Answer, compare, compare_answers, final_answer, may_mean_the_same
from consortium_mcp.text.answers.verdicts import DIFFERENT, NOT_COMPARABLE, SAME, Comparison

__all__ = [
    "DIFFERENT",
    "NOT_COMPARABLE",
    "SAME",
    "Answer",
    "Comparison",
    "compare",
    "compare_answers",
    "final_answer",
    "may_mean_the_same",
]
