"""The loop: strategy, members, arbiter, enough? It owns no state and knows no database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from consortium_mcp.engine.judging import JudgingMethod, ReadsSchema, judging_methods, shown_order
from consortium_mcp.engine.measures import measured, overall_agreement, reaches_threshold
from consortium_mcp.engine.members import CallModel, ask_all, specs_of
from consortium_mcp.engine.outcome import brings_nothing
from consortium_mcp.engine.trust import with_trust
from consortium_mcp.records import CallId, CallSpec, Iteration, MemberResponse, Run, Status, TrackRecord
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.tracing import iteration_span

Stop = Callable[[Run, Sequence[CallSpec]], Awaitable[Status | None]]
"""Says of a run and the calls to instances that would come next why they may not be made; None lets them."""


async def iterations(
    run: Run,
    call: CallModel,
    reads_schema: ReadsSchema,
    stop: Stop | None = None,
    save_asked: Callable[[Iteration], Awaitable[None]] | None = None,
    record: TrackRecord | None = None,
) -> AsyncIterator[Run]:
    """Yield the run with each further iteration, until it is good enough or nothing more may be asked.

    The last one yielded has its status: `converged`, `exhausted`, `failed` when no member gave a response (then the
    arbiter is not asked), or what `stop` said.

    Args:
        run: the run as it stands in the store: iterations that it has were begun before a crash, and are gone through
            again with the same questions.
        call: where calls are made.
        stop: asked before each iteration that was not begun before; None lets them all begin.
        save_asked: told of an iteration between its responses and the arbiter's question.
        record: what the consortium's rated runs say; None when none is rated.
    """
    record = record or TrackRecord()
    method = judging_methods()[run.consortium.judging_method]
    recorded = {iteration.number: iteration for iteration in run.iterations}
    run = run.model_copy(update={"status": "running", "iterations": ()})
    asked: dict[CallId, CallSpec] = {}
    while run.status == "running":
        number = len(run.iterations) + 1
        specs = [] if run.replay_of else specs_of(run, asked)
        asked |= {spec.call_id: spec for spec in specs}
        if number not in recorded and (reason := await _reason_to_stop(run, specs, stop)):
            yield run.model_copy(update={"status": reason})
            return
        with iteration_span(run, number):
            responses = await _responses(run, specs, call, method, recorded.get(number))
            order = shown_order(run.shuffle_seed, number, responses)
            iteration = Iteration(number=number, responses=tuple(responses), shown_order=order)
            if order:
                if save_asked:
                    await save_asked(iteration)
                iteration = measured(await method.judge(run, iteration, call, reads_schema))
                iteration = with_trust(run, iteration, record)
        run = run.model_copy(update={"iterations": (*run.iterations, iteration)})
        run = run.model_copy(update={"status": status_after(run)})
        yield run


async def _reason_to_stop(run: Run, specs: Sequence[CallSpec], stop: Stop | None) -> Status | None:
    """Why an iteration may not begin that was not begun before; a replay begins none."""
    if run.replay_of:
        return "exhausted"
    return await stop(run, specs) if stop else None


async def _responses(
    run: Run, specs: Sequence[CallSpec], call: CallModel, method: JudgingMethod, recorded: Iteration | None
) -> Sequence[MemberResponse]:
    """What the members say in the next iteration; in a replay, what they said."""
    if run.replay_of and recorded is not None:
        return recorded.responses
    decided = partial(method.decided, run) if method.decided else None
    return await ask_all(specs, call, _late(recorded), decided)


def status_after(run: Run) -> Status:
    """How a run stands after its last iteration; `running` means that the members are asked again."""
    last = run.iterations[-1]
    if not any(response.ok for response in last.responses):
        return "failed" if len(run.iterations) == 1 else "exhausted"
    enough = last.number >= run.consortium.min_iterations
    if enough and _is_good(last, run.consortium):
        return "converged"
    if last.number >= run.consortium.iteration_limit or (enough and (last.confidence is None or brings_nothing(run))):
        return "exhausted"
    return "running"


def _late(recorded: Iteration | None) -> set[str] | None:
    """Which responses an iteration did without; None when it was not asked to its end before."""
    if recorded is None or not recorded.shown_order:
        return None
    return {response.response_id for response in recorded.responses if response.late}


def _is_good(iteration: Iteration, consortium: Consortium) -> bool:
    """Whether what the consortium stops on has reached its threshold, and the arbiter asks for nothing more."""
    verdict = iteration.verdict
    if verdict is None or verdict.needs_iteration:
        return False
    return reaches_threshold(consortium, iteration.confidence, overall_agreement(iteration.measures))
