"""The end of a process is known on its own machine, and on no other."""

import os
import subprocess
import sys

import pytest

from consortium_mcp._util import processes
from consortium_mcp._util.processes import has_ended, own_name

NAMING = """
import sys
from consortium_mcp._util.processes import own_name
print(own_name(), flush=True)
sys.stdin.read()
"""


def test_a_process_has_ended_when_it_is_gone_and_before_it_is_buried() -> None:
    with subprocess.Popen([sys.executable, "-c", NAMING], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        name = process.stdout.readline().strip()
        lives = has_ended(name)
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        waits_to_be_buried = has_ended(name)
    assert (lives, waits_to_be_buried, has_ended(name), has_ended(own_name())) == (False, True, True, False)


@pytest.mark.parametrize(
    ("part", "other", "ended"),
    [(0, "elsewhere", False), (1, "an earlier boot", True), (2, "1", False), (4, "1", True)],
)
def test_a_name_is_judged_where_it_means_something(part: int, other: str, ended: bool) -> None:
    parts = own_name().split("/")
    parts[part] = other

    assert has_ended("/".join(parts)) is ended


@pytest.mark.parametrize("name", [None, "", "killed", "host/1/abcd", "host/////"])
def test_of_a_name_of_another_form_nothing_is_known(name: str | None) -> None:
    assert not has_ended(name)


def test_where_the_system_tells_nothing_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_start_of", lambda pid: None)

    assert not has_ended(own_name())
