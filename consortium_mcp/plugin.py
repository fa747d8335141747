"""llm's hooks: the embedded model and saved consortiums as models, and `llm consortium …`."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import click
import llm

from consortium_mcp.cli import llm_group
from consortium_mcp.consultancy import consult
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.local_model import LOCAL_MODEL_ALIAS
from consortium_mcp.local_model.model import AsyncLocalModel, LocalModel
from consortium_mcp.run import Turn
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store

logger = logging.getLogger(__name__)


@llm.hookimpl
def register_commands(cli: click.Group) -> None:
    """Offer every command under `llm consortium`, `consult` being the default."""
    cli.add_command(llm_group)


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """Register the embedded model, and each saved consortium; a database that cannot be read costs llm nothing."""
    register(LocalModel(), AsyncLocalModel(), aliases=(LOCAL_MODEL_ALIAS,))
    try:
        path = load_settings().database_path
        if not path.exists():
            return
        store = Store(path)
        names = store.list_consortium_names()
        store.close()
    except ConsortiumError as error:
        logger.warning("%s", error)
        return
    for name in names:
        register(ConsortiumModel(name), AsyncConsortiumModel(name))


class ConsortiumModel(llm.Model):
    """A saved consortium as a synchronous llm model."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """Consult it in a thread of its own, because the caller's may have an event loop running."""
        outcome: list[str | Exception] = []

        def work() -> None:
            try:
                outcome.append(asyncio.run(_answer(self.model_id, prompt, response)))
            except Exception as error:  # handed to the caller below
                outcome.append(error)

        thread = threading.Thread(target=work, name="consortium-consult")
        thread.start()
        thread.join()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        yield outcome[0]


class AsyncConsortiumModel(llm.AsyncModel):
    """A saved consortium as an asynchronous llm model."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str, None]:
        """Consult it."""
        yield await _answer(self.model_id, prompt, response)


async def _answer(name: str, prompt: llm.Prompt, response: Any) -> str:
    try:
        run = await consult(
            prompt.prompt, consortium=name, system_prompt=prompt.system or None, history=_history(prompt)
        )
    except ConsortiumError as error:
        raise llm.ModelError(str(error)) from error
    response.response_json = {"run_id": run.run_id, "status": run.status, "confidence": run.confidence}
    response.set_usage(input=run.usage.input_tokens, output=run.usage.output_tokens)
    return run.answer or ""


def _history(prompt: llm.Prompt) -> list[Turn]:
    """The turns before the prompt, as llm hands them over."""
    turns = []
    for message in prompt.messages[:-1]:
        text = "".join(part.text for part in message.parts if isinstance(part, llm.parts.TextPart))
        if text and message.role in ("user", "assistant"):
            turns.append(Turn(role="user" if message.role == "user" else "assistant", text=text))
    return turns
