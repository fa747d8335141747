"""The system text of a member: put together for its call, and taken apart again where a consortium is the member."""

from collections.abc import Sequence

from consortium_mcp.text.templates import fill


def member_system(own: str | None, told: Sequence[str] = (), short: bool = False) -> str:
    """What a member is told beside the prompt; the request for the form of its reply stands last.

    Args:
        own: the user's system prompt; None means ours.
        told: what follows it: a role, a schema.
        short: whether the model gets the short texts.
    """
    return "\n\n".join([own or fill("member_system", short), *told, fill("member_form", short)])


def own_system_prompt(system: str) -> str | None:
    """What a member's system text says beside our own sentences; None when that is nothing."""
    for short in (False, True):
        request = fill("member_form", short)
        if system.endswith(request):
            system = system.removesuffix(request).removeprefix(fill("member_system", short)).strip()
    return system or None
