"""Each of the seed's defects has its tests, by number."""

import ast

from tests.paths import TESTS
from tests.seed_defects import DEFECTS, numbers


def test_each_defect_has_a_test() -> None:
    tested = {
        number
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for number in numbers(node.name)
    }

    assert tested == set(DEFECTS)
