"""Replay: the stored responses of a run judged again under other rules, without asking a member."""

import secrets

from ulid import ULID

from consortium_mcp.consortium import Consortium, define
from consortium_mcp.consult import Consultancy
from consortium_mcp.errors import ConsortiumError, InvalidConsortium
from consortium_mcp.run import Run, now_utc


def open_replay(
    consultancy: Consultancy,
    run_id: str,
    *,
    arbiter: str | None = None,
    judging_method: str | None = None,
    without: str | None = None,
    confidence_threshold: float | None = None,
) -> Run:
    """Open a new run that has the responses of an ended one; what is None stays as it was.

    The shuffle and the fence are the old run's, so the same arbiter is asked the same questions.

    Args:
        without: a model (`gpt-5`) or an instance (`gpt-5#2`) whose responses are left out.

    Raises:
        ConsortiumError: the run has not ended, has no responses, or the new rules do not do.
    """
    old = consultancy.store.load_run(run_id)
    if old.status in ("running", "interrupted"):
        raise ConsortiumError(f"The run {run_id} is {old.status}; it can be replayed when it has ended.")
    if not any(response.ok for iteration in old.iterations for response in iteration.responses):
        raise ConsortiumError(f"The run {run_id} has no response that could be judged again.")
    consortium, kept = _without(old, without)
    rules = {
        "arbiter": arbiter,
        "judging_method": judging_method,
        "confidence_threshold": confidence_threshold,
        "max_iterations": len(old.iterations),
        "min_iterations": 1,
    }
    given = {name: value for name, value in rules.items() if value is not None}
    run = old.model_copy(
        update={
            "run_id": str(ULID()).lower(),
            "status": "running",
            "replay_of": old.run_id,
            "consortium_name": None,
            "consortium": define(**{**consortium.model_dump(), **given}),
            "iterations": (),
            "degraded": (),
            "created_utc": now_utc(),
            "deadline_utc": consultancy.deadline(),
        }
    )
    consultancy.check(run)
    consultancy.store.open_run(run, consultancy.owner, fingerprint=secrets.token_hex(16))
    consultancy.store.copy_calls(old.run_id, run.run_id, kept)
    return run


def _without(old: Run, left_out: str | None) -> tuple[Consortium, dict[str, str]]:
    """The definition without those left out, and the new call id of each response that stays."""
    labels = [response.label for response in old.iterations[0].responses]
    gone = {label for label in labels if left_out in (label, label.rpartition("#")[0])}
    if left_out is not None and not gone:
        raise InvalidConsortium(f"No {left_out!r} answered in the run {old.run_id}; there were: {', '.join(labels)}.")
    if len(gone) == len(labels):
        raise InvalidConsortium(f"Without {left_out!r} nobody is left to be judged.")
    calls = {
        response.response_id: f"i{iteration.number}/m{place}"
        for iteration in old.iterations
        for place, response in enumerate((one for one in iteration.responses if one.label not in gone), start=1)
    }
    members = []
    place = 0
    for member in old.consortium.members:
        stay = sum(label not in gone for label in labels[place : place + member.count])
        place += member.count
        if stay:
            members.append(member.model_copy(update={"count": stay}))
    return old.consortium.model_copy(update={"members": tuple(members)}), calls
