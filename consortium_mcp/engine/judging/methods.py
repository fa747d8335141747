"""The judging methods by name; other packages can add theirs by entry point."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

from consortium_mcp.engine.judging.asking import Form, ReadsSchema, ask_arbiter
from consortium_mcp.engine.judging.choose import judge_by_ballots, with_ballots
from consortium_mcp.engine.judging.peer_rank import judge_by_peers
from consortium_mcp.engine.judging.pick_and_rank import PICK, RANK
from consortium_mcp.engine.judging.review import FORM as REVIEW
from consortium_mcp.engine.judging.review import with_review
from consortium_mcp.engine.judging.synthesize import FORM as SYNTHESIZE
from consortium_mcp.engine.judging.synthesize import following
from consortium_mcp.engine.judging.vote import is_decided, judge_by_vote
from consortium_mcp.engine.members import CallModel
from consortium_mcp.engine.registry import Registry, load_registry
from consortium_mcp.records import CallResult, CallSpec, Iteration, Run
from consortium_mcp.records.consortium import Consortium

ENTRY_POINTS = "consortium_mcp.judging_methods"
"""The group of entry points in which another package lists its JudgingMethod objects."""

Judge = Callable[[Run, Iteration, CallModel, ReadsSchema], Awaitable[Iteration]]
"""Returns the iteration with its verdict."""


Prepare = Callable[[Run, Sequence[CallSpec], ReadsSchema], list[CallSpec]]
"""Returns the calls to members with the method's instructions added."""


@dataclass(frozen=True)
class JudgingMethod:
    """A way to turn responses into a verdict."""

    name: str
    """The name in a consortium."""

    description: str
    """The description for users."""

    judge: Judge

    needs_arbiter: bool = True
    """Whether the method asks the arbiter."""

    calls: Callable[[int], int] = lambda instances: 1
    """The number of judging calls for a number of instances, without repairs."""

    ranks: bool = False
    """Whether its verdict orders all responses."""

    min_instances: int = 1
    """The smallest number of instances for the method."""

    decided: Callable[[Run, Collection[CallResult], int], bool] | None = None
    """Decides from the results so far whether the missing ones cannot change the outcome; None means never."""

    needs_choices: bool = False
    """Whether it needs the options in `choices`."""

    reads: frozenset[str] | None = None
    """The rules that it reads, of those that only some methods read; None if it may read any."""

    prepare: Prepare | None = None
    """Adds the required form of reply to the calls to members; None if the method requires no form."""

    follows_schema: bool = False
    """Whether its answer can follow the caller's JSON schema."""

    beginning: Callable[[str], str] | None = None
    """Reads the answer so far from the arbiter's unfinished reply; None if that is not possible."""

    def groups_answers(self, consortium: Consortium) -> bool:
        """Whether the arbiter may be asked to group the answers of a consortium with this method."""
        return consortium.group_answers and (self.reads is None or "group_answers" in self.reads)


_ARBITER = frozenset({"arbiter", "check_order"})
"""The rules that only methods with an arbiter use."""


def _by_arbiter(form: Form) -> Judge:
    async def judge(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
        return await ask_arbiter(run, iteration, call, reads_schema, form)

    return judge


async def _synthesize(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
    form = SYNTHESIZE if run.output_schema is None else following(run.output_schema)
    return await ask_arbiter(run, iteration, call, reads_schema, form)


_OWN = (
    JudgingMethod(
        "synthesize",
        "The arbiter combines the responses into one answer and says how far to trust it.",
        _synthesize,
        reads=_ARBITER,
        beginning=SYNTHESIZE.beginning,
        follows_schema=True,
    ),
    JudgingMethod(
        "pick",
        "The arbiter names the best response, whose unchanged text is the answer.",
        _by_arbiter(PICK),
        reads=_ARBITER,
    ),
    JudgingMethod(
        "rank",
        "The arbiter orders the responses; the text of the first is the answer.",
        _by_arbiter(RANK),
        reads=_ARBITER,
        ranks=True,
    ),
    JudgingMethod(
        "peer_rank",
        "The members rank each other's anonymous responses, and Borda counts decide; no arbiter is asked.",
        judge_by_peers,
        needs_arbiter=False,
        reads=frozenset({"group_answers"}),
        calls=lambda instances: instances,
        ranks=True,
        min_instances=3,
    ),
    JudgingMethod(
        "vote",
        "The most frequent final answer wins; no arbiter is asked, and waiting ends when the result is certain.",
        judge_by_vote,
        needs_arbiter=False,
        reads=frozenset({"embedding_model", "group_answers"}),
        calls=lambda instances: 0,
        decided=is_decided,
    ),
    JudgingMethod(
        "choose",
        "Each member casts a ballot for one of the options in choices; the option with the most ballots wins.",
        judge_by_ballots,
        needs_arbiter=False,
        calls=lambda instances: 0,
        needs_choices=True,
        reads=frozenset({"choices"}),
        prepare=with_ballots,
    ),
    JudgingMethod(
        "review",
        "The members report findings with place and severity; the arbiter merges them and names who raised each.",
        _by_arbiter(REVIEW),
        reads=_ARBITER,
        prepare=with_review,
    ),
)


@cache
def judging_methods() -> Registry[JudgingMethod]:
    """Every judging method by its name."""
    return load_registry("judging method", _OWN, ENTRY_POINTS)
