"""Content-Type and Content-Disposition as they arrive: the value and its parameters (RFC 2045 5.1, RFC 2231,
RFC 2183).

Pure. Promise: never raises, and time grows with the length of the field and no faster.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from sendry.mail.charsets import decode
from sendry.mail.words import decode_words

LONGEST_VALUE: Final = 8192  # octets of a field that are looked at
MOST_PARAMETERS: Final = 100

_PARAMETER: Final = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NUMBERED: Final = re.compile(r"(.+?)\*([0-9]{1,4})")


def parse_parameters(value: bytes) -> tuple[str, dict[str, str]]:
    """(lower-case value, parameters by lower-case name), continuations joined and charsets decoded."""
    text = decode(value[:LONGEST_VALUE].replace(b"\r\n", b""))
    main, _, _ = text.partition(";")
    plain: dict[str, str] = {}
    extended: dict[str, dict[int, tuple[str, bool]]] = {}
    for count, parameter in enumerate(_PARAMETER.finditer(text, len(main))):
        if count == MOST_PARAMETERS:
            break
        name, written = parameter[1].lower(), _unquoted(parameter[2])
        is_encoded = name.endswith("*")
        name = name.rstrip("*")
        numbered = _NUMBERED.fullmatch(name)
        if numbered:
            extended.setdefault(numbered[1], {}).setdefault(int(numbered[2]), (written, is_encoded))
        elif is_encoded:
            extended.setdefault(name, {})[0] = (written, True)
        else:
            plain.setdefault(name, decode_words(written))
    # The extended form is the better one where both are given (RFC 6266 appendix D says so for HTTP).
    return main.strip().lower(), plain | {name: _joined(pieces) for name, pieces in extended.items()}


def _unquoted(written: str) -> str:
    if written.startswith('"'):
        closed = written[1:-1] if len(written) > 1 and written.endswith('"') else written[1:]
        return _ESCAPED.sub(r"\1", closed)
    return written.strip()


def _joined(pieces: dict[int, tuple[str, bool]]) -> str:
    """The pieces in the order of their numbers; only the first names the charset (RFC 2231 section 4.1)."""
    octets = b""
    charset = ""
    for position, number in enumerate(sorted(pieces)):
        written, is_encoded = pieces[number]
        if is_encoded and position == 0 and written.count("'") >= 2:
            charset, _, written = written.split("'", 2)
        octets += unquote_to_bytes(written) if is_encoded else written.encode("utf-8", "replace")
    return decode(octets, charset)
