"""The prompts: slash commands that lead the caller's model to a suitable consult."""

from typing import Annotated

from pydantic import Field

from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.text.templates import fill

Consortium = Annotated[str | None, Field(description="A saved consortium; default: the default consortium.")]


def add_prompts(server: StrictServer) -> None:
    """Register every prompt."""

    @server.prompt(title="Second opinion")
    def second_opinion(
        question: Annotated[
            str, Field(description="The question; default: the question of the conversation's last answer.")
        ],
        own_answer: Annotated[str | None, Field(description="The answer to compare with the others' answers.")] = None,
        consortium: Consortium = None,
    ) -> str:
        """Ask several models the same question and compare their answer with the one at hand."""
        own = (
            f"The answer at hand:\n{own_answer}"
            if own_answer
            else "The answer at hand is the last answer in this conversation."
        )
        return fill("prompt_second_opinion", question=question, own=own, whom=_whom(consortium))

    @server.prompt(title="Decide")
    def decide(
        decision: Annotated[str, Field(description="The decision to make.")],
        options: Annotated[str | None, Field(description="The options; without them, the models propose some.")] = None,
        criteria: Annotated[str | None, Field(description="The criteria, and how much each counts.")] = None,
        consortium: Consortium = None,
    ) -> str:
        """Let several models argue for and against the options, and get one recommendation with its dissent."""
        return fill(
            "prompt_decide",
            decision=decision,
            options=options or "not given; ask the members to name the realistic options",
            criteria=criteria or "not given; ask the members to name the criteria that they use",
            whom=_whom(consortium),
        )

    @server.prompt(title="Review")
    def review(
        subject: Annotated[str, Field(description="The text or code to review, or its place.")],
        focus: Annotated[str | None, Field(description="The subject of the review, as in: security.")] = None,
        consortium: Consortium = None,
    ) -> str:
        """Have several models review a text or code, and get the confirmed findings, each with its finders."""
        return fill(
            "prompt_review", subject=subject, focus=focus or "anything that is wrong or risky", whom=_whom(consortium)
        )


def _whom(consortium: str | None) -> str:
    return (
        f'consortium="{consortium}"' if consortium else "neither consortium nor models, to ask the default consortium"
    )
