"""Asks each side the same questions, through a service with a temporary store."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from benchmarks.quality.predicted import Interval, wilson
from benchmarks.quality.questions import Question
from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records import Run
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings


class Side(FrozenModel):
    """A consortium, or a single model, that is asked all questions."""

    name: str
    """The name in the report."""

    consortium: Consortium
    """The consortium; for a single model, one instance that votes."""

    predicted: float | None = None
    """The predicted accuracy, 0.0-1.0; None if it is unknown."""


class Answered(FrozenModel):
    """The result of one question."""

    right: bool
    """Whether the answer was right; False without an answer."""

    answered: bool
    """Whether there was an answer."""

    confidence: float | None
    """The stated confidence, 0.0-1.0: a single model's own, else the verdict's; None without one."""

    calls: int
    """The number of model calls."""

    tokens: int | None
    """The tokens of questions and replies; None if they were not counted."""


class Result(FrozenModel):
    """The results of one side."""

    side: Side

    answers: tuple[Answered, ...]
    """One for each question."""

    seconds: float
    """The duration of all questions together."""

    @property
    def right(self) -> int:
        """The number of right answers."""
        return sum(one.right for one in self.answers)

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0.0-1.0."""
        return self.right / len(self.answers)

    @property
    def interval(self) -> Interval:
        """The 95 % confidence interval of the accuracy."""
        return wilson(self.right, len(self.answers))

    @property
    def stated(self) -> list[tuple[float, bool]]:
        """Each stated confidence, and whether the answer was right."""
        return [(one.confidence, one.right) for one in self.answers if one.confidence is not None]

    @property
    def brier(self) -> float | None:
        """Mean squared difference of confidence and correctness: 0 is perfect; None if no confidence was stated."""
        squares = [(confidence - right) ** 2 for confidence, right in self.stated]
        return sum(squares) / len(squares) if squares else None


def single(model: str, **rules: object) -> Consortium:
    """One instance of a model; its response is not judged."""
    rules = {"judging_method": "vote", "max_iterations": 1, **rules}
    return Consortium.model_validate({"members": [{"model": model}], **rules})


@contextmanager
def temporary_consultancy(*, own_llm_folder: bool) -> Iterator[ConsortiumService]:
    """A service with a temporary store.

    Args:
        own_llm_folder: whether to use a temporary llm folder too, with its log off. Simulated models need no keys, and
            their prompts do not belong in the user's log. Settings in the environment are then ignored.
    """
    with tempfile.TemporaryDirectory(prefix="consortium-quality-") as folder, _llm_folder(folder, own_llm_folder):
        settings = load_settings({} if own_llm_folder else None, database=Path(folder, "quality.db"))
        with ConsortiumService(settings) as service:
            yield service


def check(service: ConsortiumService, sides: Sequence[Side]) -> None:
    """Raise ConsortiumError if one of the sides could not answer, before any question."""
    catalogue = load_catalogue()
    for side in sides:
        service.definitions.check(None, side.consortium, catalogue)


async def evaluate(
    service: ConsortiumService,
    side: Side,
    questions: Sequence[Question],
    at_once: int,
    seconds_left: Callable[[], float] | None = None,
) -> Result:
    """Ask a side every question, with a limit on simultaneous consults.

    Args:
        seconds_left: tells how long may still be asked; questions without time are left out. None asks all.
    """
    answers: dict[str, Answered] = {}
    turns = anyio.CapacityLimiter(at_once)
    began = time.monotonic()

    async def ask(question: Question) -> None:
        async with turns:
            left = None if seconds_left is None else seconds_left()
            if left is None or left > 0:
                answers[question.prompt] = _answered(question, await _consulted(service, side, question, left))

    async with anyio.create_task_group() as group:
        for question in questions:
            group.start_soon(ask, question)
    await service.clients.aclose()
    in_order = tuple(answers[question.prompt] for question in questions if question.prompt in answers)
    return Result(side=side, answers=in_order, seconds=time.monotonic() - began)


@contextmanager
def _llm_folder(folder: str, own: bool) -> Iterator[None]:
    """Let llm use this folder, with its log off, and restore its own one afterwards."""
    if not own:
        yield
        return
    before = os.environ.get("LLM_USER_PATH")
    Path(folder, "logs-off").touch()
    os.environ["LLM_USER_PATH"] = folder
    try:
        yield
    finally:
        del os.environ["LLM_USER_PATH"]
        if before is not None:
            os.environ["LLM_USER_PATH"] = before


async def _consulted(service: ConsortiumService, side: Side, question: Question, seconds: float | None) -> Run:
    request = ConsultRequest(prompt=question.prompt, consortium=side.consortium, deadline_seconds=seconds)
    opened = await anyio.to_thread.run_sync(service.opener.open_run, request)
    try:
        await service.perform(opened.run_id)
        return await service.load(opened.run_id)
    finally:
        await service.clients.aclose()


def _answered(question: Question, run: Run) -> Answered:
    used = (run.usage.input_tokens, run.usage.output_tokens)
    return Answered(
        right=run.answer is not None and question.is_right(run.answer),
        answered=run.answer is not None,
        confidence=_confidence(run),
        calls=run.usage.calls,
        tokens=None if used == (None, None) else sum(tokens or 0 for tokens in used),
    )


def _confidence(run: Run) -> float | None:
    """The verdict's confidence; for a single instance its own, because its vote is always unanimous."""
    if run.consortium.instance_count > 1 or not run.iterations:
        return run.confidence
    return run.iterations[-1].responses[0].stated_confidence
