"""Replay: judges the stored responses of a run again under other rules, without asking a member."""

import secrets
from collections import Counter
from collections.abc import Collection

from ulid import ULID

from consortium_mcp._util.caller import current_caller
from consortium_mcp.errors import ConsortiumError, InvalidConsortiumError
from consortium_mcp.records import Iteration, Run, now_utc
from consortium_mcp.records.consortium import Consortium, alternatives, define, instances
from consortium_mcp.service.effects import refuse_without_effect
from consortium_mcp.service.service import ConsortiumService


def open_replay(
    service: ConsortiumService,
    run_id: str,
    *,
    arbiter: str | None = None,
    judging_method: str | None = None,
    without: Collection[str] = (),
    confidence_threshold: float | None = None,
) -> Run:
    """Open a new run with the responses of an ended one; each argument that is None keeps the old value.

    The new run has the old run's shuffle seed and fence token, so that the same arbiter gets the same questions. The
    strategy is not used, because no member is asked.

    Args:
        without: models (`gpt-5`) and instances (`gpt-5#2`) whose responses are left out.

    Raises:
        ConsortiumError: the run has not ended, has no responses, or the new rules are not valid.
    """
    old = service.store.runs.load.sync(run_id)
    if old.status in ("running", "interrupted"):
        raise ConsortiumError(f"The run {run_id} is {old.status}; it can be replayed after its end.")
    if not any(response.ok for iteration in old.iterations for response in iteration.responses):
        raise ConsortiumError(f"The run {run_id} has no response that could be judged again.")
    consortium, iterations = _without(old, without)
    rules = {
        "strategy": "refine",
        "arbiter": arbiter,
        "judging_method": judging_method,
        "confidence_threshold": confidence_threshold,
        "min_iterations": min(old.consortium.min_iterations, len(old.iterations)),
    }
    given = {name: value for name, value in rules.items() if value is not None}
    replayed = define(**{**consortium.model_dump(), **given})
    if arbiter is not None:
        refuse_without_effect(replayed, {"arbiter": arbiter})
    run = old.model_copy(
        update={
            "run_id": str(ULID()).lower(),
            "status": "running",
            "replay_of": old.run_id,
            "parent": None,
            "consortium_name": None,
            "consortium": replayed,
            "iterations": (),
            "degraded": (),
            "caller": current_caller(),
            "created_utc": now_utc(),
            **service.opener.deadline(),
        }
    )
    service.opener.check(run)
    service.store.runs.open.sync(run, service.owner, fingerprint=secrets.token_hex(16))
    call_ids = {response.response_id for iteration in iterations for response in iteration.responses}
    service.store.journal.copy_calls.sync(old.run_id, run.run_id, call_ids)
    for iteration in iterations:
        service.store.runs.save_iteration.sync(run.run_id, iteration)
    return service.store.runs.load.sync(run.run_id)


def _without(old: Run, left_out: Collection[str]) -> tuple[Consortium, list[Iteration]]:
    """The definition and the iterations without the excluded instances; the iterations have no verdicts."""
    asked = [(member, f"{alternatives(member.model)[0]}#{number}") for member, number in instances(old.consortium)]
    labels = [label for _, label in asked]
    known = {name for label in labels for name in (label, label.rpartition("#")[0])}
    for name in left_out:
        if name not in known:
            raise InvalidConsortiumError(f"The run {old.run_id} did not ask {name!r}; it asked: {', '.join(labels)}.")
    gone = {label for label in labels if label in left_out or label.rpartition("#")[0] in left_out}
    if len(gone) == len(labels):
        raise InvalidConsortiumError(f"Without {' and '.join(map(repr, left_out))} no response is left to judge.")
    stay = Counter(id(member) for member, label in asked if label not in gone)
    members = [
        member.model_copy(update={"count": stay[id(member)]}) for member in old.consortium.members if stay[id(member)]
    ]
    heard = [[one for one in iteration.responses if one.label not in gone] for iteration in old.iterations]
    iterations = [Iteration(number=number, responses=tuple(given)) for number, given in enumerate(heard, start=1)]
    return old.consortium.model_copy(update={"members": tuple(members)}), iterations
