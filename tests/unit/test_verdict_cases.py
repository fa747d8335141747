"""A hundred arbiters' replies as models write them, with and without a schema, with the results expected beforehand.

`python -m tests.unit.test_verdict_cases` prints the table.
"""

import json
import re
from typing import Any, NamedTuple

import anyio
import pytest

from consortium_mcp.records import CallSpec
from tests.paths import TESTS
from tests.scripted import ScriptedCalls, judged_iteration, new_run, panel, response

pytestmark = pytest.mark.anyio

FILE = TESTS / "cases" / "verdicts.jsonl"
CASES: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").split("\n") if line]
"""Each has the reply, and the synthesis, confidence and number of calls that follow from it.

The second reply is REPAIRED at 0.5, the stand-in's is STAND-IN at 0.6; without `dissent` there is none.
"""

BLOB = re.compile(r"[\"'“]?(?:synthesis|confidence)[\"'”]?\s*:|</?(?:synthesis|verdict|confidence)|&lt;", re.IGNORECASE)


class Outcome(NamedTuple):
    """The result of a reply."""

    synthesis: str | None
    confidence: float | None
    calls: int
    dissent: str
    problem: str | None


async def outcome(case: dict[str, Any], reads_schema: bool) -> Outcome:
    """The result of an arbiter's reply, after three members gave the same answer."""

    def script(spec: CallSpec) -> str:
        if spec.call_id.endswith("repair1"):
            return json.dumps({"synthesis": "REPAIRED", "confidence": 0.5})
        if spec.call_id.endswith("standin"):
            return json.dumps({"synthesis": "STAND-IN", "confidence": 0.6})
        text: str = case["text"]
        return text

    call = ScriptedCalls(script)
    said = [response(place, "6 x 7 = 42.\nAnswer: 42") for place in (1, 2, 3)]
    verdict = (await judged_iteration(new_run(consortium=panel(check_order=False)), said, call, reads_schema)).verdict
    if verdict is None:
        return Outcome(None, None, len(call.ids), "", None)
    confidence = None if verdict.confidence is None else round(verdict.confidence, 6)
    return Outcome(verdict.synthesis, confidence, len(call.ids), verdict.dissent, verdict.problem)


def expected(case: dict[str, Any]) -> Outcome:
    """The expected result of a case."""
    return Outcome(case["synthesis"], case["confidence"], case["calls"], case.get("dissent", ""), case.get("problem"))


@pytest.mark.parametrize("reads_schema", [True, False], ids=["schema", "tags"])
@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
async def test_a_reply_comes_to_what_was_expected_of_it(case: dict[str, Any], reads_schema: bool) -> None:
    found = await outcome(case, reads_schema)

    assert found._replace(problem=None) == expected(case)._replace(problem=None)
    assert case.get("problem") is None or case["problem"] in (found.problem or "")
    assert not BLOB.search(found.synthesis or "") or case["case"] == "tags-entity-in-code"


def test_there_are_a_hundred_cases_and_no_two_of_one_name() -> None:
    assert len({case["case"] for case in CASES}) == len(CASES) >= 100


async def _print_table() -> None:
    blobs = wrong = 0
    for case in CASES:
        found = [await outcome(case, reads_schema) for reads_schema in (True, False)]
        is_right = all(one._replace(problem=None) == expected(case)._replace(problem=None) for one in found)
        wrong += not is_right
        blobs += any(BLOB.search(one.synthesis or "") and one.synthesis != expected(case).synthesis for one in found)
        shown = " ".join((found[0].synthesis or "none").split())[:40]
        print(f"{case['case']:32} {'right' if is_right else 'WRONG':6} {found[0].confidence} {found[0].calls} {shown}")
    print(f"{len(CASES)} replies, each with a schema and with tags: {wrong} wrong, {blobs} blobs")


if __name__ == "__main__":
    anyio.run(_print_table)
