"""Who judges where the arbiter does not: the member with whom the others agree most, unless it imitates a verdict."""

from consortium_mcp.engine.judging.reader import imitates_form
from consortium_mcp.records import Iteration, MemberResponse
from consortium_mcp.records.consortium import OWN_ANSWER, alternatives
from consortium_mcp.text.comparing import agree, comparable
from consortium_mcp.text.refusals import is_refusal


def stand_in(iteration: Iteration, arbiter: str) -> str | None:
    """The model of the response with which the others agree most; None where no member can be asked.

    What a response says of itself does not count. Who imitates a verdict is not asked, and of equals the first is.
    """
    failed = {*alternatives(arbiter), OWN_ANSWER}
    usable = [one for one in iteration.responses if one.ok]
    able = [
        one
        for one in usable
        if failed.isdisjoint(alternatives(one.model)) and not imitates_form(one.text or "") and not _refuses(one)
    ]
    compared = {one.response_id: comparable(one.text or "") for one in usable}

    def agreement_of_others(response: MemberResponse) -> float:
        own = compared[response.response_id]
        return sum(agree(own, other) for response_id, other in compared.items() if response_id != response.response_id)

    best = max(able, key=agreement_of_others, default=None) if len(able) > 1 else next(iter(able), None)
    return best.model if best else None


def refuses(text: str, iteration: Iteration) -> bool:
    """Whether a text that should judge declines to, though most members have answered."""
    usable = [one for one in iteration.responses if one.ok]
    return is_refusal(text) and 2 * sum(_refuses(one) for one in usable) < len(usable)


def _refuses(response: MemberResponse) -> bool:
    return is_refusal(response.text or "")
