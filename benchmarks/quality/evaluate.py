"""Puts the same questions to one side after the other, through a service whose store is in a temporary folder."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
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
    """How the report calls it."""

    consortium: Consortium
    """Who is asked; a single model is a consortium of one instance that votes."""

    predicted: float | None = None
    """The accuracy that it must have, 0.0-1.0; None when it is unknown."""


class Answered(FrozenModel):
    """What became of one question."""

    right: bool
    """Whether the answer was right; no answer is not."""

    answered: bool
    """Whether there was an answer."""

    confidence: float | None
    """The stated trust in it, 0.0-1.0: a single model's own, else the verdict's; None when there was none."""

    calls: int
    """Model calls that were made."""

    tokens: int | None
    """Of questions and replies; None when they were not counted."""


class Result(FrozenModel):
    """How one side did."""

    side: Side

    answers: tuple[Answered, ...]
    """One for each question."""

    seconds: float
    """How long all took together."""

    @property
    def right(self) -> int:
        """How many were right."""
        return sum(one.right for one in self.answers)

    @property
    def accuracy(self) -> float:
        """Which part was right, 0.0-1.0."""
        return self.right / len(self.answers)

    @property
    def interval(self) -> Interval:
        """Where the true accuracy lies, in 95 of 100 samples."""
        return wilson(self.right, len(self.answers))

    @property
    def stated(self) -> list[tuple[float, bool]]:
        """Each stated confidence, and whether the answer was right."""
        return [(one.confidence, one.right) for one in self.answers if one.confidence is not None]

    @property
    def brier(self) -> float | None:
        """Mean squared difference of confidence and truth: 0 is perfect; None when no confidence was stated."""
        squares = [(confidence - right) ** 2 for confidence, right in self.stated]
        return sum(squares) / len(squares) if squares else None


def single(model: str, **rules: object) -> Consortium:
    """One instance of a model; its response is not judged."""
    rules = {"judging_method": "vote", "max_iterations": 1, **rules}
    return Consortium.model_validate({"members": [{"model": model}], **rules})


@contextmanager
def temporary_consultancy(*, own_llm_folder: bool) -> Iterator[ConsortiumService]:
    """A service that leaves nothing behind.

    Args:
        own_llm_folder: keep llm's own folder out of it too, with its log off: simulated models need neither the
            user's keys nor a place among the user's prompts. Settings in the environment do not count then.
    """
    with tempfile.TemporaryDirectory(prefix="consortium-quality-") as folder, _llm_folder(folder, own_llm_folder):
        settings = load_settings({} if own_llm_folder else None, database=Path(folder, "quality.db"))
        with ConsortiumService(settings) as service:
            yield service


def check(service: ConsortiumService, sides: Sequence[Side]) -> None:
    """Raise ConsortiumError where one of the sides could not answer, before any of them is asked."""
    catalogue = load_catalogue()
    for side in sides:
        service.definitions.check(None, side.consortium, catalogue)


async def evaluate(service: ConsortiumService, side: Side, questions: Sequence[Question], at_once: int) -> Result:
    """Ask a side every question, so many at a time."""
    answers: dict[str, Answered] = {}
    turns = anyio.CapacityLimiter(at_once)
    began = time.monotonic()

    async def ask(question: Question) -> None:
        async with turns:
            answers[question.prompt] = _answered(question, await _consulted(service, side, question))

    async with anyio.create_task_group() as group:
        for question in questions:
            group.start_soon(ask, question)
    await service.clients.aclose()
    in_order = tuple(answers[question.prompt] for question in questions)
    return Result(side=side, answers=in_order, seconds=time.monotonic() - began)


@contextmanager
def _llm_folder(folder: str, own: bool) -> Iterator[None]:
    """Let llm use this folder, its log off, and give it back its own."""
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


async def _consulted(service: ConsortiumService, side: Side, question: Question) -> Run:
    request = ConsultRequest(prompt=question.prompt, consortium=side.consortium)
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
    """The verdict's; of a single instance what it said itself, because its own vote is always unanimous."""
    if run.consortium.instance_count > 1 or not run.iterations:
        return run.confidence
    return run.iterations[-1].responses[0].stated_confidence
