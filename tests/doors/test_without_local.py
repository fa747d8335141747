"""Without the extra `[local]` all else works, and each door says how to install it: `make test-without-local`."""

import pytest

from tests.conftest import HAS_LOCAL_EXTRA
from tests.doors.test_cli import run_command
from tests.provider import Provider

pytestmark = [
    pytest.mark.without_local,
    pytest.mark.skipif(HAS_LOCAL_EXTRA, reason="the extra [local] is installed"),
]

HOW = "The local model needs llama.cpp: `pip install 'consortium-mcp[local]'` installs it."


def test_a_consult_of_other_models_needs_no_extra(provider: Provider) -> None:
    done = run_command("consult", "-m", "a:2", "--arbiter", "arbiter", "-n", "1", "?")

    assert done.returncode == 0, done.stderr
    assert all(provider.count(model) for model in ("a", "arbiter"))


@pytest.mark.parametrize("command", [("consult", "-m", "local", "?"), ("demo",)], ids=lambda one: one[0])
def test_what_needs_the_embedded_model_says_how_to_install_it(command: tuple[str, ...]) -> None:
    done = run_command(*command)

    assert done.returncode == 1 and done.stdout == ""
    assert "needs llama.cpp: `" in done.stderr and "consortium-mcp[local]'` installs it." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_warns_of_it(provider: Provider) -> None:
    done = run_command("doctor")

    assert done.returncode == 0
    assert f"\nwarning Local model: {HOW}" in done.stdout and "problem" not in done.stdout
