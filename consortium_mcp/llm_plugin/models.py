"""The models that we register with llm, without the imports that only a prompt needs."""

import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import llm

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.models.local import chosen_weights, register_local_model
from consortium_mcp.settings import Settings, current_settings, llm_user_path, settings_in_use
from consortium_mcp.store.llm_consortium_files import saved_names

if TYPE_CHECKING:
    import consortium_mcp.llm_plugin.options as llm_options
    import consortium_mcp.llm_plugin.replies as llm_replies
else:
    llm_options = LazyModule("consortium_mcp.llm_plugin.options")
    llm_replies = LazyModule("consortium_mcp.llm_plugin.replies")

logger = logging.getLogger(__name__)


class Registered:
    """The consortiums that are registered together; their problems are determined together."""

    def __init__(self, settings: Settings | None) -> None:
        self.settings = settings
        """The settings of the consults; None reads them from the environment at each consult."""

    @cached_property
    def problems(self) -> Mapping[str, str | None]:
        """Why each cannot run now; empty if the database cannot be read."""
        try:
            return llm_replies.list_problems(self.settings)
        except ConsortiumError as error:
            _warn(str(error))
            return {}


class _LazyOptions:
    """The options of one prompt, imported when llm asks for them, because most commands never do."""

    def __get__(self, model: object, kind: type) -> type[llm.Options]:
        return llm_options.ConsortiumOptions


class _LazyAttachmentTypes:
    """The media types that any member accepts; the answer says which member did not get which file."""

    def __get__(self, model: "_Consortium | None", kind: type) -> set[str]:
        return set(llm_replies.attachment_types(model.model_id, model._saved.settings)) if model else set()


class _Consortium:
    """The common part of both model classes."""

    can_stream = True
    supports_schema = True
    is_consortium = True

    def __init__(self, name: str, saved: Registered) -> None:
        self.model_id = name
        self._saved = saved

    def __str__(self) -> str:
        """The name in the list of `llm models`."""
        problem = self._saved.problems.get(self.model_id)
        return f"Consortium: {self.model_id}" + (f" (cannot run: {problem})" if problem else "")


class ConsortiumModel(_Consortium, llm.Model):
    """A saved consortium as a synchronous llm model."""

    Options = _LazyOptions()  # type: ignore[assignment]  # a class, as soon as it is read
    attachment_types = _LazyAttachmentTypes()

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """Consult it; progress goes to stderr if that is a terminal."""
        yield from llm_replies.reply(self.model_id, prompt, response, self._saved.settings)


class AsyncConsortiumModel(_Consortium, llm.AsyncModel):
    """A saved consortium as an asynchronous llm model."""

    Options = _LazyOptions()  # type: ignore[assignment]  # as above
    attachment_types = _LazyAttachmentTypes()

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str, None]:
        """Consult it."""
        async for piece in llm_replies.async_reply(self.model_id, prompt, response, self._saved.settings):
            yield piece


def register(register: Callable[..., None], model_aliases: list[Any]) -> None:
    """Register the embedded model and each saved consortium, by the settings in use; our errors never stop llm.

    Args:
        model_aliases: the models of the other plugins; a consortium must not hide one of them.
    """
    settings = settings_in_use()
    register_local_model(register, settings.local_model if settings else chosen_weights())
    others = [(one.model or one.async_model, one.aliases) for one in model_aliases]
    taken = {name for model, aliases in others if not _is_llm_consortiums(model) for name in (model.model_id, *aliases)}
    saved = Registered(settings)
    for name in _saved_names():
        if name in taken:
            _warn(
                f"The consortium {name!r} is not offered to llm, because an llm model has the same name. Rename the "
                "consortium."
            )
        else:
            register(ConsortiumModel(name, saved), AsyncConsortiumModel(name, saved))


def _is_llm_consortiums(model: object) -> bool:
    """Whether it is a consortium of llm-consortium that was imported: then ours has its name."""
    return type(model).__module__.partition(".")[0] == "llm_consortium"


def _saved_names() -> list[str]:
    try:
        return saved_names(current_settings().database_path, llm_user_path())
    except (ConsortiumError, sqlite3.Error, OSError) as error:
        _warn(f"The saved consortiums cannot be listed: {error}")
        return []


@cache  # llm asks for its models several times in one command
def _warn(sentence: str) -> None:
    logger.warning("%s", sentence)
