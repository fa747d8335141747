"""Roles for members: a short text after their system prompt."""

ROLES = {
    "skeptic": "Your role: the skeptic. Look for what is wrong, unproven or missing in the obvious answer, and say it.",
    "steelman": "Your role: the steelman. Make the strongest honest case for the position that others may dismiss.",
    "pragmatist": "Your role: the pragmatist. Say what works in practice, at what cost, and what you would do first.",
    "specialist": "Your role: the specialist. Be exact: name the facts, numbers and sources that decide the question.",
    "teacher": "Your role: the teacher. Make the answer clear to a reader who does not know the subject.",
}
"""Our roles by name."""


def role_text(role: str) -> str:
    """The text of a role: that of a known name, else the caller's own words, as `expert in tax law`."""
    return ROLES.get(role, f"Your role: {role.rstrip('.')}.")
