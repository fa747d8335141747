"""A short soak: many clients at once, calls that fail, clients that vanish; `benchmarks.soak` is the long one."""

from pathlib import Path

import pytest

from benchmarks.soak import soak

SECONDS, CLIENTS, THINK_SECONDS = 60, 20, 8


@pytest.mark.timeout(600)
async def test_under_load_nothing_is_lost_memory_is_flat_and_only_injected_errors_occur(
    llm_home: Path,
) -> None:
    seen = await soak(SECONDS, CLIENTS, llm_home, THINK_SECONDS)

    assert (seen.unexpected, seen.lost) == ([], [])
    assert seen.outcomes["converged"] > 0 and seen.outcomes["vanished"] > 0
    assert [figure.row for figure in seen.figures() if not figure.holds] == []
