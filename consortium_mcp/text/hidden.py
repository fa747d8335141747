"""Removes invisible characters and blanks of other kinds, if that changes nothing that a reader sees."""

import re

_PICTURES = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
"""Characters that a selector turns into a picture, and that a joiner combines with the next one."""

_JOINING = "\u0600-\u086f\u08a0-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u18aa"
"""Letters whose shape depends on a joiner: Arabic, the scripts of India, Khmer, Mongolian and others."""

_HIDDEN = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    rf"|\u200c(?<![{_JOINING}].)|\u200c(?![{_JOINING}])"
    rf"|\u200d(?<![{_JOINING}{_PICTURES}].)|\u200d(?![{_JOINING}{_PICTURES}])"
    rf"|[\ufe0e\ufe0f](?<![{_PICTURES}].)(?!\u20e3)"
)


def without_hidden(text: str) -> str:
    """The text without hidden characters; joiners and selectors stay if they shape letters or pictures."""
    if text.isascii():
        return text
    return _HIDDEN.sub("", text).replace("\u2028", "\n").replace("\u2029", "\n")
