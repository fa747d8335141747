"""The loop: strategy, members, arbiter, enough? It owns no state and knows no database."""

from collections.abc import AsyncIterator

from consortium_mcp.arbiter import judge
from consortium_mcp.members import Caller, ask_all
from consortium_mcp.run import Iteration, Run
from consortium_mcp.strategies import plan


async def iterations(run: Run, call: Caller, arbiter_reads_schema: bool) -> AsyncIterator[Run]:
    """Yield the run with each further iteration, until it is good enough or nothing more may be asked.

    The last one yielded has its status: `converged`, `exhausted`, or `failed` when no member gave a response (then
    the arbiter is not asked).

    Args:
        run: the run as it was opened, without iterations.
        call: where calls are made.
        arbiter_reads_schema: whether the arbiter's model supports schemas.
    """
    while run.status == "running":
        number = len(run.iterations) + 1
        responses = await ask_all(plan(run), number, run.history, call)
        if any(response.ok for response in responses):
            iteration = await judge(run, responses, call, arbiter_reads_schema)
        else:
            iteration = Iteration(number=number, responses=tuple(responses))
        run = run.model_copy(update={"iterations": (*run.iterations, iteration)})
        run = run.model_copy(update={"status": status_after(run)})
        yield run


def status_after(run: Run) -> str:
    """How a run stands after its last iteration; `running` means that the members are asked again."""
    last = run.iterations[-1]
    if not any(response.ok for response in last.responses):
        return "failed" if len(run.iterations) == 1 else "exhausted"
    enough = last.number >= run.consortium.min_iterations
    if enough and last.verdict and _is_good(last, run.consortium.confidence_threshold):
        return "converged"
    unreadable = last.confidence is None
    if last.number >= run.consortium.iteration_limit or (enough and unreadable):
        return "exhausted"
    return "running"


def _is_good(iteration: Iteration, threshold: float) -> bool:
    verdict = iteration.verdict
    return (
        verdict is not None
        and verdict.confidence is not None
        and verdict.confidence >= threshold
        and not verdict.needs_iteration
    )
