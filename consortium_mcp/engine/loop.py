"""The loop of a run: strategy, members, arbiter, stop or continue; it owns no state and knows no database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial

from consortium_mcp.engine.adaptive import AskThese, PriceOf, agreed, ask_adaptively, is_adaptive
from consortium_mcp.engine.judging import JudgingMethod, ReadsSchema, judging_methods, shown_order, with_groups
from consortium_mcp.engine.measures import (
    agrees_too_late,
    all_decline,
    begin_to_prepare,
    independent_agreement,
    measured,
    prepare_comparing,
    reaches_threshold,
)
from consortium_mcp.engine.members import CallModel, Patience, ask_all, specs_of, why_too_few
from consortium_mcp.engine.outcome import brings_nothing
from consortium_mcp.engine.trust import is_bounded_for_good, with_trust
from consortium_mcp.records import CallId, CallSpec, Iteration, MemberResponse, Run, Status, TrackRecord
from consortium_mcp.records.tracing import iteration_span

RecordOf = Callable[[], Awaitable[TrackRecord]]
"""Loads the track record of the consortium."""

Stop = Callable[[Run, Sequence[CallSpec]], Awaitable[Status | None]]
"""Given a run and its next calls to instances, the reason why they may not be made; None if they may."""


async def iterations(
    run: Run,
    call: CallModel,
    reads_schema: ReadsSchema,
    stop: Stop | None = None,
    save_asked: Callable[[Iteration], Awaitable[None]] | None = None,
    patience: Patience | None = None,
    price_of: PriceOf = lambda model: None,
    record: RecordOf | None = None,
) -> AsyncIterator[Run]:
    """Yield the run after each iteration, until its result suffices or it may not continue.

    The last run has its final status: `converged`, `exhausted`, the status that `stop` gave, or `failed` if no member
    gave a response. In a failed run the arbiter is not asked.

    Args:
        run: the stored run. Iterations that began before a crash are repeated with the same questions.
        call: makes the calls.
        reads_schema: whether a model supports schemas.
        stop: called before each new iteration; None allows all of them.
        save_asked: called with the iteration after its responses, before the arbiter's question.
        patience: how long an instance may be silent after the quorum; None waits for all.
        price_of: the price of a question, by which adaptive asking sorts instances.
        record: loads the track record of the consortium; None if no run was rated.
    """
    method = judging_methods()[run.consortium.judging_method]
    begin_to_prepare()
    recorded = {iteration.number: iteration for iteration in run.iterations}
    run = run.model_copy(update={"status": "running", "iterations": ()})
    asked: dict[CallId, CallSpec] = {}
    while run.status == "running":
        number = len(run.iterations) + 1
        specs = [] if run.replay_of else specs_of(run, asked)
        specs = _prepared(run, specs, method, reads_schema, asked)
        asked |= {spec.call_id: spec for spec in specs}
        if number not in recorded and (reason := await _reason_to_stop(run, specs, stop)):
            yield run.model_copy(update={"status": reason})
            return
        with iteration_span(run, number):
            ask = _asking(run, call, method, recorded.get(number), patience)
            responses = await _responses(run, specs, ask, recorded.get(number), price_of)
            refusal = _why_not_judged(run, responses)
            order = () if refusal else shown_order(run.shuffle_seed, number, responses)
            answered = tuple(responses)
            iteration = Iteration(number=number, responses=answered, shown_order=order, arbiter_error=refusal)
            if order:
                if save_asked:
                    await save_asked(iteration)
                await prepare_comparing()
                shared = agreed(run, iteration) if is_adaptive(run) else None
                if shared is None and method.groups_answers(run.consortium):
                    iteration = await with_groups(run, iteration, call, reads_schema)
                iteration = shared or await method.judge(run, iteration, call, reads_schema)
                iteration = measured(iteration, by_ballots=run.consortium.judging_method == "choose")
                iteration = with_trust(run, iteration, await record() if record else TrackRecord())
        run = run.model_copy(update={"iterations": (*run.iterations, iteration)})
        run = run.model_copy(update={"status": status_after(run)})
        yield run


async def _reason_to_stop(run: Run, specs: Sequence[CallSpec], stop: Stop | None) -> Status | None:
    """Why a new iteration may not begin, as a status; a replay begins none."""
    if run.replay_of:
        return "exhausted"
    return await stop(run, specs) if stop else None


async def _responses(
    run: Run, specs: Sequence[CallSpec], ask: AskThese, recorded: Iteration | None, price_of: PriceOf
) -> Sequence[MemberResponse]:
    """The members' responses in the next iteration; in a replay, the recorded ones."""
    if recorded is not None and run.replay_of:
        return recorded.responses
    if not is_adaptive(run):
        return await ask(specs)
    if recorded is not None and recorded.shown_order:
        known = {response.response_id for response in recorded.responses}
        return await ask([spec for spec in specs if spec.call_id in known])
    return await ask_adaptively(run, specs, ask, price_of)


def _prepared(
    run: Run, specs: list[CallSpec], method: JudgingMethod, reads_schema: ReadsSchema, asked: Mapping[CallId, CallSpec]
) -> list[CallSpec]:
    """The calls with the method's instructions for members; calls of earlier iterations stay unchanged."""
    if method.prepare is None:
        return specs
    return [asked.get(spec.call_id) or method.prepare(run, [spec], reads_schema)[0] for spec in specs]


def _asking(
    run: Run, call: CallModel, method: JudgingMethod, recorded: Iteration | None, patience: Patience | None
) -> AskThese:
    """The function that asks the instances of the next iteration."""
    rules = run.consortium
    waits_for_all = method.decided is None or rules.on_partial == "fail" or is_adaptive(run)
    decided = None if waits_for_all or method.decided is None else partial(method.decided, run)

    async def ask(specs: Sequence[CallSpec]) -> Sequence[MemberResponse]:
        # If only a few are asked first, half of them are a quorum; the next instances replace the silent ones.
        quorum = max(1, len(specs) // 2) if is_adaptive(run) and rules.quorum is None else rules.quorum
        return await ask_all(specs, call, _late(recorded), decided, quorum, patience)

    return ask


def _why_not_judged(run: Run, responses: Sequence[MemberResponse]) -> str | None:
    """Why the responses are too few to be judged; None if they suffice, or if the run must answer anyway."""
    return why_too_few(run, responses) if run.consortium.on_partial == "fail" else None


def status_after(run: Run) -> Status:
    """The status of a run after its last iteration; `running` means that the next iteration begins."""
    last = run.iterations[-1]
    if not any(response.ok for response in last.responses) or _why_not_judged(run, last.responses):
        return "failed" if len(run.iterations) == 1 else "exhausted"
    enough = last.number >= run.consortium.min_iterations
    if enough and _is_good(run, last):
        return "converged"
    is_of_no_use = (
        last.confidence is None
        or brings_nothing(run)
        or is_bounded_for_good(last, run.consortium)
        or agrees_too_late(run.consortium, run.iterations[0].measures, last.measures)
    )
    if last.number >= run.consortium.iteration_limit or (enough and is_of_no_use):
        return "exhausted"
    return "running"


def _late(recorded: Iteration | None) -> set[str] | None:
    """The responses that were late in a recorded iteration; None if it was not completed before."""
    if recorded is None or not recorded.shown_order:
        return None
    return {response.response_id for response in recorded.responses if response.late}


def _is_good(run: Run, iteration: Iteration) -> bool:
    """Whether the stopping rule has reached its threshold, and the arbiter asks for no further iteration."""
    verdict = iteration.verdict
    if verdict is None or verdict.needs_iteration:
        return False
    agreement = independent_agreement(run.iterations[0].measures, iteration.measures)
    return reaches_threshold(run.consortium, iteration.confidence, agreement) and not all_decline(iteration)
