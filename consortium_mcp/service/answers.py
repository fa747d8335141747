"""A run's answer, or an error with the reason why there is none."""

from consortium_mcp.errors import InvalidConsortiumError, NextStep, RunFailedError
from consortium_mcp.records import Run


def answered(run: Run) -> Run:
    """The run, if it has an answer; raises RunFailedError if it ended without one."""
    if run.answer is None and run.status != "running":
        raise RunFailedError(run.error or "The run ended without an answer.", run.run_id)
    return run


def require_answer(run: Run, purpose: str) -> None:
    """Raise InvalidConsortiumError if the run has no answer.

    Args:
        purpose: what the answer is for, as in "to rate".
    """
    if run.answer is not None:
        return
    step = NextStep.CONTINUE_RUN if run.status in ("running", "interrupted") else NextStep.LIST_ANSWERED
    sentence = f"The run {run.run_id} is {run.status} and has no answer {purpose}."
    raise InvalidConsortiumError(sentence, step, run_id=run.run_id)
