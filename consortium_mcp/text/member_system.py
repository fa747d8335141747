"""Builds a member's system text, and parses it again if the member is a consortium."""

from collections.abc import Sequence

from consortium_mcp.text.templates import fill


def member_system(own: str | None, told: Sequence[str] = (), short: bool = False) -> str:
    """The system text of a member; the request for the form of its reply comes last.

    Args:
        own: the user's system prompt; None means ours.
        told: the texts after it: a role, a schema.
        short: whether the model gets the short texts.
    """
    return "\n\n".join([own or fill("member_system", short), *told, fill("member_form", short)])


def own_system_prompt(system: str) -> str | None:
    """A member's system text without our own sentences; None if nothing remains."""
    for short in (False, True):
        request = fill("member_form", short)
        if system.endswith(request):
            system = system.removesuffix(request).removeprefix(fill("member_system", short)).strip()
    return system or None
