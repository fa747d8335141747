"""Refusals: replies that decline to answer and say nothing else."""

import re

_LONGEST = 600
"""A longer reply says more than that it refuses."""

_SORRY = (
    r"(?:(?:i'?m|i am|we are|we're) (?:very |really |so )?(?:sorry|afraid)|sorry|apologies|my apologies|unfortunately"
    r"|i apologi[sz]e)"
)
_CANNOT = (
    r"(?:can(?:'t|not| not)|could(?:n't| not)|am unable to|'m unable to|am not able to|'m not able to|won't|will not"
    r"|must decline to|have to decline)"
)
_DO = (
    r"(?:help|assist|answer|provide|comply|fulfil+|respond|discuss|engage|judge|evaluate|process|continue|do that"
    r"|support|participate|create|generate|complete|offer)"
)
_REFUSAL = re.compile(
    rf"(?:{_SORRY}[\s,.:;—–-]*(?:but[\s,]+)?)?(?:as an ai(?: language model| assistant)?[\s,]+)?"
    rf"(?:i|we)\s?{_CANNOT}\s+(?:to\s+)?(?:\w+\s+){{0,3}}?{_DO}\b"
    r"|(?:i|we) (?:must |have to |respectfully )*decline\b"
    r"|(?:this|that|the|your) (?:request|question|content|prompt) (?:violates|goes against|is not something i can)"
    r"|(?:es tut mir leid|tut mir leid|lo siento|je suis d[ée]sol[ée]e?|mi dispiace|desculpe|sinto muito)[\s,.;:]"
    r"|(?:抱歉|对不起|很抱歉|申し訳|죄송)",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a reply declines to answer, and says nothing else."""
    plain = " ".join(text[: _LONGEST + 1].replace("’", "'").split()).lstrip(" *_#>\"'“")
    return len(plain) <= _LONGEST and _REFUSAL.match(plain) is not None
