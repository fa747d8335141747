"""The pages of `web` in a real browser, from a question to its rating; and what they refuse."""

import hashlib
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from consortium_mcp.text.templates import storable
from tests.doors.test_cli import run_command
from tests.history import copy_run
from tests.hostile_texts import HOSTILE
from tests.provider import Provider, verdict
from tests.ready import python
from tests.scripted import new_run
from tests.server_process import http_server


@contextmanager
def served() -> Iterator[str]:
    """The URL with the token that the command prints; the server runs inside."""
    command = python("-m", "consortium_mcp", "web", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("Open ").strip()
        finally:
            process.terminate()


@pytest.fixture
def url(provider: Provider) -> Iterator[str]:
    """The same, with a saved consortium `panel`."""
    assert run_command("save", "panel", "-m", "a", "-m", "b", "--arbiter", "arbiter").returncode == 0
    with served() as found:
        yield found


def problems(shown: Page) -> list[str]:
    """What assistive technology would stumble over."""
    return [found["id"] for found in Axe().run(shown).response["violations"]]


def test_from_a_question_to_its_rating(browser: Browser, provider: Provider, url: str) -> None:
    provider.on("arbiter", verdict("**Paris**"))
    gate = provider.gate("b")
    shown = browser.new_context(bypass_csp=True).new_page()
    fetched: list[str] = []
    shown.on("request", lambda request: fetched.append(request.url))

    shown.goto(url)
    assert shown.get_by_text("No runs yet.").is_visible() and problems(shown) == []
    shown.get_by_role("link", name="Ask", exact=True).click()
    shown.get_by_label("Question").fill("Capital of France?")
    shown.get_by_label("Saved consortium").select_option("panel")
    shown.get_by_role("button", name="Show the plan").click()
    assert "Calls: 3" in shown.locator("pre").inner_text() and not provider.requests_to("a")
    shown.get_by_role("button", name="Ask", exact=True).click()

    expect(shown.locator(".calls")).to_contain_text("a#1 answered")
    assert "b#1 thinking" in shown.locator(".calls").inner_text() and problems(shown) == []
    gate.open()
    expect(shown.locator(".answer strong")).to_have_text("Paris", timeout=15_000)
    assert problems(shown) == []

    shown.get_by_role("button", name="Correct").click()
    expect(shown.get_by_text("You rated this answer 100% right.")).to_be_visible()
    shown.get_by_label("Judge the responses again").select_option("b#1")
    shown.get_by_role("button", name="Judge again").click()
    expect(shown.locator(".response h3")).to_have_text(["a#1"], timeout=15_000)
    shown.get_by_role("link", name="Statistics").click()
    assert "rated" in shown.locator("pre").inner_text() and problems(shown) == []
    shown.get_by_role("link", name="Consortiums").click()
    assert shown.locator("h2").all_inner_texts() == ["panel"] and problems(shown) == []
    assert {re.sub(r"(https?://[^/]+).*", r"\1", one) for one in fetched} == {url.rpartition("/login")[0]}


def test_a_run_is_stopped_by_its_button(browser: Browser, provider: Provider, url: str) -> None:
    provider.gate("a", "b")
    shown = browser.new_page()
    shown.goto(url)
    shown.goto(url.replace("/login", "/ask").partition("?")[0] + "?consortium=panel")
    shown.get_by_label("Question").fill("Capital of France?")
    shown.get_by_role("button", name="Ask", exact=True).click()
    expect(shown.locator(".calls")).to_contain_text("a#1 thinking")

    shown.get_by_role("button", name="Stop").click()

    expect(shown.locator(".status")).to_have_text("cancelled")


def test_a_problem_keeps_the_question(browser: Browser, provider: Provider, url: str) -> None:
    shown = browser.new_page()
    shown.goto(url)
    shown.get_by_role("link", name="Ask", exact=True).click()
    shown.get_by_label("Question").fill("Capital of France?")
    shown.get_by_label("Or models").fill("no-such-model")
    shown.get_by_role("button", name="Ask", exact=True).click()

    assert "no-such-model" in shown.get_by_role("alert").inner_text()
    assert shown.get_by_label("Question").input_value() == "Capital of France?" and not provider.requests


def test_without_the_token_nothing_is_shown(provider: Provider, url: str) -> None:
    home = url.partition("/login")[0]
    with httpx2.Client() as client:
        for path in ("/", "/ask", "/stats", "/runs/01x", "/consortiums", "/login", "/login?token=wrong", "/nothing"):
            shown = client.get(home + path)
            assert (shown.status_code, "panel" in shown.text) == (401, False), path
        assert client.post(f"{home}/ask", data={"prompt": "?", "consortium": "panel"}).status_code == 401
    assert not provider.requests


def test_a_foreign_page_can_do_nothing_with_the_session(provider: Provider, url: str) -> None:
    home = url.partition("/login")[0]
    with httpx2.Client(follow_redirects=True) as client:
        entered = client.get(url)
        cookie = entered.history[0].headers["set-cookie"].lower()
        refused = client.post(
            f"{home}/ask", data={"prompt": "?", "consortium": "panel"}, headers={"Origin": "https://evil.example"}
        )
        rebound = client.get(home, headers={"Host": "evil.example"})

    assert entered.status_code == 200 and "httponly" in cookie and "samesite=strict" in cookie
    assert (refused.status_code, rebound.status_code) == (403, 421) and not provider.requests
    policy = entered.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_ten_thousand_runs_are_listed_and_searched(browser: Browser, provider: Provider) -> None:
    store = Store(load_settings().database_path)
    for number in range(120):
        run = new_run(f"question {number:03}", run_id=f"9run{number:03}")
        store.runs.open.sync(run, "tests")
        store.runs.close.sync(run.model_copy(update={"status": "failed", "error": "No.", "ended_utc": "2026"}), "tests")
    copy_run(store, "9run000", 10_000)
    store.close()
    with served() as url:
        shown = browser.new_page()
        shown.goto(url)
        assert shown.locator(".runs a").count() == 50 and "question 119" in shown.locator(".runs a").first.inner_text()
        shown.get_by_role("link", name="Older runs").click()
        assert "question 069" in shown.locator(".runs a").first.inner_text()
        shown.get_by_label("Words").fill("042")
        shown.get_by_role("button", name="Find").click()
        assert shown.locator(".runs a").all_inner_texts() == ["question 042"]
        shown.get_by_role("link", name="question 042").click()
        assert shown.locator(".answer p").inner_text() == "No."


def test_hostile_texts_change_nothing(browser: Browser, provider: Provider) -> None:
    texts = [storable(text) for text in HOSTILE.values() if len(text) < 10_000]
    store = Store(load_settings().database_path)
    for number, text in enumerate(texts):
        run = new_run(text, run_id=f"01run{number:03}", consortium_name=text)
        store.runs.open.sync(run, "tests")
        store.runs.close.sync(run.model_copy(update={"status": "failed", "error": text, "ended_utc": "2026"}), "tests")
    store.close()
    with served() as url:
        shown = browser.new_page()
        failures: list[str] = []
        shown.on("request", lambda request: failures.append(request.url) if "127.0.0.1" not in request.url else None)
        shown.on("dialog", lambda dialog: failures.append(dialog.message))
        shown.goto(url)
        for number in range(len(texts)):
            shown.goto(f"{url.partition('/login')[0]}/runs/01run{number:03}")
            assert shown.locator("main img, main script, main iframe, main form[action^=http]").count() == 0
    assert failures == []


def test_each_caller_of_a_team_sees_their_own_runs_alone(browser: Browser, provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))
    tokens = {name: secrets.token_hex(16) for name in ("ann", "ben")}
    known = "".join(f"{name}:{hashlib.sha256(token.encode()).hexdigest()}\n" for name, token in tokens.items())
    (tmp_path / "tokens").write_text(known)
    flags = ("--token-file", str(tmp_path / "tokens"), "--web-pages")
    with http_server(tmp_path / "stderr", "http", *flags) as (process, url):
        home = url.replace("/mcp", "/app")
        pages = {name: browser.new_context().new_page() for name in tokens}
        for name, shown in pages.items():
            shown.goto(f"{home}/")
            shown.get_by_label("Token").fill(tokens[name])
            shown.get_by_role("button", name="Log in").click()
            expect(shown.get_by_text("No runs yet.")).to_be_visible()
        ann, ben = pages["ann"], pages["ben"]
        ann.get_by_role("link", name="Ask", exact=True).click()
        ann.get_by_label("Question").fill("Capital of France?")
        ann.get_by_label("Or models").fill("a")
        ann.get_by_role("button", name="Ask", exact=True).click()
        expect(ann.locator(".status")).to_be_visible(timeout=15_000)

        ben.goto(ann.url)
        assert "No run" in ben.get_by_role("alert").inner_text() and "France" not in ben.content()
        ben.goto(f"{home}/")
        expect(ben.get_by_text("No runs yet.")).to_be_visible()
        ann.get_by_role("link", name="Runs").click()
        assert ann.locator(".runs a").all_inner_texts() == ["Capital of France?"]

        (tmp_path / "tokens").write_text(known.partition("\n")[2])  # ann is gone
        process.send_signal(signal.SIGHUP)
        expect(ann.get_by_label("Token").or_(ann.locator(".runs"))).to_be_visible()
        while ann.goto(f"{home}/").status == 200:  # type: ignore[union-attr]
            ann.wait_for_timeout(50)
        assert ann.get_by_label("Token").is_visible() and "France" not in ann.content()


def test_a_read_only_server_shows_runs_and_starts_none(provider: Provider, tmp_path: Path) -> None:
    flags = ("--token", "secret-of-ann", "--web-pages", "--read-only")
    with http_server(tmp_path / "stderr", "http", *flags) as (_, url), httpx2.Client(follow_redirects=True) as client:
        home = url.replace("/mcp", "/app")
        origin = {"Origin": url.removesuffix("/mcp")}
        assert client.post(f"{home}/login", data={"token": "secret-of-ann"}, headers=origin).status_code == 200
        refused = client.post(f"{home}/ask", data={"prompt": "?", "models": "a"}, headers=origin)

    assert refused.status_code == 400 and "read-only" in refused.text and not provider.requests


def test_pages_for_a_team_need_a_token(provider: Provider) -> None:
    done = run_command("serve", "--transport", "http", "--port", "0", "--web-pages")

    assert (done.returncode, done.stderr.partition(":")[0]) == (1, "Error") and "CONSORTIUM_TOKEN" in done.stderr
