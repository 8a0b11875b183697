"""Encoded words of RFC 2047: header text for people to read, and text for headers to carry.

Pure functions. Promise: reading never raises and returns no control character; writing gives ASCII only, in
lines of at most 76 octets, and never cuts a character in two.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from sendry.mail.charsets import decode

LONGEST_TEXT: Final = 65_536  # octets of one field that are looked at for display

_WORD: Final = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?\r\n]{0,8192})\?=")
_QUOTED_OCTET: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_CONTROLS: Final = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")


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
