"""The kinds of failure; each says what happened, with which name, and what to do next in the words of its door."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import ClassVar


class Door(Enum):
    """The reader of an error, which determines the possible next steps."""

    TOOLS = "a model that calls our tools"
    COMMANDS = "a person who types commands, ours or llm's"
    PYTHON = "a program that calls our functions"


class NextStep(Enum):
    """The next step after a failure; each door has its own words for it."""

    LIST_CONSORTIUMS = "see which consortiums are saved"
    LIST_MODELS = "see which models can be used"
    LIST_RUNS = "see which runs there are"
    LIST_ANSWERED = "see which runs have an answer"
    READ_RUN = "read the run"
    CONTINUE_RUN = "wait for the run's answer"
    FREE_PLACE = "wait for a run, or stop one"
    OVERWRITE = "replace the saved consortium"
    REPLACE_DAMAGED = "replace or remove the damaged consortium"
    HAVE_DEFAULT = "name models, or make a default"


_KEY = "set the key of llm's default model, {model} (`llm keys set openai`, or `llm models default MODEL` for another)"
_FETCH = "fetch the embedded model (`consortium-mcp local-model fetch`)"

_WORDS: Mapping[NextStep, Mapping[Door, str]] = {
    NextStep.LIST_CONSORTIUMS: {
        Door.TOOLS: "Call list_consortiums to see them.",
        Door.COMMANDS: "`consortium-mcp list` shows them.",
        Door.PYTHON: "Name one of these, or give models.",
    },
    NextStep.LIST_MODELS: {
        Door.TOOLS: "Call list_models to see which can be used.",
        Door.COMMANDS: "`consortium-mcp models` lists those that can be used.",
        Door.PYTHON: "llm.get_models() lists those there are.",
    },
    NextStep.LIST_RUNS: {
        Door.TOOLS: "Call list_runs to see more.",
        Door.COMMANDS: "`consortium-mcp runs` lists more.",
        Door.PYTHON: "list_runs() lists more.",
    },
    NextStep.LIST_ANSWERED: {
        Door.TOOLS: 'Call list_runs with status="converged" or "exhausted" to see runs with an answer.',
        Door.COMMANDS: "`consortium-mcp runs --status converged` lists runs with an answer.",
        Door.PYTHON: 'list_runs(status="converged") lists runs with an answer.',
    },
    NextStep.READ_RUN: {
        Door.TOOLS: 'Call get_run with run_id="{run_id}" and detail="full" to read what was said.',
        Door.COMMANDS: "`consortium-mcp runs show {run_id}` reads what was said.",
        Door.PYTHON: 'load_run("{run_id}") reads what was said.',
    },
    NextStep.CONTINUE_RUN: {
        Door.TOOLS: 'Call get_run with run_id="{run_id}" to wait for its answer.',
        Door.COMMANDS: "`consortium-mcp runs resume {run_id}` continues it.",
        Door.PYTHON: 'load_run("{run_id}") reads how it stands.',
    },
    NextStep.FREE_PLACE: {
        Door.TOOLS: "Wait with get_run until one has ended, or stop one with cancel_run.",
        Door.COMMANDS: "Wait until one has ended, or stop one with `consortium-mcp runs cancel RUN`.",
        Door.PYTHON: "Await one of them first, or cancel its task.",
    },
    NextStep.OVERWRITE: {
        Door.TOOLS: "Give overwrite=true to replace it, or another name.",
        Door.COMMANDS: "`consortium-mcp remove {name}` removes it; or give another name.",
        Door.PYTHON: "Give overwrite=True to replace it, or another name.",
    },
    NextStep.REPLACE_DAMAGED: {
        Door.TOOLS: "Call save_consortium with overwrite=true to replace it, or remove_consortium.",
        Door.COMMANDS: "`consortium-mcp save` replaces it, and `consortium-mcp remove` removes it.",
        Door.PYTHON: "Give models instead of its name, or save it again.",
    },
    NextStep.HAVE_DEFAULT: {
        Door.TOOLS: f"Give models, or save a consortium named 'default' with save_consortium. Or {_KEY}. Or {_FETCH}.",
        Door.COMMANDS: "There are four ways to a default. Name a saved consortium in CONSORTIUM_DEFAULT. "
        "Or save one called 'default' (`consortium-mcp save default -m MODEL`). "
        f"Or {_KEY}. Or {_FETCH}.",
        Door.PYTHON: f"Give models, or name a saved consortium in CONSORTIUM_DEFAULT. Or {_KEY}. Or {_FETCH}.",
    },
}

_door: ContextVar[Door] = ContextVar("door", default=Door.PYTHON)


@contextmanager
def speaking_at(door: Door) -> Iterator[None]:
    """Word errors for this door inside this context."""
    before = _door.set(door)
    try:
        yield
    finally:
        _door.reset(before)


def words_for(step: NextStep, **about: str) -> str:
    """The next step in the words of the current door; without one, in those of Python.

    Args:
        about: the names in these words: `run_id`, `name` or `model`.
    """
    return _WORDS[step][_door.get()].format(**about)


class ConsortiumError(Exception):
    """An error that the caller can understand and repair; its text is complete."""

    kind: ClassVar[str] = "failed"
    """The kind of the failure, for programs."""

    def __init__(self, message: str, next_step: NextStep | None = None, **about: str) -> None:
        """What happened, and the next step if its words differ between doors.

        Args:
            next_step: None if the message says what to do, in words for all doors.
            about: the names in the next step's words.
        """
        super().__init__(message)
        self.next_step = next_step
        self.about = about

    @property
    def message(self) -> str:
        """What happened."""
        return str(self.args[0]) if self.args else ""

    @property
    def advice(self) -> str | None:
        """What to do next, in the words of the current door; None if the message says it."""
        return words_for(self.next_step, **self.about) if self.next_step else None

    def __str__(self) -> str:
        """What happened and what to do next, in the words of the current door."""
        return " ".join(part for part in (self.message, self.advice) if part is not None)


class InvalidConsortiumError(ConsortiumError):
    """A definition breaks a rule: a count below 1, a threshold above 100, a consortium inside itself."""

    kind = "invalid"


class NotFoundError(ConsortiumError):
    """Nothing is stored with that name or id."""

    kind = "not_found"


class ModelUnavailableError(ConsortiumError):
    """A model cannot be called now: unknown, without a key, or of a broken plugin."""

    kind = "model_unavailable"


class BusyError(ConsortiumError):
    """Too much work at once, or a caller's share is used up; the message says when to try again."""

    kind = "busy"

    def __init__(self, message: str, next_step: NextStep | None = None, *, limit: str | None = None) -> None:
        """What happened, and the next step if its words differ between doors.

        Args:
            limit: the setting of the caller's limit that is reached; None if it is no caller's limit.
        """
        super().__init__(message, next_step)
        self.limit = limit


class RunFailedError(ConsortiumError):
    """A run ended without an answer; its record is kept under `run_id`."""

    kind = "run_failed"

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message, NextStep.READ_RUN, run_id=run_id)
        self.run_id = run_id


class StoreUnusableError(ConsortiumError):
    """The database cannot be opened, read or written."""

    kind = "store_unusable"


class ReadTooLongError(StoreUnusableError):
    """A read of the database exceeded its time limit."""

    kind = "read_too_long"
    limit = "read_timeout_seconds"


class OutputError(ConsortiumError):
    """A result cannot be printed or written: the reader closed the pipe, the disk is full, a file is not writable."""

    kind = "output"
