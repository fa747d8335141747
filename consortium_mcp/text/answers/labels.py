"""The labels that mark a final answer, in the main languages, and the pleasantries that can follow it."""

import re
from typing import NamedTuple

_KINDS = r"(?:final |correct |right |short |best |overall |ultimate )?"
_ENGLISH = re.compile(
    r"(?:^|(?<=[.!?,;:(] ))(?:(?:so|thus|therefore|hence|then|and|but|in conclusion),? )?"
    rf"(?:the |my |our )?{_KINDS}answer"
    r"(?: to (?:the|this|your) (?:question|problem|puzzle|riddle))?(?: here)?"
    r"(?: ?[:=] ?| is(?![\w']):? ?| would be:? ?| should be:? ?| was:? ?| must be:? ?| comes to ?| - |$)",
    re.IGNORECASE,
)
_LEADING = re.compile(
    rf"(?:the |my )?{_KINDS}(?:choice|option|pick|result|solution|conclusion|verdict|output)(?: is:? | ?[:=] ?|$)(.*)",
    re.IGNORECASE,
)
_WORDS = (
    "die antwort|antwort|endergebnis|ergebnis|das ergebnis|lösung|die lösung|finale antwort|endgültige antwort|"
    "la réponse|réponse|réponse finale|résultat|la respuesta|respuesta|respuesta final|resultado|la respuesta final|"
    "la risposta|risposta|risposta finale|risultato|a resposta|resposta|resposta final|het antwoord|antwoord|"
    "odpowiedź|odpověď|ответ|окончательный ответ|відповідь|cevap|yanıt|svar|svaret|vastaus|válasz|jawaban|απάντηση|"
    "الجواب|الإجابة|תשובה|उत्तर|đáp án|trả lời|câu trả lời"
)
_FOREIGN = re.compile(
    rf"(?:{_WORDS})(?: correcta| correcte| corretta| correta| esatta)?(?: ?[:：=] ?|"
    r" (?:ist|lautet|est|es|è|é|is|jest|je|to|är|er|on|adalah|là|это|равен|है)(?: ?: ?| )|$)(.*)",
    re.IGNORECASE,
)
_EAST_ASIAN = re.compile(
    r"(?:最终答案|最終答案|正确答案|正解|答案|回答|答え|解答|정답|답변|답|答)"
    r"(?: ?[:：] ?|应该是|是|为|為|は|은|는) ?(.*)"
)
_EAST_ASIAN_END = re.compile(r"(?:(?<=\d)(?:つ|個|个|개))?(?:です|でした|だ|입니다|이다|是也)?$")

_GIVES = re.compile(r"[*_\"'“(\[$\\]*(?:[-+−~≈€£]?\d|[^\W\d_a-zß-ÿ]|[-−+√π]|(?:yes|no|true|false)\b)|[(\[$\\]")

_PLEASANTRY = re.compile(
    r"(?:i )?hope (?:this|that|it|you)\b|let me know\b|please let me know|(?:please )?feel free\b|"
    r"is there anything else|"
    r"(?:if you|should you) (?:have|need|want|would like|require)\b.{0,80}(?:let me know|ask|help|happy|here|glad)|"
    r"(?:i'm|i am|i'd be|i would be) (?:happy|glad|here) to\b|"
    r"(?:would|do) you (?:like|want|need) (?:me to|more|any|to know)|"
    r"happy to (?:help|explain|elaborate)|glad to help|(?:thanks|thank you)\b|"
    r"(?:good luck|have a (?:great|nice|good))\b|"
    r"you're welcome|can i help|anything else|cheers\b|enjoy\b|wenn du (?:noch )?fragen|bei fragen|"
    r"n'hésitez pas|espero que|"
    r"sag mir|lass mich wissen|j'espère|fammi sapere|если у вас",
    re.IGNORECASE,
)
_LONGEST_PLEASANTRY = 240


class Labelled(NamedTuple):
    """The text after a label."""

    text: str
    """The rest of the line; empty if the answer is on the next line."""

    is_sentence: bool
    """Whether the label is part of a sentence, as in `the answer is …`, which can also be a comment on the answer."""


def labelled(line: str) -> Labelled | None:
    """The text after the last label in a line; None without a label.

    Args:
        line: without emphasis, with single blanks.
    """
    english = list(_ENGLISH.finditer(line))
    if english:
        behind = line[english[-1].end() :].strip()
        return Labelled(behind, bool(behind) and not english[-1][0].rstrip().endswith((":", "=")))
    if found := _FOREIGN.match(line):
        return Labelled(found[1].strip(), False)
    if found := _EAST_ASIAN.match(line) or _EAST_ASIAN.search(line[-400:]):
        return Labelled(_EAST_ASIAN_END.sub("", found[1].rstrip("。.")).strip(), False)
    return None


def gives_answer(text: str) -> bool:
    """Whether the text after `the answer is` begins like an answer: with a digit, sign, capital letter, yes or no."""
    return _GIVES.match(text) is not None


def weakly_labelled(line: str) -> str | None:
    """The text after a label that marks an answer only at a response's end, as `Result:`."""
    found = _LEADING.match(line)
    return found[1].strip() if found else None


def is_pleasantry(sentence: str) -> bool:
    """Whether a sentence is an offer, a wish or thanks, and no part of an answer."""
    sentence = sentence.strip(" *_\"'-")
    return len(sentence) <= _LONGEST_PLEASANTRY and _PLEASANTRY.match(sentence) is not None
