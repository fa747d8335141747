"""The settings, read once from the environment: database, default consortium, waiting times, limits, server address."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

import click
from pydantic import Field, SecretStr, ValidationError, field_validator

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.errors import ConsortiumError

PREFIX = "CONSORTIUM_"

MOST = 10**12
"""The highest limit of any count: calls, tokens, dollars, characters or runs; SQLite could store more."""

MOST_AT_ONCE = 1_000_000
"""The highest limit of anything simultaneous, or within a minute."""

MOST_SECONDS = 86_400
"""The longest time limit: a day."""


class Settings(FrozenModel):
    """The settings of this process; each is the environment variable `CONSORTIUM_<FIELD>` and a flag of `serve`."""

    database: Path | None = None
    """The SQLite file; None means `consortium.db` in llm's user folder."""

    default: str | None = None
    """The saved consortium for consults that name none; None means the one called `default`."""

    local_model: Path | None = None
    """A GGUF file for the embedded model; None means the weights that `local-model fetch` stores."""

    wait_seconds: float = Field(default=45, ge=0, le=600)
    """How long a tool call waits for a run before it returns status running."""

    deadline_seconds: float = Field(default=600, gt=0, le=MOST_SECONDS)
    """How long a whole run may take."""

    call_timeout_seconds: float = Field(default=180, gt=0, le=MOST_SECONDS)
    """How long one model call may take."""

    max_concurrent_calls: int = Field(default=64, ge=1, le=MOST_AT_ONCE)
    """How many model calls of this process run at once, over all runs, nested runs included."""

    max_concurrent_runs: int = Field(default=16, ge=1, le=MOST_AT_ONCE)
    """How many runs this process works on at once; further runs wait."""

    max_calls: int | None = Field(default=None, ge=1, le=MOST)
    """The limit of model calls in one day (UTC) over all runs of the database; None means no limit."""

    max_tokens: int | None = Field(default=None, ge=1, le=MOST)
    """The limit of tokens in one day, questions and replies together; None means no limit."""

    max_cost_usd: float | None = Field(default=None, gt=0, le=MOST)
    """The limit of US dollars in one day; None means no limit."""

    confirm_cost_usd: float | None = Field(default=None, ge=0, le=MOST)
    """The client's user confirms a consult that may cost more, or has an unknown price; None means never."""

    prices: Path | None = None
    """A JSON file with your own prices, in the form of genai-prices, whose lists they override; None means no file."""

    direct_streaming: bool = True
    """Whether streamed replies of OpenAI-based models bypass the OpenAI SDK to save time; `0` uses the SDK alone."""

    max_prompt_chars: int = Field(default=200_000, ge=1, le=MOST)
    """The longest prompt, system prompt, own answer or description, in characters."""

    roots: tuple[Path, ...] = ()
    """Folders, or single files, that callers on stdio may attach, where their client names none; empty means none."""

    attachment_urls: Literal["public", "any", "none"] = "public"
    """Which URLs are fetched for callers of a server: http(s) at public addresses, at any address, or none."""

    max_attachment_bytes: int = Field(default=20_000_000, ge=1, le=MOST)
    """How large all attachments of one consult may be together, in bytes."""

    resume: Literal["auto", "manual"] | None = None
    """`auto` resumes interrupted runs at the server's start, `manual` only on request; None means `manual` on stdio,
    else `auto`.
    """

    llm_log: Literal["on", "off"] | None = None
    """Whether calls are written to llm's own log, with prompts and replies; None means `on` on stdio, else `off`."""

    allowed_models: tuple[str, ...] = ()
    """Patterns of the model ids that callers may use, as in `gpt-*,claude-*`; empty means all models."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    """The level of the log on stderr."""

    transport: tuple[Literal["stdio", "http", "sse"], ...] = ("stdio",)
    """How clients reach the server: `stdio`, `http`, `sse`, or `http,sse` from one process."""

    tools: tuple[str, ...] = ()
    """The tools that clients see and can call, as in `consult_consortium,get_run`; empty means all."""

    read_only: bool = False
    """Whether only tools that read are served: nothing is asked, continued, saved or removed."""

    web_pages: bool = False
    """Whether `/app` serves the pages for a browser; a person logs in there with the token of a caller."""

    output_schemas: bool = True
    """Whether tools are listed with output schemas; `0` leaves them out, for clients that cannot read them."""

    host: str = "127.0.0.1"
    """The address for http and sse; an address other than this machine's loopback needs a token."""

    port: int = Field(default=8000, ge=0, le=65_535)
    """The port for http and sse; 0 means any free port."""

    uds: Path | None = None
    """A Unix socket, open to its owner only, instead of address and port; None means address and port."""

    allowed_hosts: tuple[str, ...] = ()
    """Further host names by which clients may call the server, as in `consult.example.com`."""

    root_path: str = ""
    """The path of the server behind a proxy, as in `/consortium`."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses of trusted proxies, whose forwarded client addresses are used; empty means none."""

    token: SecretStr | None = None
    """The bearer token of a server with one caller, named `default`; other users can see it in a flag."""

    token_file: Path | None = None
    """A file with a line `name:SHA-256 of the token in hex` for each caller; after SIGHUP the server reads it again."""

    oauth_issuer: str | None = None
    """The URL of an OAuth issuer whose tokens are accepted; a token's subject is the caller; None means no OAuth."""

    oauth_jwks_url: str | None = None
    """The URL of the OAuth issuer's key set, which verifies its tokens."""

    oauth_resource: str | None = None
    """This server's own URL, as in `https://consult.example.com/mcp`: OAuth tokens must be issued for it."""

    shared: bool = False
    """Whether callers see each other's runs and saved consortiums."""

    max_runs_per_caller: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE)
    """How many active runs one caller may have; None means half of max_concurrent_runs plus max_waiting_runs."""

    max_requests_per_caller: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE)
    """How many requests one caller may make in a minute; None means no limit."""

    max_cost_usd_per_caller: float | None = Field(default=None, gt=0, le=MOST)
    """The limit of US dollars for one caller in one day; None means no limit."""

    max_waiting_runs: int = Field(default=1000, ge=0, le=MOST_AT_ONCE)
    """How many runs may wait for their turn; a further consult gets an error that says to try again later."""

    max_connections: int = Field(default=1000, ge=1, le=MOST_AT_ONCE)
    """How many connections the server holds at once over http and sse."""

    max_sessions: int = Field(default=1000, ge=1, le=MOST_AT_ONCE)
    """How many http sessions are kept for clients of protocol revision 2025-11-25."""

    max_connections_per_caller: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE)
    """How many requests and streams one caller may have open at once; None means half of max_connections."""

    max_sessions_per_caller: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE)
    """How many http sessions one caller may have open; None means half of max_sessions."""

    max_consortiums_per_caller: int = Field(default=200, ge=1, le=MOST_AT_ONCE)
    """How many consortiums one caller of a server may have saved."""

    max_saved_runs_per_caller: int | None = Field(default=100_000, ge=1, le=MOST)
    """How many runs of one caller the database may hold; None means no limit."""

    request_timeout_seconds: float = Field(default=30, gt=0, le=MOST_SECONDS)
    """How long a client may take to send one HTTP request."""

    read_timeout_seconds: float = Field(default=20, gt=0, le=MOST_SECONDS)
    """How long one read of the database may take, as for a search or a list."""

    grace_seconds: float = Field(default=8, ge=0, le=MOST_SECONDS)
    """How long runs may continue after an http or sse server receives a stop signal; unfinished runs can be resumed."""

    @field_validator("allowed_models", "roots", "tools", "transport", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("transport")
    @classmethod
    def _stdio_alone(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or ("stdio" in value and len(value) > 1):
            raise ValueError("give stdio, http, sse, or http,sse")
        return value

    @property
    def writes_llm_log(self) -> bool:
        """Whether calls are written to llm's own log; a team's prompts are not, unless the setting says so."""
        return self.llm_log == "on" if self.llm_log else self.transport == ("stdio",)

    @property
    def database_path(self) -> Path:
        """The database's path: `database`, else `consortium.db` in llm's user folder."""
        return (self.database or llm_user_path() / "consortium.db").expanduser()


def load_settings(environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    """Read the settings from the environment; flags that are not None override it.

    Raises:
        ConsortiumError: a value has the wrong type; the message names the variable, the value and the problem.
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


_in_use: ContextVar[Settings | None] = ContextVar("settings", default=None)


def settings_in_use() -> Settings | None:
    """The settings given for the current context; None means those of the environment."""
    return _in_use.get()


def current_settings() -> Settings:
    """The settings in use, else the environment's. Raises ConsortiumError like `load_settings`."""
    return settings_in_use() or load_settings()


@contextmanager
def using(settings: Settings | None) -> Iterator[None]:
    """Use these settings inside this context, including tasks and threads that copy it.

    Args:
        settings: None changes nothing.
    """
    token = _in_use.set(settings or settings_in_use())
    try:
        yield
    finally:
        _in_use.reset(token)


def llm_user_path() -> Path:
    """llm's folder of keys, models and logs: `LLM_USER_PATH`, else the platform's default.

    It repeats the rule of `llm.user_dir()`, because it must neither import llm nor create the folder.
    """
    moved = os.environ.get("LLM_USER_PATH")
    return Path(moved) if moved else Path(click.get_app_dir("io.datasette.llm"))
