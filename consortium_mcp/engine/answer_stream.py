"""The answer piece by piece, while its arbiter writes it."""

from collections.abc import Callable

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.outcome import will_be_answer
from consortium_mcp.models.calling import ChunkSink, ignore
from consortium_mcp.records import CallSpec, Run
from consortium_mcp.records.consortium import Consortium

NEW_PART = 50
"""A reply is read again when one part in so many of it is new: what that costs grows with its length alone."""


class AnswerStream:
    """Tells what of the run's answer is certain as soon as it is there; what was told is never told again.

    Only a synthesis is told in this way, and only where `will_be_answer`, as with a single iteration; every other
    answer is known with its verdict. An attempt that breaks off is followed by one that may put it otherwise: then
    nothing more is told, and what was told is not the beginning of the answer.
    """

    def __init__(self, consortium: Consortium, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._beginning = judging_methods()[consortium.judging_method].beginning
        self._told = ""

    def listen(self, run: Run, spec: CallSpec) -> ChunkSink:
        """Who reads along the next attempt of a call, the run having come so far."""
        beginning = self._beginning
        if beginning is None or not will_be_answer(run, spec.call_id):
            return ignore
        chunks: list[str] = []
        heard = read = 0

        def hear(chunk: str) -> None:
            nonlocal heard, read
            chunks.append(chunk)
            heard += len(chunk)
            if (heard - read) * NEW_PART >= heard:
                read = heard
                self._told_up_to(beginning("".join(chunks)))

        return hear

    def _told_up_to(self, text: str) -> None:
        if len(text) > len(self._told) and text.startswith(self._told):
            self._tell(text[len(self._told) :])
            self._told = text
