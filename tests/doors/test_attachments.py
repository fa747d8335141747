"""Files with a question: who gets which, who is told what, where they are kept, and what may be read at which door."""

import base64
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp_types import ListRootsResult, Root
from pydantic import FileUrl

from consortium_mcp import AttachmentFile, Run, consult, consult_sync, export
from consortium_mcp._util.caller import calling
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.llm_plugin.models import ConsortiumModel, Registered
from consortium_mcp.service.attachments import urls
from consortium_mcp.service.replay import open_replay
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import performed
from tests.doors.test_cli import run_command
from tests.doors.test_plugin import run_llm
from tests.in_process import in_process
from tests.provider import Provider, Request, verdict
from tests.scripted import panel
from tests.server_process import http_client, http_server, said, structured

pytestmark = pytest.mark.anyio


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + chunk(b"IEND", b"")
)
"""A picture of one red pixel."""

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
"""A document without pages, which no reader of ours opens."""


@pytest.fixture
def seeing(llm_home: Path) -> Iterator[Provider]:
    """The models `eye` and `sage`, which take pictures and PDFs, and `ear` and `judge`, which take texts alone."""
    with Provider() as provider:
        provider.write_llm_config(llm_home, ["ear"], vision=["eye", "sage"], schema=["judge", "sage"])
        for model in ("eye", "ear"):
            provider.on(model, "It is red.")
        for model in ("judge", "sage"):
            provider.on(model, verdict("It is red."))
        yield provider


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a picture and a document."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "shot.png").write_bytes(PNG)
    (folder / "plan.pdf").write_bytes(PDF)
    return folder.resolve()


def sent(request: Request) -> list[bytes]:
    """The contents of the files in the last message of a request."""
    content = request.messages[-1]["content"]
    return [] if isinstance(content, str) else [decoded(part) for part in content if part["type"] != "text"]


def decoded(part: dict[str, Any]) -> bytes:
    uri = part["image_url"]["url"] if part["type"] == "image_url" else part["file"]["file_data"]
    return base64.b64decode(uri.partition(",")[2])


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


ASKED: dict[str, Any] = {"models": ["eye", "ear"], "arbiter": "sage", "max_iterations": 1}


async def by_tool(service: ConsortiumService, files: Path) -> None:
    async with in_process("auto", service) as client:
        written = [str(files / "shot.png"), (files / "plan.pdf").as_uri()]
        asked = {"prompt": "What colour?", "attachments": written, "wait_seconds": 60, **ASKED}
        structured(await client.call_tool("consult_consortium", asked))


async def by_data(service: ConsortiumService, files: Path) -> None:
    async with in_process("auto", service) as client:
        written = [
            {"data": base64.b64encode(PNG).decode(), "mimeType": "image/png"},
            data_uri(PDF, "application/pdf"),
        ]
        asked = {"prompt": "What colour?", "attachments": written, "wait_seconds": 60, **ASKED}
        structured(await client.call_tool("consult_consortium", asked))


async def by_command(service: ConsortiumService, files: Path) -> None:
    models = [word for model in ASKED["models"] for word in ("-m", model)]
    words = ["consult", "What colour?", *models, "--arbiter", "sage", "--max-iterations", "1"]
    words += ["-a", str(files / "shot.png"), "--at", str(files / "plan.pdf"), "application/pdf"]
    done = await anyio.to_thread.run_sync(lambda: run_command(*words))
    assert done.returncode == 0, done.stderr


async def by_python(service: ConsortiumService, files: Path) -> None:
    written: list[str | AttachmentFile] = [
        str(files / "shot.png"),
        AttachmentFile.of(PDF, "application/pdf", "plan.pdf"),
    ]
    await consult("What colour?", attachments=written, settings=service.settings, **ASKED)


async def by_llm(service: ConsortiumService, files: Path) -> None:
    saved = panel(*ASKED["models"], arbiter="sage", max_iterations=1)
    await service.store.consortiums.save("panel", saved)
    words = ["-m", "panel", "What colour?", "-a", str(files / "shot.png"), "-a", str(files / "plan.pdf")]
    done = await anyio.to_thread.run_sync(lambda: run_llm(*words))
    assert done.returncode == 0, done.stderr


WAYS: list[Callable[[ConsortiumService, Path], Awaitable[None]]] = [by_tool, by_data, by_command, by_python, by_llm]


def newest(service: ConsortiumService) -> Run:
    return service.store.runs.load.sync(service.store.runs.find.sync()[0].run_id)


@pytest.mark.parametrize("way", WAYS)
async def test_each_member_gets_the_files_that_its_model_takes_at_every_door(
    way: Callable[[ConsortiumService, Path], Awaitable[None]],
    seeing: Provider,
    files: Path,
    open_service: Callable[..., ConsortiumService],
) -> None:
    service = open_service(roots=str(files))

    await way(service, files)

    got = {model: [sent(request) for request in seeing.requests_to(model)] for model in ("eye", "ear")}
    assert got == {"eye": [[PNG, PDF]], "ear": [[]]}
    (arbiter,) = seeing.requests_to("sage")
    assert sent(arbiter) == [PNG, PDF]
    (deaf,) = seeing.requests_to("ear")
    assert "[Files of this question that you are not shown: " in deaf.prompt
    run = newest(service)
    assert [(one.type, one.size) for one in run.attachments] == [
        ("image/png", len(PNG)),
        ("application/pdf", len(PDF)),
    ]
    names = ", ".join(map(str, run.attachments))
    assert run.degraded == (f"Answered without {names}, which the model does not take: ear#1.",)
    assert f"was written without {names}." in arbiter.prompt


async def test_an_arbiter_that_takes_no_files_is_named_in_the_answer(seeing: Provider, files: Path) -> None:
    run = await consult("?", models=["eye"], arbiter="judge", max_iterations=1, attachments=[str(files / "shot.png")])

    assert run.degraded == ("Judged without shot.png (image/png), which the model does not take: judge.",)
    (asked,) = seeing.requests_to("judge")
    assert asked.prompt.endswith("[Files of this question that you are not shown: shot.png (image/png).]")


async def test_files_that_no_member_takes_are_refused_before_the_first_call(seeing: Provider, files: Path) -> None:
    with pytest.raises(InvalidConsortiumError) as refused:
        await consult("?", models=["ear"], arbiter="eye", attachments=[str(files / "shot.png")])

    assert str(refused.value) == "No member takes shot.png (image/png). Models here that do: sage, eye."
    assert seeing.count() == 0


async def test_a_dry_run_says_who_does_not_take_a_file_and_what_is_not_counted(seeing: Provider, files: Path) -> None:
    words = ["consult", "?", "-m", "eye", "-m", "ear", "--arbiter", "judge", "-a", str(files / "shot.png"), "--dry-run"]
    done = await anyio.to_thread.run_sync(lambda: run_command(*words))

    assert "Note: ear does not take shot.png (image/png)." in done.stdout
    assert "Note: judge does not take shot.png (image/png)." in done.stdout
    assert "Note: The tokens of 1 attachment are not counted" in done.stdout
    assert seeing.count() == 0


async def test_a_file_on_stdin_is_an_attachment_and_no_prompt(
    seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "consortium_mcp",
        "consult",
        "Colour?",
        "-m",
        "eye",
        "-a",
        "-",
        "--arbiter",
        "sage",
    ]
    done = await anyio.to_thread.run_sync(partial(subprocess.run, command, input=PNG, capture_output=True))

    assert done.returncode == 0, done.stderr
    assert newest(service).prompt == "Colour?"
    assert sent(seeing.requests_to("eye")[0]) == [PNG]


async def test_a_content_is_stored_once_and_goes_with_its_last_run(
    seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    asked = partial(consult, models=["eye"], arbiter="sage", max_iterations=1, attachments=[str(files / "shot.png")])
    first, second = await asked("One?"), await asked("Two?")

    def stored() -> int:
        return int(service.store.database.read("SELECT count(*) FROM attachments")[0][0])

    kept = [stored()]
    for run in (first, second):
        assert [ids for ids in service.store.pruning.delete_runs([run.run_id])] == [[run.run_id]]
        kept.append(stored())

    assert kept == [1, 1, 0]


async def test_a_transcript_names_the_files_and_a_page_shows_pictures(seeing: Provider, files: Path) -> None:
    run = await consult("?", **ASKED, attachments=[str(files / "shot.png"), str(files / "plan.pdf")])

    written, page, line = [
        await anyio.to_thread.run_sync(partial(export, [run.run_id], form)) for form in ("md", "html", "jsonl")
    ]

    shot, plan = run.attachments
    assert f"- shot.png (image/png, {len(PNG)} bytes), SHA-256 {shot.sha256}" in written
    assert "#### Not shown to it\n\nshot.png (image/png), plan.pdf (application/pdf)" in written
    assert f'<img src="{data_uri(PNG, "image/png")}" alt="shot.png">' in page and page.count("<img") == 1
    assert [base64.b64decode(one["content"]) for one in json.loads(line)["attachments"]] == [PNG, PDF]
    assert plan.name == "plan.pdf"


async def test_a_replay_shows_the_files_to_another_arbiter(
    seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    run = await consult("?", models=["eye"], arbiter="judge", max_iterations=1, attachments=[str(files / "shot.png")])

    opened = open_replay(service, run.run_id, arbiter="sage")
    again = await performed(service, opened.run_id)

    assert again.attachments == run.attachments and again.degraded == ()
    assert [sent(request) for request in seeing.requests_to("sage")] == [[PNG]]


async def test_a_follow_up_shows_the_files_of_the_earlier_turn(
    seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    asked: dict[str, Any] = {"models": ["eye", "ear"], "arbiter": "sage", "max_iterations": 1}
    first = await consult("Colour?", **asked, attachments=[str(files / "shot.png")])

    second = await consult("Why?", follow_up_to=first.run_id)

    request = seeing.requests_to("eye")[-1]
    earlier = next(message for message in request.messages if message["role"] == "user")
    assert [decoded(part) for part in earlier["content"] if part["type"] != "text"] == [PNG]
    assert second.history[0].attachments == first.attachments
    assert second.degraded == ("Answered without shot.png (image/png), which the model does not take: ear#1.",)


async def test_a_conversation_of_llm_keeps_its_files(seeing: Provider, service: ConsortiumService, files: Path) -> None:
    await service.store.consortiums.save("panel", panel("eye", arbiter="sage", max_iterations=1))

    for words in (["Colour?", "-m", "panel", "-a", str(files / "shot.png")], ["Why?", "-c"]):
        done = await anyio.to_thread.run_sync(partial(run_llm, *words))
        assert done.returncode == 0, done.stderr

    earlier = next(one for one in seeing.requests_to("eye")[-1].messages if one["role"] == "user")
    assert [decoded(part) for part in earlier["content"] if part["type"] != "text"] == [PNG]


async def test_the_same_question_with_another_file_is_another_run(seeing: Provider, service: ConsortiumService) -> None:
    gate = seeing.gate("eye")
    asked: dict[str, Any] = {"prompt": "?", "models": ["eye"], "arbiter": "sage", "wait_seconds": 0}
    async with in_process("auto", service) as client:
        found = []
        for content in (PNG, PNG, PNG + b"\0"):
            written = [data_uri(content, "image/png")]
            result = await client.call_tool("consult_consortium", {**asked, "attachments": written})
            found.append(structured(result)["run_id"])
        gate.open()

    assert found[0] == found[1] != found[2]


def test_a_killed_run_goes_on_with_its_files(seeing: Provider, service: ConsortiumService, files: Path) -> None:
    gate = seeing.gate("sage")
    words = ["-m", "consortium_mcp", "consult", "?", "-m", "eye", "--arbiter", "sage", "-a", str(files / "shot.png")]
    process = subprocess.Popen([sys.executable, *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seeing.wait_until(lambda: len(seeing.requests_to("sage")) == 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (files / "shot.png").unlink()
    gate.open()

    done = run_command("runs", "resume", service.store.runs.find.sync()[0].run_id)

    assert done.returncode == 0, done.stderr
    assert [len(seeing.requests_to(model)) for model in ("eye", "sage")] == [1, 2]
    assert [sent(request) for request in seeing.requests_to("sage")] == [[PNG]] * 2


def test_the_members_of_a_consortium_decide_what_llm_may_attach(seeing: Provider, service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("panel", panel("eye", "ear", arbiter="judge"))
    service.store.consortiums.save.sync("texts", panel("ear", arbiter="eye"))
    saved = Registered(None)

    assert {"image/png", "application/pdf"} <= ConsortiumModel("panel", saved).attachment_types
    assert ConsortiumModel("texts", saved).attachment_types == set()


async def test_a_consortium_as_a_member_passes_files_on(
    seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    await service.store.consortiums.save("inner", panel("eye", arbiter="sage", max_iterations=1))

    await consult("?", models=["inner"], arbiter="judge", max_iterations=1, attachments=[str(files / "shot.png")])

    assert [sent(request) for request in seeing.requests_to("eye")] == [[PNG]]


Refusal = Callable[[Path], tuple[str, str]]
"""Prepares a folder; what is attached then, and how the refusal goes on after `The attachment '…'`."""


def link_out(files: Path) -> tuple[str, str]:
    (files.parent / "secret.png").write_bytes(PNG)
    (files / "link.png").symlink_to(files.parent / "secret.png")
    return str(files / "link.png"), "is no file below the allowed folders"


def outside(files: Path) -> tuple[str, str]:
    (files.parent / "secret.png").write_bytes(PNG)
    return str(files / ".." / "secret.png"), "is no file below the allowed folders"


def secret(files: Path) -> tuple[str, str]:
    (files / ".env").write_text("TOKEN=1")
    return str(files / ".env"), "looks like a file of passwords or keys."


def fifo(files: Path) -> tuple[str, str]:
    os.mkfifo(files / "pipe")
    return str(files / "pipe"), "is a FIFO."


def folder(files: Path) -> tuple[str, str]:
    return str(files), "is a folder."


def huge(files: Path) -> tuple[str, str]:
    with (files / "huge.png").open("wb") as file:
        file.truncate(2**31)
    return str(files / "huge.png"), "exceeds the limit of 20,000,000 bytes"


def device(files: Path) -> tuple[str, str]:
    return "/dev/zero", "is no file below the allowed folders"


def missing(files: Path) -> tuple[str, str]:
    return "none.png", "is no file below the allowed folders"


def null(files: Path) -> tuple[str, str]:
    return "a\0b.png", "is no file below the allowed folders"


@pytest.mark.parametrize("refusal", [link_out, outside, secret, fifo, folder, huge, device, missing, null])
async def test_what_may_not_be_read_on_stdio_is_one_sentence_and_costs_nothing(
    refusal: Refusal, seeing: Provider, files: Path, open_service: Callable[..., ConsortiumService]
) -> None:
    written, says = refusal(files)
    async with in_process("auto", open_service(roots=str(files))) as client:
        asked = {"prompt": "?", "models": ["eye"], "arbiter": "sage", "attachments": [written]}
        result = await client.call_tool("consult_consortium", asked)

    assert result.is_error and says in said(result), said(result)
    assert seeing.count() == 0


async def test_a_device_below_a_root_is_not_opened(
    seeing: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    async with in_process("auto", open_service(roots="/dev")) as client:
        asked = {"prompt": "?", "models": ["eye"], "attachments": ["/dev/zero"]}
        result = await client.call_tool("consult_consortium", asked)

    assert "The attachment '/dev/zero' is a device. Give the path of a regular file." in said(result)


async def test_a_secret_file_that_the_settings_name_is_read(
    seeing: Provider, files: Path, open_service: Callable[..., ConsortiumService]
) -> None:
    (files / "shot.key").write_bytes(PNG)
    async with in_process("auto", open_service(roots=f"{files},{files / 'shot.key'}")) as client:
        asked = {"prompt": "?", "models": ["eye"], "arbiter": "sage", "wait_seconds": 60}
        structured(await client.call_tool("consult_consortium", {**asked, "attachments": [str(files / "shot.key")]}))

    assert sent(seeing.requests_to("eye")[0]) == [PNG]


async def test_without_roots_no_path_is_read_and_the_error_says_how_to_allow_one(
    seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    async with in_process("auto", service) as client:
        asked = {"prompt": "?", "models": ["eye"], "attachments": [str(files / "shot.png")]}
        result = await client.call_tool("consult_consortium", asked)

    assert "No folder is allowed here. The user can allow folders with CONSORTIUM_ROOTS" in said(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_roots_of_the_client_are_read_below(
    mode: str, seeing: Provider, service: ConsortiumService, files: Path
) -> None:
    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(files.as_uri()), name="files")])

    async with in_process(mode, service, list_roots_callback=roots) as client:
        asked = {"prompt": "?", "models": ["eye"], "arbiter": "sage", "wait_seconds": 60}
        structured(await client.call_tool("consult_consortium", {**asked, "attachments": ["shot.png"]}))
        result = await client.call_tool("consult_consortium", {**asked, "attachments": ["/etc/hostname"]})

    assert sent(seeing.requests_to("eye")[0]) == [PNG]
    assert "is no file below the allowed folders" in said(result)


async def test_over_http_no_path_is_read_and_data_is(seeing: Provider, files: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"prompt": "?", "models": ["eye"], "arbiter": "sage", "wait_seconds": 60}
    with http_server(tmp_path / "stderr", "http", "--roots", str(files)) as (_, url):
        async with http_client(url, "auto") as client:
            refused = await call(client, {**asked, "attachments": [str(files / "shot.png")]})
            structured(
                await client.call_tool("consult_consortium", {**asked, "attachments": [data_uri(PNG, "image/png")]})
            )

    assert "Over the network no path is read." in refused
    assert [sent(request) for request in seeing.requests_to("eye")] == [[PNG]]


async def call(client: Client, asked: dict[str, Any]) -> str:
    return said(await client.call_tool("consult_consortium", asked))


@contextmanager
def web(*, moved_to: str | None = None, content: bytes = PNG) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that has a picture, and the paths that were asked of it."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(302 if moved_to else 200)
            self.send_header("Location" if moved_to else "Content-Type", moved_to or "image/png")
            self.send_header("Content-Length", str(0 if moved_to else len(content)))
            self.end_headers()
            self.wfile.write(b"" if moved_to else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/shot.png", paths
    finally:
        server.shutdown()
        server.server_close()


async def test_a_url_is_fetched_and_its_content_is_sent(seeing: Provider) -> None:
    with web() as (url, _):
        run = await consult("?", models=["eye"], arbiter="sage", max_iterations=1, attachments=[url])

    assert [str(one) for one in run.attachments] == ["shot.png (image/png)"]
    assert sent(seeing.requests_to("eye")[0]) == [PNG]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"])
async def test_no_caller_of_a_server_reaches_an_address_that_is_not_public(
    host: str, seeing: Provider, service: ConsortiumService
) -> None:
    with web() as (url, paths):
        async with in_process("auto", service) as client:
            written = [url.replace("127.0.0.1", host)]
            refused = await call(client, {"prompt": "?", "models": ["eye"], "attachments": written})

    assert "an address that is not public" in refused or "cannot be fetched" in refused, refused
    assert paths == [] and seeing.count() == 0


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert urls.is_public(address) is public


async def test_each_redirect_is_checked_anew(
    seeing: Provider, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web() as (inner, paths), web(moved_to=inner.replace("127.0.0.1", "localhost")) as (outer, asked):
        monkeypatch.setattr(urls, "is_public", lambda address: not paths and not asked)
        async with in_process("auto", service) as client:
            refused = await call(client, {"prompt": "?", "models": ["eye"], "attachments": [outer]})

    assert "an address that is not public" in refused
    assert (len(asked), paths) == (1, [])


async def test_a_file_behind_a_url_that_is_too_large_is_not_read_to_its_end(
    seeing: Provider, service: ConsortiumService
) -> None:
    with web(content=b"\x89PNG" * 1_000_000) as (url, _):
        words = ["consult", "?", "-m", "eye", "-a", url]
        environment = {"CONSORTIUM_MAX_ATTACHMENT_BYTES": "1000"}
        done = await anyio.to_thread.run_sync(
            partial(
                subprocess.run,
                [sys.executable, "-m", "consortium_mcp", *words],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
        )

    assert done.returncode == 1 and "exceeds the limit of 1,000 bytes" in done.stderr


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("data:image/png;base64,@@@", "is no base64. Encode the file again."),
        ("data:image/png", "is no data: URI. Write it as data:image/png;base64,…"),
        ("data:image/png;base64,", "is empty. Leave it out."),
        ("data:;base64,AAECAwQ=", "is unknown. Give it, as in data:image/png;base64,…"),
        ("file://other/x.png", "is on another machine. Give it as a data: URI."),
        ("no-such.png", "cannot be read: No such file or directory."),
        ("http:///x.png", "is no http(s) URL. Give one, or a data: URI."),
    ],
)
def test_what_is_no_file_is_one_sentence(written: str, says: str, seeing: Provider) -> None:
    with pytest.raises(InvalidConsortiumError) as refused:
        consult_sync("?", models=["eye"], arbiter="sage", attachments=[written])

    assert str(refused.value).endswith(says), str(refused.value)


def test_all_files_of_a_question_have_one_limit(seeing: Provider, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSORTIUM_MAX_ATTACHMENT_BYTES", str(len(PNG) + len(PDF) - 1))

    with pytest.raises(InvalidConsortiumError, match=r"plan.pdf' exceeds the limit"):
        consult_sync("?", models=["eye"], attachments=[str(files / "shot.png"), str(files / "plan.pdf")])


async def test_one_caller_reads_no_file_of_another(seeing: Provider, service: ConsortiumService, files: Path) -> None:
    run = await consult("?", models=["eye"], arbiter="sage", max_iterations=1, attachments=[str(files / "shot.png")])
    with calling("someone"):
        hidden = service.store.attachments.with_contents.sync(run)
        rows = service.store.database.read("SELECT count(*) FROM attachments")[0][0]

    assert rows == 0 and not any(isinstance(one, AttachmentFile) for one in hidden.attachments)
