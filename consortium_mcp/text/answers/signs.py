"""Signs that tell two short answers apart: operators, brackets, accents and the case of symbols."""

import re
import unicodedata

_LOGIC = (
    (re.compile(r"¬|(?<![\w)!])!(?=[A-Za-z(])|[~∼](?=[A-Za-z](?![^\W_])|\()"), " not "),
    (re.compile(r"&&|∧"), " and "),
    (re.compile(r"\|\||∨"), " or "),
    (re.compile("∅"), " empty set "),
    (re.compile(r">=|⩾|≧"), "≥"),
    (re.compile(r"<=(?!>)|⩽|≦"), "≤"),
    (re.compile(r"!==?|<>"), "≠"),
)
_MAY_HAVE_LOGIC = re.compile(r"[¬!~∼&∧|∨∅<>⩾≧⩽≦⁰ⁱ¹²³⁴⁵⁶⁷⁸⁹ⁿ]")
_SUPERSCRIPT = re.compile("[⁻⁺]?[⁰ⁱ¹²³⁴⁵⁶⁷⁸⁹ⁿ]+(?![⁺⁻⁰ⁱ¹²³⁴⁵⁶⁷⁸⁹ⁿ])")
"""An exponent, in contrast to a charge, which ends with its sign."""

_LONG_WORD = re.compile(r"[^\W\d_]{3,}")
_LETTER = re.compile(r"(?<![^\W\d_])[^\W\d_](?![^\W\d_])")
_MARKED_LETTER = re.compile(r"[^\W\d_](?:[\u0300-\u036f\u20d0-\u20ff]+|[*†‡])(?!\w)")
_FUNCTIONS = frozenset("sin cos tan log exp sqrt max min and not lim det arg".split())
_LOGARITHM = re.compile(r"(?<![^\W\d_])(?:ln|lg|lb|log)(?![^\W\d_])", re.IGNORECASE)
_ARITHMETIC = re.compile(r"(?<=[^\W\d_]) ?([*/%]) ?(?=[^\W\d_])|(?<=[^\W\d_]) (-) (?=[^\W\d_])")
_ERA = re.compile(
    r"(?<![^\W_])(?:(?:bce?|b\.c\.|ah|bp) ?\d{1,4}|\d{1,4} ?\(?(?:bce?|b\. ?c\.(?: ?e\.)?|ah|a\.h\.|bp))(?![^\W_])",
    re.IGNORECASE,
)
_CHARGE = re.compile(r"(?<![^\W_])([A-Za-z]{1,2}\d?)\^?-(?![\w-])")
_GREEK_CAPITAL = re.compile(r"(?<![^\W\d_])[ΓΔΘΛΞΠΣΦΨΩ](?![^\W\d_])")
_LEADING = re.compile(r"(?:[@:$]|[~.]?/|~|\.)(?=[A-Za-z])")
_INSIDE = re.compile(r"(?<=[a-z])[._;@](?=[a-z])")
_SET_OF_ONE = re.compile(r"\{(?![A-Ja-j]\})[^,;:]{1,80}\}")
_BRACKETS = {"(": ")]", "[": "])", "{": "}", "<": ">", "⟨": "⟩"}
_POINTED = re.compile(r"(?<!\d)\d+\.\d+(?:\.\d+)*")
_WORDS_OF_TWO = frozenset("no ok is it us uk eu".split())


def spelled_out(text: str) -> str:
    """The text with one spelling for operators of logic and comparison, and with carets before superscripts."""
    if not _MAY_HAVE_LOGIC.search(text):
        return text
    for sign, word in _LOGIC:
        text = sign.sub(word, text)
    return _SUPERSCRIPT.sub(lambda found: "^" + unicodedata.normalize("NFKC", found[0]), text)


def are_told_apart_by_signs(one: str, other: str) -> bool:
    """Whether two answers with equal words or values have signs that give them different meanings.

    Args:
        one: an answer in plain characters, on one line.
        other: the other answer.
    """
    return (
        _sets_of_one(one) != _sets_of_one(other)
        or _asks(one) != _asks(other)
        or bool(_ERA.search(one)) != bool(_ERA.search(other))
        or _differ_where_both_have(_LOGARITHM, one, other)
        or _differ_where_both_have(_ARITHMETIC, one, other)
        or _CHARGE.findall(one) != _CHARGE.findall(other)
        or _are_other_capitals(one, other)
        or _are_other_tokens(one, other)
        or (_is_symbolic(one) and _is_symbolic(other) and _marked_letters(one) != _marked_letters(other))
    )


def are_in_other_brackets(one: str, other: str) -> bool:
    """Whether two answers are in brackets of different kinds, as `(1, 2)` and `[1, 2]`."""
    brackets, others = _brackets(one), _brackets(other)
    return bool(brackets and others) and brackets != others


def are_other_symbols(one: str, other: str) -> bool:
    """Whether two symbols, or two texts of symbols, differ only in case: `CO` and `Co`, `p(a)` and `P(A)`."""
    one, other = one.strip(" ."), other.strip(" .")
    if one == other or one.casefold() != other.casefold():
        return False
    if len(one) == 2 and one.isalpha():
        is_mixed = any(not text.isupper() and not text.islower() for text in (one, other))
        return one.casefold() not in _WORDS_OF_TWO and (is_mixed or one[0] == one[1])
    return _is_symbolic(one) and _LETTER.findall(one) != _LETTER.findall(other)


def _differ_where_both_have(signs: re.Pattern[str], one: str, other: str) -> bool:
    found, others = (["".join(sign).casefold() for sign in signs.findall(text)] for text in (one, other))
    return bool(found and others) and found != others


def are_other_releases(one: str, other: str) -> bool:
    """Whether two releases differ in a final zero, as `version 1.10` and `version 1.1`.

    Args:
        one: an answer of which the response, or the other response, is about releases.
        other: the other answer.
    """
    return _POINTED.findall(one) != _POINTED.findall(other)


def _are_other_capitals(one: str, other: str) -> bool:
    """Whether two symbols without digits have different Greek capital letters, as `Σ` and `σ`."""
    if any(letter.isdecimal() for letter in one + other):
        return False
    return _GREEK_CAPITAL.findall(one) != _GREEK_CAPITAL.findall(other)


def _asks(text: str) -> bool:
    return text.rstrip(" \"'*)").endswith(("?", "？"))


def _sets_of_one(text: str) -> int:
    """The number of braces around a set of one item; 0 for any other text."""
    text = text.strip(" .")
    return len(text) - len(text.lstrip("{")) if _SET_OF_ONE.fullmatch(text) else 0


def _are_other_tokens(one: str, other: str) -> bool:
    """Whether two paths, addresses or names in programs differ in a sign that is no word, as `/home` and `home`."""
    tokens = [text.strip("`\"' ").rstrip(".") for text in (one, other)]
    if any(" " in token for token in tokens):
        return False
    leading = [found[0] if (found := _LEADING.match(token)) else "" for token in tokens]
    inside = [_INSIDE.findall(token) for token in tokens if all(map(str.islower, tokens))]
    return leading[0] != leading[1] or (len(inside) == 2 and inside[0] != inside[1])


def _brackets(text: str) -> str:
    text = text.strip(" .")
    return text[0] + text[-1] if text[:1] in _BRACKETS and text[-1:] in _BRACKETS[text[0]] and text[1:] else ""


def _is_symbolic(text: str) -> bool:
    """Whether a text has only words of one or two letters and the names of functions."""
    return len(text) <= 80 and all(word.casefold() in _FUNCTIONS for word in _LONG_WORD.findall(text))


def _marked_letters(text: str) -> list[str]:
    """The letters with an accent or a mark, as in `x̄` and `x*`."""
    apart = unicodedata.normalize("NFD", text)
    return _MARKED_LETTER.findall(apart)
