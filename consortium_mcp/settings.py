"""The environment, read once: database, default consortium, waiting times, limits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import click
from pydantic import Field, ValidationError, field_validator

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.record import Record

PREFIX = "CONSORTIUM_"


class Settings(Record):
    """How this process behaves; each field is the environment variable `CONSORTIUM_<FIELD>` and a flag of `serve`."""

    database: Path | None = None
    """The SQLite file; None means `consortium.db` in llm's user folder."""

    default: str | None = None
    """The saved consortium that a consult uses when it names none; None means the one called `default`."""

    local_model: Path | None = None
    """A GGUF file for the embedded model; None means the weights that `local-model fetch` stores."""

    wait_seconds: float = Field(default=45, ge=0, le=600)
    """How long a tool call follows a run before it answers `running`."""

    deadline_seconds: float = Field(default=600, gt=0)
    """How long a whole run may take."""

    call_timeout_seconds: float = Field(default=180, gt=0)
    """How long one model call may take."""

    max_concurrent_calls: int = Field(default=64, ge=1)
    """How many model calls this process has in flight at once, over all runs."""

    max_concurrent_runs: int = Field(default=16, ge=1)
    """How many runs this process works on at once; further ones wait."""

    max_calls: int | None = Field(default=None, ge=1)
    """The most model calls in one day (UTC) over all runs of the database; None means no limit."""

    max_tokens: int | None = Field(default=None, ge=1)
    """The most tokens in one day, questions and replies together; None means no limit."""

    max_cost_usd: float | None = Field(default=None, gt=0)
    """The most US dollars in one day; None means no limit."""

    confirm_cost_usd: float | None = Field(default=None, ge=0)
    """A consult that may cost more, or whose price is unknown, asks the client's user first; None means never."""

    resume: Literal["auto", "manual"] = "manual"
    """`auto`: a server continues interrupted runs when it starts; `manual`: only get_run and `runs resume` do."""

    allowed_models: tuple[str, ...] = ()
    """Patterns of the model ids that callers may use, as in `gpt-*,claude-*`; empty means all."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    """How much goes to the log on stderr."""

    @field_validator("allowed_models", mode="before")
    @classmethod
    def _split_patterns(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def database_path(self) -> Path:
        """Where the store is: `database`, else `consortium.db` in llm's user folder."""
        return (self.database or llm_user_path() / "consortium.db").expanduser()


def load_settings(environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    """Read the settings from the environment; flags that are not None win over it.

    Raises:
        ConsortiumError: a value is not of its kind; names the variable, the value and what is wrong with it.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {
        name: environ[PREFIX + name.upper()] for name in Settings.model_fields if environ.get(PREFIX + name.upper())
    }
    values.update({name: value for name, value in flags.items() if value is not None})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0])
        raise ConsortiumError(
            f"The setting {PREFIX}{field.upper()} is {problem['input']!r}: {problem['msg']}. Correct or unset it."
        ) from error


def llm_user_path() -> Path:
    """The folder where llm keeps its keys, models and logs: `LLM_USER_PATH`, else the platform's own.

    The same rule as `llm.user_dir()`, repeated here because it must neither import llm nor create the folder.
    """
    moved = os.environ.get("LLM_USER_PATH")
    return Path(moved) if moved else Path(click.get_app_dir("io.datasette.llm"))
