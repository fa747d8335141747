"""Refuses rules that would have no effect, with a change that would give them one."""

from collections.abc import Mapping
from typing import Any

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records.consortium import Consortium, refuse_empty_backup
from consortium_mcp.records.rules import Rules

_OF_SEVERAL = ("ask", "embedding_model", "patience_seconds")
"""Rules that have an effect only among several instances."""


def refuse_without_effect(consortium: Consortium, given: Mapping[str, Any], *, has_own_answer: bool = False) -> None:
    """Raise InvalidConsortiumError for a rule that has no effect in a definition.

    A rule at its default is no mistake: many clients fill in every argument. Rules that were saved are not looked at:
    a call may change the part that they belong to.

    Args:
        consortium: the definition as it would run.
        given: the rules that the caller gave.
        has_own_answer: whether the caller's own answer stands beside the members'.
    """
    for name, value in given.items():
        if value == Rules.model_fields[name].default:
            continue
        if found := _without_effect(name, consortium, has_own_answer):
            where, remedy = found
            raise InvalidConsortiumError(f"{name} has no effect {where}. Leave it out, or {remedy}.")
    if arbiter := given.get("arbiter"):
        refuse_empty_backup(arbiter)


def _without_effect(name: str, consortium: Consortium, has_own_answer: bool) -> tuple[str, str] | None:
    """Why a rule has no effect, and what would give it one; None if it has an effect."""
    method = judging_methods().find(consortium.judging_method)
    if name == "arbiter" and method.groups_answers(consortium):
        return None  # it groups the answers
    if name == "arbiter" and method.groups_answers(consortium):
        return None
    readers = [one.name for one in judging_methods().values() if one.reads and name in one.reads]
    if readers and method.reads is not None and name not in method.reads:
        return f"with the judging method {method.name!r}", f"give judging_method {_either(readers)}"
    if name == "strategy" and consortium.iteration_limit == 1:
        return "in a single iteration", "give max_iterations of 2 or more"
    if name in _OF_SEVERAL and consortium.instance_count == 1 and not has_own_answer:
        return "with a single instance", "name more models, or a count, as in 'model:3'"
    return None


def _either(names: list[str]) -> str:
    """Alternative names, joined by `or`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
