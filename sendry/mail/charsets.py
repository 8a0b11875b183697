"""Octets to text for whatever charset a mail claims. Touches nothing but Python's codecs.

Promise: never raises, never returns lone surrogates, and a hostile charset name neither imports a module, nor
grows a cache, nor reaches a codec whose decoding takes quadratic time.
"""

from __future__ import annotations

import codecs
import re
from encodings import aliases
from functools import lru_cache
from typing import Final

# What is in use in mail besides Python's table of aliases; the supersets are what senders mean.
_MAIL_NAMES: Final = {
    "gb2312": "gb18030",
    "gb_2312_80": "gb18030",
    "gbk": "gb18030",
    "x_gbk": "gb18030",
    "ks_c_5601_1987": "cp949",
    "euc_kr": "cp949",
    "x_sjis": "cp932",
    "shift_jis": "cp932",
    "iso_8859_1": "cp1252",
    "iso8859_1": "cp1252",
    "latin_1": "cp1252",
    "latin1": "cp1252",
    "iso_8859_8_i": "iso8859_8",
    "windows_874": "cp874",
    "x_mac_cyrillic": "mac_cyrillic",
    "macintosh": "mac_roman",
    "unicode_1_1_utf_7": "utf_7",
    "koi8_u": "koi8_u",
    "koi8_t": "koi8_t",
    "cp874": "cp874",
    "utf_8_sig": "utf_8_sig",
}
# Codecs among the aliases that do not give text. What is no alias (idna and punycode, which are quadratic in the
# length of the input, unicode_escape ...) is not reached at all.
_NOT_CHARSETS: Final = {
    "base64_codec",
    "bz2_codec",
    "hex_codec",
    "mbcs",
    "quopri_codec",
    "rot_13",
    "uu_codec",
    "zlib_codec",
}
_CODECS: Final = set(aliases.aliases.values()) - _NOT_CHARSETS
_KNOWN: Final = (
    {codec: codec for codec in _CODECS}
    | {name: codec for name, codec in aliases.aliases.items() if codec in _CODECS}
    | _MAIL_NAMES
)
_NOT_NAME: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME: Final = 40


@lru_cache(maxsize=256)
def codec_for(charset: str) -> str | None:
    """Python's codec for a charset label of a mail, or None for one that is unknown."""
    if not charset or len(charset) > _LONGEST_NAME:
        return None
    codec = _KNOWN.get(_NOT_NAME.sub("_", charset.lower()).strip("_"))
    if codec is None:
        return None
    try:
        return codecs.lookup(codec).name
    except LookupError:
        return None


def decode(octets: bytes, charset: str = "") -> str:
    """Text of `octets`; where the label is missing, unknown or wrong: UTF-8 if it fits, else windows-1252."""
    codec = codec_for(charset)
    if codec in (None, "ascii", "utf-8"):
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            return octets.decode("utf-8" if codec == "utf-8" else "cp1252", "replace")
    text = octets.decode(str(codec), "replace")
    if codec == "utf-7":  # the only one of them that can yield half of a surrogate pair
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
