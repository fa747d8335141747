"""The models that we offer to llm, as far as it needs to know them before one is asked."""

import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import llm
from pydantic import Field

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.models.local import register_local_model
from consortium_mcp.settings import MOST, MOST_SECONDS, llm_user_path, load_settings
from consortium_mcp.store.llm_consortium_files import saved_names

if TYPE_CHECKING:
    import consortium_mcp.llm_plugin.replies as llm_replies
else:
    llm_replies = LazyModule("consortium_mcp.llm_plugin.replies")

logger = logging.getLogger(__name__)


class ConsortiumOptions(llm.Model.Options):
    """What can be set for one prompt; what is not set is as it was saved."""

    confidence_threshold: float | None = Field(
        default=None, ge=0, le=100, description="Confidence at which to stop, 0-1 or a percentage."
    )
    max_iterations: int | None = Field(default=None, ge=1, description="Ask the members at most so often.")
    min_iterations: int | None = Field(default=None, ge=1, description="Ask them at least so often.")
    strategy: str | None = Field(default=None, description="Who is asked what in each iteration.")
    judging_method: str | None = Field(default=None, description="How responses become a verdict.")
    deadline_seconds: float | None = Field(
        default=None, gt=0, le=MOST_SECONDS, description="Seconds that the whole run may take."
    )
    max_cost_usd: float | None = Field(default=None, gt=0, le=MOST, description="The most US dollars that it may cost.")
    system_prompt: str | None = Field(default=None, description="For the members; --system wins over it.")


class Registered:
    """The consortiums that are registered together; why one of them cannot run is found out for all at once."""

    @cached_property
    def problems(self) -> Mapping[str, str | None]:
        """Why each cannot run now; nothing is known of them where the database cannot be read."""
        try:
            return llm_replies.list_problems()
        except ConsortiumError as error:
            _warn(str(error))
            return {}


class _Consortium:
    """What both kinds have in common."""

    can_stream = True
    supports_schema = True
    is_consortium = True

    def __init__(self, name: str, saved: Registered) -> None:
        self.model_id = name
        self._saved = saved

    def __str__(self) -> str:
        """How `llm models` lists it."""
        problem = self._saved.problems.get(self.model_id)
        return f"Consortium: {self.model_id}" + (f" (cannot run: {problem})" if problem else "")


class ConsortiumModel(_Consortium, llm.Model):
    """A saved consortium as a synchronous llm model."""

    Options = ConsortiumOptions

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """Consult it; progress goes to stderr where that is a terminal."""
        yield from llm_replies.reply(self.model_id, prompt, response)


class AsyncConsortiumModel(_Consortium, llm.AsyncModel):
    """A saved consortium as an asynchronous llm model."""

    Options = ConsortiumOptions

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str, None]:
        """Consult it."""
        async for piece in llm_replies.async_reply(self.model_id, prompt, response):
            yield piece


def register(register: Callable[..., None], model_aliases: list[Any]) -> None:
    """Register the embedded model and each saved consortium; whatever is broken of ours costs llm nothing.

    Args:
        model_aliases: the models of the other plugins; a consortium must not hide one of them.
    """
    register_local_model(register)
    others = [(one.model or one.async_model, one.aliases) for one in model_aliases]
    taken = {name for model, aliases in others if not _is_llm_consortiums(model) for name in (model.model_id, *aliases)}
    saved = Registered()
    for name in _saved_names():
        if name in taken:
            _warn(f"The consortium {name!r} is no llm model, because it would hide the model of that name: rename it.")
        else:
            register(ConsortiumModel(name, saved), AsyncConsortiumModel(name, saved))


def _is_llm_consortiums(model: object) -> bool:
    """Whether it is a consortium of llm-consortium, which was taken over: then ours answers to its name."""
    return type(model).__module__.partition(".")[0] == "llm_consortium"


def _saved_names() -> list[str]:
    try:
        return saved_names(load_settings().database_path, llm_user_path())
    except (ConsortiumError, sqlite3.Error, OSError) as error:
        _warn(f"Saved consortiums are not listed: {error}")
        return []


@cache  # llm asks for its models several times in one command
def _warn(sentence: str) -> None:
    logger.warning("%s", sentence)
