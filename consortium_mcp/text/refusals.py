"""Recognises refusals: responses that decline to answer, by their usual openings."""

import re

from consortium_mcp.text.answers import final_answer
from consortium_mcp.text.thinking import strip_thinking

_APOLOGY = (
    r"(?:(?:i'm|i am|we're|we are) (?:really |very |so |truly )?sorry|sorry|i apologi[sz]e|my apologies|unfortunately)"
)
_CANNOT = (
    r"(?:can't|cannot|can not|won't|will not|am unable to|'m unable to|am not able to|'m not able to|must decline to)"
)
_DEED = (
    r"(?:help|assist|answer|provide|comply|do that|do this|discuss|share|support|fulfill|fulfil|continue|engage|give|"
    r"offer|participate|respond|generate|create|write|produce|complete|say|advise|process|accommodate)"
)
_OPENING = re.compile(
    rf"(?:{_APOLOGY}[,.!]? (?:but |that |as an ai[^,.]{{0,40}}, )?)?(?:i|we) ?{_CANNOT} (?:\w+ ){{0,2}}{_DEED}\b"
    rf"|{_APOLOGY}[,.!]? (?:but )?(?:that's|that is|this is) (?:not )?(?:something|against|beyond)"
    r"|as an ai(?: language)?(?: model| assistant)?,? i (?:can't|cannot|do not|don't|am not|am unable|'m not|'m unable)"
    r"|i (?:must|have to|need to) (?:respectfully )?(?:decline|refuse)\b|i decline to\b|i refuse to\b"
    r"|i(?:'d| would) (?:rather|prefer) not\b|i(?:'m| am) not (?:comfortable|allowed|permitted|going to be able)\b"
    r"|i don't feel comfortable\b|(?:this|that|your) request (?:goes against|violates|is against)"
    r"|i(?:'m| am) not (?:sure|certain)(?:[.!]?$|,? but i(?:'m| am) (?:ready|happy|glad|here|willing)\b)"
    r"|i (?:don't|do not) know[.!]?$"
    r"|es tut mir leid, (?:aber )?(?:ich|dabei|das) |(?:dabei|das) kann ich (?:ihnen |dir )?nicht"
    r"|je suis désolé|désolé, (?:mais )?je ne peux|lo siento, (?:pero )?no puedo|mi dispiace, (?:ma )?non posso"
    r"|desculpe, (?:mas )?não posso|извините, (?:но )?я не могу|к сожалению, я не могу|抱歉|对不起|申し訳|죄송",
    re.IGNORECASE,
)
_OPENING_CHARACTERS = 300


def is_refusal(text: str) -> bool:
    """Whether a response declines to answer: it begins like a refusal, and marks no answer.

    A response that regrets a limit and still ends with `Answer: …` is no refusal.
    """
    opening = " ".join(strip_thinking(text)[:_OPENING_CHARACTERS].replace("’", "'").split()).lstrip("*_#>\"' ")
    return _OPENING.match(opening) is not None and not final_answer(text).is_marked
