"""Streams the answer while its arbiter writes it."""

from collections.abc import Callable

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.outcome import will_be_answer
from consortium_mcp.models.calling import ChunkSink, ignore
from consortium_mcp.records import CallSpec, Run
from consortium_mcp.records.consortium import Consortium

NEW_PART = 50
"""A reply is parsed again when 1/50 of it is new, so that the cost grows linearly with its length."""


class AnswerStream:
    """Passes on each part of the run's answer as soon as it is final; a part is passed on only once.

    Only a synthesis is streamed, and only if it `will_be_answer`, as in a single iteration. Any other answer is known
    with its verdict. If an attempt breaks off, the next attempt may use other words: then streaming stops, and the text
    so far is not the beginning of the answer.
    """

    def __init__(self, consortium: Consortium, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._beginning = judging_methods()[consortium.judging_method].beginning
        self._told = ""

    def listen(self, run: Run, spec: CallSpec) -> ChunkSink:
        """The listener for the chunks of the next attempt of a call; `ignore` if the call cannot give the answer."""
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
