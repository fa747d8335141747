"""Problems that affect every model are named before any call, with the repair."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from consortium_mcp.models.reaching import address_problem, key_problem, proxy_problem
from tests.doors.test_cli import run_command
from tests.doors.test_doctor import about, examined
from tests.provider import API_KEY, API_KEY_NAME, Provider


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("sk-abc\n", "a line break"),
        ("sk-abc\r\ndef", "a line break"),
        ("sk abc", "a blank"),
        ("sk-\u200babc", "a character that no key has (zero width space, U+200B)"),
        ("sk\u2013abc", "a character that no key has (en dash, U+2013)"),
        ("\u201csk-abc\u201d", "a character that no key has (left double quotation mark, U+201C)"),
        ("sk-\x00", "a character that no key has (control character, U+0000)"),
    ],
)
def test_a_key_that_cannot_be_sent_is_named_and_not_shown(key: str, named: str) -> None:
    assert key_problem("openai", key) == f"The key 'openai' has {named} in it. Set it again with `llm keys set openai`."


@pytest.mark.parametrize("key", ['"sk-abc"', "'sk-abc'", "`sk-abc`"])
def test_a_key_in_quotation_marks_is_named(key: str) -> None:
    problem = key_problem("openai", key)

    assert problem == (
        "The key 'openai' stands in quotation marks. Set it again with `llm keys set openai`, without them."
    )


@pytest.mark.parametrize(
    "address", ["http://[bad/v1", "http://host:99999/v1", "http://host:port/v1", " http://host/v1"]
)
def test_an_address_that_is_no_url_is_named(address: str) -> None:
    assert address_problem("x", address) == f"The address {address!r} of x is no valid URL. Correct its api_base."


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:99999", "http://127.0.0.1:port", "http://[bad", "http://"])
def test_a_proxy_that_is_no_url_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    assert proxy_problem() == "HTTPS_PROXY is not the address of a proxy. Correct it, or unset it."


@pytest.mark.parametrize("key", ["sk-proj-abc_DEF.0/9+=", "DUMMY_KEY", ""])
def test_a_key_of_letters_digits_and_signs_is_sent(key: str) -> None:
    assert key_problem("openai", key) is None


@pytest.mark.parametrize("address", ["localhost:8080/v1", "127.0.0.1", "//host/v1", "http:///v1", "htps://host/v1"])
def test_an_address_without_scheme_or_host_is_named(address: str) -> None:
    problem = address_problem("x", address)

    assert problem == f"The address {address!r} of x has no http:// or https://, or no host. Correct its api_base."


@pytest.mark.parametrize("address", ["http://localhost:8080/v1", "https://host/v1", None, ""])
def test_an_address_that_is_one_is_used(address: str | None) -> None:
    assert address_problem("x", address) is None


def test_a_consult_with_a_key_that_cannot_be_sent_makes_no_call(provider: Provider, llm_home: Path) -> None:
    (llm_home / "keys.json").write_text(json.dumps({API_KEY_NAME: f"{API_KEY}\n"}))

    done = run_command("consult", "Why?", "-m", "a", "--arbiter", "arbiter")

    assert done.returncode != 0 and provider.count() == 0
    assert f"has a line break in it. Set it again with `llm keys set {API_KEY_NAME}`." in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SSL_CERT_FILE", "/not/there.pem", "SSL_CERT_FILE names /not/there.pem, which does not exist."),
        ("SSL_CERT_DIR", "/not/there", "SSL_CERT_DIR names /not/there, which does not exist."),
        ("HTTPS_PROXY", "socks5://127.0.0.1:9", "HTTPS_PROXY names a SOCKS proxy, which needs a further package"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:9", "HTTPS_PROXY is not the address of a proxy."),
    ],
)
def test_what_the_environment_names_wrongly_is_said_by_a_consult_and_by_doctor(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    done = run_command("consult", "Why?", "-m", "a", "--arbiter", "arbiter")
    (line,) = about("Network")

    assert sentence in done.stderr and "Traceback" not in done.stderr and provider.count() == 0
    assert line["state"] == "problem" and sentence in line["found"]


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "HTTPS_PROXY"])
def test_doctor_says_live_why_no_server_can_be_reached(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    run_command("save", "default", "-m", "a", "--arbiter", "arbiter")
    values = {
        "SSL_CERT_FILE": (str(tmp_path / "none.pem"), "from which no certificates can be read"),
        "HTTPS_PROXY": ("socks5://127.0.0.1:9", "which needs a further package"),
    }
    value, sentence = values[name]
    monkeypatch.setenv(name, value)

    status, lines = examined("--live")
    consult = run_command("consult", "Why?", "-m", "a", "--arbiter", "arbiter")

    (network,) = (line for line in lines if line["about"] == "Network")
    live = [line for line in lines if line["about"].startswith("Live")]
    assert (status, network["state"]) == (1, "problem") and sentence in network["found"]
    assert {line["about"] for line in live} == {"Live: a"} and sentence in live[0]["found"]
    assert sentence in consult.stderr and "Traceback" not in consult.stderr and provider.count() == 0


def test_a_proxy_that_refuses_is_named_with_its_variable(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", provider.closed_port().removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY")

    done = run_command("consult", "Why?", "-m", "a", "--arbiter", "arbiter")

    assert "a#1: network, Connection error: cannot connect to 127.0.0.1:" in done.stderr
    assert "HTTP_PROXY names that proxy: correct it, or unset it" in done.stderr and provider.count() == 0


def test_a_server_that_needs_no_proxy_is_reached_without_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", provider.closed_port().removesuffix("/v1"))
    monkeypatch.setenv("NO_PROXY", " localhost , 127.0.0.1 ")

    done = run_command("consult", "Why?", "-m", "a", "--arbiter", "arbiter")

    assert done.returncode == 0 and provider.count("a") >= 1


def test_certificates_that_only_plugins_read_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/not/there.pem")

    (line,) = about("Network")

    assert line["state"] == "warning" and line["found"].startswith("REQUESTS_CA_BUNDLE names /not/there.pem")


def test_a_proxy_without_a_scheme_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")

    assert proxy_problem() is None


def test_a_file_that_is_missing_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSORTIUM_LOCAL_MODEL", "/not/there.gguf")

    done = run_command("consult", "Why?")

    assert "No model can be used. CONSORTIUM_LOCAL_MODEL names /not/there.gguf" in done.stderr


def test_doctor_says_which_keys_cannot_be_sent(provider: Provider, llm_home: Path) -> None:
    (llm_home / "keys.json").write_text(json.dumps({API_KEY_NAME: f"{API_KEY}\u200b"}))
    os.chmod(llm_home / "keys.json", 0o600)

    problems = [line for line in about("Keys") if line["state"] == "problem"]

    assert "zero width space" in problems[0]["found"] and API_KEY not in problems[0]["found"]


def test_doctor_says_live_which_servers_accept_connections(provider: Provider, llm_home: Path) -> None:
    provider.write_llm_config(llm_home, ["a"], refused=["gone"])
    models: list[dict[str, Any]] = json.loads((llm_home / "extra-openai-models.yaml").read_text())
    hosts = {line["model_id"]: line["api_base"].split("/")[2] for line in models}

    assert [line["state"] for line in about(f"Server: {hosts['a']}", "--live")] == ["ok"]
    assert [line["state"] for line in about(f"Server: {hosts['gone']}", "--live")] == ["warning"]
