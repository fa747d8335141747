"""A short soak: many clients at once, calls that fail, clients that vanish; `benchmarks.soak` is the long one."""

from pathlib import Path

import pytest

from benchmarks.soak import soak

SECONDS, CLIENTS = 20, 20


@pytest.mark.timeout(300)
async def test_under_load_nothing_is_lost_and_no_error_comes_that_nobody_injected(llm_home: Path) -> None:
    figures = await soak(SECONDS, CLIENTS, llm_home)

    assert figures.problems() == []
    assert figures.outcomes["converged"] > 0 and figures.outcomes["vanished"] > 0
