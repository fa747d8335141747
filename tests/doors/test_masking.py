"""Keys reach no log line, no error sentence, no resource and no row of the database."""

import base64
import json
import logging
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import llm
import pytest
from llm.models import EmbeddingModel

from consortium_mcp.cli.logs import MaskingFormatter
from consortium_mcp.engine.registry import load_registry
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.models.embeddings import embed
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.masking import masked
from tests.consulted import consulted
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.plugins import install_plugin
from tests.provider import Fault, Provider
from tests.server_process import connected, read, said, structured
from tests.store_methods import replace_method

pytestmark = pytest.mark.anyio

STORED = "a-key-like-no-other/9"
PAIR = b"ann:a-word-to-pass"
SET = "words of the environment"


@pytest.fixture
def secrets(llm_home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Secrets that this machine knows, and one that only looks like one."""
    keys = llm_home / "keys.json"
    known = json.loads(keys.read_text()) if keys.exists() else {}
    keys.write_text(json.dumps({**known, "// note": "keys", "some-service": STORED}))
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SET)
    return STORED, SET, "sk-proj-abcDEF0123456789"


def test_what_this_machine_knows_to_be_secret_is_masked(secrets: tuple[str, ...]) -> None:
    assert masked(f"no {STORED} and no {SET}, no {secrets[2]}") == "no … and no …, no sk-…"


def test_a_key_that_was_stored_later_is_masked_too(llm_home: Path) -> None:
    before = masked("another-one-8")
    (llm_home / "keys.json").write_text(json.dumps({"later": "another-one-8"}))

    assert (before, masked("another-one-8")) == ("another-one-8", "…")


@pytest.mark.parametrize("content", ["{broken", "[]", '"text"', '{"x": {"y": "z"}}'])
def test_a_key_file_that_cannot_be_read_hides_nothing_and_breaks_nothing(content: str, llm_home: Path) -> None:
    (llm_home / "keys.json").write_text(content)

    assert masked("a sentence") == "a sentence"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc/DEF+123==", "Authorization: Bearer …"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic dXNlcjpwYXNz"),
        ("Authorization: Basic dXNlcjpwYXNzMQ==", "Authorization: Basic …"),
        ("https://api.example/v1?key=AIzaSyD-123456 failed", "https://api.example/v1?key=… failed"),
        ("gsk_abcdefgh12", "gsk_…"),
        ("the key AKIAIOSFODNN7EXAMPLE is unknown", "the key AKIA… is unknown"),
        ("Token 9944b09199c62bcf9418 is wrong", "Token … is wrong"),
        ("password=hunter2 is wrong", "password=… is wrong"),
        ('{"password": "hunter2"}', '{"password": "…"}'),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key=…"),
        ("no way to http://ann:pw12@proxy:3128", "no way to http://ann:…@proxy:3128"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln-_x is expired", "eyJ… is expired"),
        ("Token 128000 is too far; the secret is out: KeyError: x",) * 2,
        ("basic mistakes, bearer tokens and monkey business", "basic mistakes, bearer tokens and monkey business"),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No A-KEY-LIKE-NO-OTHER/9 here", "No … here"),
        ("/v1?x=a-key-like-no-other%2F9", "/v1?x=…"),
        (base64.b64encode(f"ann:{STORED}".encode()).decode(), "YW5uOm…Q=="),
        (base64.b64encode(f"a:{STORED}".encode()).decode(), "YTp…k="),
        (base64.b64encode(f"an:{STORED}".encode()).decode(), "YW46…"),
        ("it was cut: a-key-like-no-o", "it was cut: …"),
        ("a-key-l is too short to be told from words",) * 2,
    ],
)
def test_a_known_secret_is_masked_however_it_is_written(text: str, shown: str, secrets: tuple[str, ...]) -> None:
    assert masked(text) == shown


def test_a_log_line_and_its_traceback_are_masked(secrets: tuple[str, ...]) -> None:
    try:
        raise ValueError(f"{STORED} was refused")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "with %s", (SET,), (type(error), error, None))

    line = MaskingFormatter().format(record)
    assert line.startswith("with …") and line.endswith("ValueError: … was refused")


def test_foreign_text_begins_no_line_of_the_log_and_moves_no_cursor() -> None:
    forged = '\x1b[2J\n2026-11-25 consortium_mcp.audit INFO {"caller": "ann"}'
    try:
        raise ValueError(forged)
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "with %s", (forged,), (type(error), error, None))

    first, *rest = MaskingFormatter().format(record).splitlines()
    assert first == 'with \\n2026-11-25 consortium_mcp.audit INFO {"caller": "ann"}'
    assert rest and all(line.startswith("  ") for line in rest)


LEAKY = """
import llm

@llm.hookimpl
def register_models(register):
    raise RuntimeError("red \\x1b[2Jalert: {secret} was refused")
"""


@pytest.mark.parametrize("program", [("-m", "consortium_mcp"), ("-m", "llm", "consortium")])
def test_the_log_of_every_command_is_masked_steers_no_terminal_and_is_as_much_as_the_settings_say(
    program: tuple[str, ...], secrets: tuple[str, ...], plugin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(plugin_folder, "leaky", LEAKY.format(secret=STORED))

    warned = run_command("list", program=program).stderr
    monkeypatch.setenv("CONSORTIUM_LOG_LEVEL", "ERROR")
    silent = run_command("list", program=program).stderr

    assert "WARNING The llm plugin leaky is broken: RuntimeError: red alert: … was refused\n" in warned
    assert "leaky" not in silent


def test_other_commands_of_llm_keep_their_logging() -> None:
    code = "import logging; from llm.cli import cli; cli(['plugins'], standalone_mode=False)"
    done = run_command(program=("-c", f"{code}; assert not logging.root.handlers"))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_keys_that_a_provider_repeats_are_masked(
    mode: str, provider: Provider, secrets: tuple[str, ...], tmp_path: Path
) -> None:
    for model, status in (("a", 401), ("b", 400), ("arbiter", 403)):
        provider.on(model, Fault.refused("echo", status, None, f"Wrong: {' and '.join(secrets)}."))
    provider.on("c", "fine")
    database = tmp_path / "test.db"
    flags = ("serve", "--database", str(database), "--log-level", "DEBUG")

    async with connected(mode, tmp_path / "stderr", *flags) as client:
        asked = {"prompt": "?", "models": ["a", "b", "c"], "arbiter": "arbiter", "max_iterations": 1}
        result = await client.call_tool("consult_consortium", asked)
        record = await read(client, structured(result)["run_uri"])
        transcript = await read(client, structured(result)["transcript_uri"])

    with closing(sqlite3.connect(database)) as connection, connection:
        stored = "\n".join(connection.iterdump())
    connection.close()
    shown = (said(result), str(structured(result)), record, transcript, stored, (tmp_path / "stderr").read_text())
    assert "Wrong: …" in record and "DEBUG" in shown[-1]
    assert [secret for secret in secrets for text in shown if secret in text] == []


async def test_headers_of_a_model_that_a_provider_repeats_are_masked(
    provider: Provider, llm_home: Path, service: ConsortiumService
) -> None:
    sent = {"X-Gateway": "the-word-of-the-gateway", "Authorization": f"Basic {base64.b64encode(PAIR).decode()}"}
    config = llm_home / "extra-openai-models.yaml"
    models = json.loads(config.read_text())
    config.write_text(json.dumps([{**model, "headers": {**sent, "X-Title": "application"}} for model in models]))
    heard = [*sent.values(), sent["X-Gateway"].upper(), PAIR.decode(), PAIR.decode().partition(":")[2]]
    words = " and ".join([*heard, base64.b64encode(sent["X-Gateway"].encode()).decode(), "application"])
    provider.on("a", Fault.refused("echo", 400, None, words))
    provider.on("arbiter", Fault.refused("echo", 400, None, words))

    run = await consulted(service, "a", "b", arbiter="arbiter")

    shown = run.model_dump_json()
    assert "application" in shown
    assert [secret for secret in heard if secret.lower() in shown.lower()] == []


async def test_a_failure_inside_the_server_is_a_sentence_without_its_words(
    service: ConsortiumService, secrets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"with {STORED}")

    replace_method(monkeypatch, service.store.consortiums, "save", fail)
    async with in_process("auto", service) as client:
        result = await client.call_tool("save_consortium", {"name": "x", "models": ["consortium-local"]})

    assert result.is_error
    assert said(result) == "save_consortium failed inside the server; the log on stderr says why."


async def test_a_key_that_an_embedding_model_repeats_is_masked(
    secrets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Service(EmbeddingModel):
        model_id = "meaning"

        def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
            raise ValueError(f"{STORED} was refused")

    monkeypatch.setattr(llm, "get_embedding_model", lambda name: Service())
    with pytest.raises(ModelUnavailableError, match=re.escape("ValueError: … was refused")):
        await embed("meaning", ["one", "two"])


def test_a_key_that_an_extension_repeats_is_masked(
    secrets: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaky.py").write_text(f"raise RuntimeError({STORED!r})")
    info = tmp_path / "leaky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tests.leaky]\nleaky = leaky:THING\n")
    monkeypatch.syspath_prepend(tmp_path)

    loaded = load_registry("strategy", list(strategies().values()), "tests.leaky")
    assert loaded.broken == {"leaky": "leaky is left out (RuntimeError: …)"}


async def test_an_error_that_quotes_a_key_is_masked(service: ConsortiumService, secrets: tuple[str, ...]) -> None:
    async with in_process("auto", service) as client:
        result = await client.call_tool("get_run", {"run_id": STORED})

    assert "No run '…'" in said(result)
