"""How many values a body has is known before it is parsed."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from consortium_mcp.server.network.bodies import MOST_VALUES, values_in

VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


def count(value: Any) -> int:
    """The values and names in a value, and itself."""
    if isinstance(value, dict):
        return 1 + sum(1 + count(inner) for inner in value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(value=VALUES, is_ascii=st.booleans())
@example(value={'\\"': '\\\\"[,'}, is_ascii=True)
@example(value=["x" * 9, ['"'], "\\", ","], is_ascii=True)
@example(value=['"'] * (MOST_VALUES + 9), is_ascii=True)
def test_no_body_has_more_values_than_are_counted(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")

    assert count(value) <= values_in(body) <= 1 + 2 * count(value) or values_in(body) > MOST_VALUES < count(value)
