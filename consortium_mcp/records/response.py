"""The response of one instance in one iteration."""

from pydantic import JsonValue

from consortium_mcp.records.call import CallId, CallResult
from consortium_mcp.text.confidence import find_confidence


class MemberResponse(CallResult):
    """The response of one instance in one iteration."""

    response_id: CallId
    """The place of the response in the run, as in `i1/m3`."""

    label: str
    """The instance that was asked, as in `gpt-5#2`."""

    model: str
    """The llm model id or alias, as the consortium names it."""

    options: dict[str, JsonValue] = {}
    """The llm options of the call."""

    stated_confidence: float | None = None
    """The confidence that the instance stated, 0.0-1.0; None if none can be read."""

    late: bool = False
    """Whether the iteration continued without it; the next iteration may use it."""

    cost_usd: float | None = None
    """US dollars of all its attempts, from the store; None if the cost of any attempt is unknown."""

    attempts: int = 1
    """The number of attempts, backups included; 0 if there was none."""

    tried_ms: int | None = None
    """Milliseconds from the first attempt to the end of the last one; None if unknown."""

    @property
    def ok(self) -> bool:
        """Whether the arbiter could read it in its iteration."""
        return super().ok and not self.late

    @classmethod
    def of(
        cls,
        response_id: CallId,
        label: str,
        model: str,
        result: CallResult | None,
        late: bool = False,
        cost_usd: float | None = None,
        waited_ms: int = 0,
    ) -> "MemberResponse":
        """The response from one call to an instance; if the result is None, it was awaited for `waited_ms`."""
        late_result = CallResult(
            error_kind="timeout", error="The iteration continued without its response.", duration_ms=waited_ms
        )
        result = result or late_result
        stated = find_confidence(result.text).value if result.ok and result.text else None
        known = {**result.model_dump(), "response_id": response_id, "label": label, "model": model, "late": late}
        return cls(**known, stated_confidence=stated, cost_usd=cost_usd)
