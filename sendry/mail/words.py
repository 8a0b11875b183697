"""Encoded words of RFC 2047: header text for people to read, and text for headers to carry.

Pure functions. Promise: reading never raises and returns no control character; writing gives ASCII only, in
lines of at most 76 octets, and never cuts a character in two.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import Final

from sendry.mail.charsets import decode

LONGEST_TEXT: Final = 65_536  # octets of one field that are looked at for display

_WORD: Final = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?\r\n]{0,8192})\?=")
_QUOTED_OCTET: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_CONTROLS: Final = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")

LINE: Final = 76  # octets of a line we fold, RFC 2047 section 2
_LONGEST_PLAIN_LINE: Final = 900
_LONGEST_PLAIN_NAME: Final = 60
_ATOMS: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_Q_SAFE: Final = re.compile(rb"[A-Za-z0-9!*+/ -]")  # what a phrase may have, RFC 2047 section 5 (3)
_SINGLE_BLANK: Final = re.compile(r"(?<! ) (?! )")
_CONTROL: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")


def decode_header_text(value: bytes, limit: int = LONGEST_TEXT) -> str:
    """A raw field value as one line of text: unfolded, encoded words decoded, controls turned into blanks.

    `limit` is the number of octets looked at; the rest is left off.
    """
    raw = value[:limit].replace(b"\r\n", b"")
    if b"=?" not in raw and raw.isascii():
        text = raw.decode("ascii").strip()
        return text if text.isprintable() else text.translate(_CONTROLS).strip()
    return decode_words(decode(raw)).strip()


def decode_words(text: str) -> str:
    """`text` with its encoded words decoded. Words that follow each other are joined, also inside a
    character.
    """
    shown: list[str] = []
    octets, charset, end = b"", "", 0
    for word in _WORD.finditer(text):
        between = text[end : word.start()]
        end = word.end()
        follows_word = bool(charset) and not between.strip()
        if not follows_word or word[1].lower() != charset:
            shown.append(decode(octets, charset))
            octets = b""
        if not follows_word:
            shown.append(between)
        charset = word[1].lower()
        octets += _word_octets(word[2], word[3])
    shown += (decode(octets, charset), text[end:])
    joined = "".join(shown)
    return joined if joined.isprintable() else joined.translate(_CONTROLS)


def _word_octets(encoding: str, encoded: str) -> bytes:
    raw = encoded.encode("utf-8", "replace")
    if encoding in "Qq":
        return _QUOTED_OCTET.sub(lambda octet: binascii.unhexlify(octet[1]), raw.replace(b"_", b" "))
    try:
        return binascii.a2b_base64(raw + b"==")
    except binascii.Error:
        return raw


def encode_text(text: str, used: int) -> str:
    """`text` (no controls, see `first_control`) as the folded value of an unstructured field.

    `used` is the number of octets that already stand on the first line. Reading it gives the same text again.
    """
    if text.isascii() and "=?" not in text and text[:1] != " " and text[-1:] != " ":
        folded = fold_plain(text, used)
        if folded is not None:
            return folded
    return encode_words(text, used)


def fold_plain(text: str, used: int) -> str | None:
    """ASCII `text` folded at single blanks; None when a line stays longer than RFC 5322 allows."""
    if used + len(text) <= LINE:
        return text
    lines: list[str] = []
    start = last = 0
    for blank in [*(found.start() for found in _SINGLE_BLANK.finditer(text)), len(text)]:
        if used + blank - start > LINE and last > start:
            lines.append(text[start:last])
            start, used = last, 0
        last = blank
    lines.append(text[start:])
    if max(map(len, lines)) > _LONGEST_PLAIN_LINE:
        return None
    return "\r\n".join(lines)


def encode_phrase(name: str, used: int) -> str:
    """A display name: atoms where they do, else a quoted string, else encoded words (RFC 5322 section 3.2.5)."""
    if _ATOMS.fullmatch(name) and "=?" not in name and len(name) <= _LONGEST_PLAIN_NAME:
        return name
    if name.isascii() and "=?" not in name and len(name) <= _LONGEST_PLAIN_NAME:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return encode_words(name, used)


def encode_words(text: str, used: int) -> str:
    """`text` as encoded words in UTF-8, one a line, in whichever of the encodings B and Q is shorter."""
    octets = text.encode("utf-8")
    safe = len(_Q_SAFE.findall(octets))
    if safe + 3 * (len(octets) - safe) <= 4 * len(octets) // 3:
        return _encode_q(text, used)
    return _encode_b(octets, used)


def first_control(text: str) -> str | None:
    """The first character that no header may carry (controls, line separators, half surrogates), or None."""
    if text.isprintable():
        return None
    control = _CONTROL.search(text)
    return control[0] if control else None


def _encode_b(octets: bytes, used: int) -> str:
    words: list[str] = []
    at = 0
    while at < len(octets) or not words:
        end = min(at + _room(used) // 4 * 3, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(octets[at:end], newline=False).decode('ascii')}?=")
        at, used = end, 1
    return "\r\n ".join(words)


def _encode_q(text: str, used: int) -> str:
    words: list[str] = []
    word: list[str] = []
    room = _room(used)
    for character in text:
        octets = _q_octets(character)
        if len(octets) > room:
            words.append(f"=?utf-8?q?{''.join(word)}?=")
            word, room = [], _room(1)
        word.append(octets)
        room -= len(octets)
    words.append(f"=?utf-8?q?{''.join(word)}?=")
    return "\r\n ".join(words)


def _room(used: int) -> int:
    """Octets of encoded text that fit into the word on this line; 12 is one character of four octets in Q."""
    return max(LINE - used - len("=?utf-8?q??="), 12)


@lru_cache(maxsize=1024)
def _q_octets(character: str) -> str:
    if character == " ":
        return "_"
    octets = character.encode("utf-8")
    return character if _Q_SAFE.fullmatch(octets) else "".join(f"={octet:02X}" for octet in octets)
