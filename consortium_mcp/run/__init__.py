"""The record: what is asked, what comes back, what is made of it, and the run that holds it all."""

from consortium_mcp.run.call import Ask, CallResult, CallSpec, ErrorKind, Turn, now_utc
from consortium_mcp.run.consultation import LONGEST_NOTE, Budget, Parent, Rating, Run, RunOutline, Status, Usage
from consortium_mcp.run.iteration import Iteration, Measures
from consortium_mcp.run.progress import AnswerPiece, CallProgress, Progress
from consortium_mcp.run.response import MemberResponse
from consortium_mcp.run.verdict import Claim, Verdict, Votes

__all__ = [
    "LONGEST_NOTE",
    "AnswerPiece",
    "Ask",
    "Budget",
    "CallProgress",
    "CallResult",
    "CallSpec",
    "Claim",
    "ErrorKind",
    "Iteration",
    "Measures",
    "MemberResponse",
    "Parent",
    "Progress",
    "Rating",
    "Run",
    "RunOutline",
    "Status",
    "Turn",
    "Usage",
    "Verdict",
    "Votes",
    "now_utc",
]
