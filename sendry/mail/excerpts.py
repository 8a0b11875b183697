"""What a mail says in short: its first words, the one-time codes and the links in it.

Pure. Promise: never raises, looks at a bounded part of the text, and time grows with it and no faster.
"""

from __future__ import annotations

import html as html_entities
import re
from typing import Final

LONGEST_PREVIEW: Final = 200
LONGEST_LOOK: Final = 262_144  # characters of a body that are looked at
MOST_CODES: Final = 5
MOST_LINKS: Final = 1000

_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_HIDDEN: Final = {
    name: re.compile(f"</{name}", re.IGNORECASE) for name in ("head", "style", "script", "title", "template")
}
_NEW_LINE: Final = frozenset({
    "br", "p", "div", "tr", "table", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "blockquote",
    "section", "article", "header", "footer", "pre",
})  # fmt: skip
_CELL: Final = frozenset({"td", "th"})
# What senders fill a preview with: soft hyphen, joiners, invisible signs, byte order mark.
_INVISIBLE: Final = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2060-\u206f\ufeff]")
_BLANKS: Final = re.compile(r"\s+")

_NUMBER: Final = r"\d{3}[- ]\d{3}|\d{4}[- ]\d{4}|\d{4,8}"
_LETTERED: Final = r"(?=[A-Z-]{0,8}\d)(?=[\d-]{0,8}[A-Z])(?:[A-Z0-9]{5,8}|[A-Z0-9]{3,4}-[A-Z0-9]{3,4})"
_CODE: Final = re.compile(
    # Not inside a longer number, word, price, address, date or phone number.
    rf"(?<![\w+#№$€£¥₽@&%=/\\])(?<![\d)][-., ])(?<![\w]-)(?:[A-Z]-)?((?:{_NUMBER})|(?:{_LETTERED}))"
    r"(?![\w@%/\\$€£¥₽])(?![-.,: ]\d)(?!-\w)(?!\s?(?:руб|р\.|USD|EUR|RUB|GBP|dollars|euros|₽|€|\$|шт|кг|км))"
)
_KEYWORD: Final = re.compile(
    r"(?<!zip )(?<!zip-)(?<!postal )(?<!post )(?<!promo )(?<!promo-)(?<!discount )(?<!coupon )(?<!voucher )"
    r"(?<!error )(?<!status )(?<!area )(?<!country )(?<!qr )(?<!qr-)(?<!source )(?<!product )(?<!item )(?<!order )"
    r"(?<!tracking )(?<!sort )(?<!dress )(?<!exit )(?<!почтовый )(?<!промо-)"
    r"\b(?:(?:pass)?codes?|otp|pin|2fa|passwords?|one-time|verification|kod|código|codigo|codice"
    r"|код(?:а|ом|у|ы)?(?!\s+(?:товара|заказа|города|страны|ошибки|региона|продукта|скидки|купона))"
    r"|парол(?:ь|я|ем)|пин(?:-код)?|подтверждени[еяю])\b|验证码|驗證碼|認証コード|인증",
    re.IGNORECASE,
)
# A word like these between keyword and number, or just before it, makes the number something else.
_OTHER_NUMBER: Final = re.compile(
    r"\b(?:orders?|invoice|tickets?|tel|phone|call|fax|ref|reference|ending|page|room|flight"
    r"|copyright|total|amount|заказа?|счета?|счёта?|тел(?:ефон)?|звоните|номер|договора?"
    r"|итого|сумма|рейс|индекс)\b|[©№#]",
    re.IGNORECASE,
)
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_POINTS_AT: Final = re.compile(r"(?:code|код|otp|pin|пароль|password|passcode)\W{0,3}(?:is\W{1,3})?$", re.IGNORECASE)
_LOOK_BEFORE: Final = 90
_LOOK_BEHIND: Final = 60

_HREF: Final = re.compile(
    r"<(?:a|area)\s[^<>]{0,4000}?\bhref\s*=\s*(?:\"([^\"<>]{1,8192})\"|'([^'<>]{1,8192})'|([^\s\"'<>]{1,8192}))",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"\bhttps?://[^\s<>\"'`]{1,8192}", re.IGNORECASE)


def html_to_text(html: str, limit: int = LONGEST_LOOK) -> str:
    """The words of an HTML body, a line end for each block; for excerpts, not for sending."""
    html = html[:limit]
    shown: list[str] = []
    never_closed: set[str] = set()
    at = 0
    while (opened := html.find("<", at)) >= 0:
        shown.append(html[at:opened])
        if html.startswith("<!--", opened):
            closed = html.find("-->", opened)
            at = len(html) if closed < 0 else closed + 3
            continue
        tag = _TAG.match(html, opened)
        if tag is None and not html.startswith(("<!", "<?"), opened):
            shown.append("<")
            at = opened + 1
            continue
        at = html.find(">", opened) + 1
        if at == 0:
            return _finished(shown)
        name = tag[2].lower() if tag else ""
        if name in _HIDDEN and tag and not tag[1] and name not in never_closed:
            end = _HIDDEN[name].search(html, at)
            if end is None:
                never_closed.add(name)
            else:
                at = html.find(">", end.end()) + 1 or len(html)
        elif name in _NEW_LINE:
            shown.append("\n")
        elif name in _CELL:
            shown.append(" ")
    shown.append(html[at:])
    return _finished(shown)


def preview(text: str | None, html: str | None = None, limit: int = LONGEST_PREVIEW) -> str:
    """The first words of a mail in one line of at most `limit` characters; "" when it has none."""
    for shown in (text[: 20 * limit] if text else "", html_to_text(html) if html else ""):
        line = _BLANKS.sub(" ", _INVISIBLE.sub("", shown)).strip()
        line = "".join(character for character in line[: 2 * limit] if character.isprintable())
        if line:
            return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
    return ""


def codes(text: str) -> tuple[str, ...]:
    """One-time codes, as written and in order: numbers of 4 to 8 digits or like 123-456 that a word calls a
    code.

    Years, phone numbers, prices and order numbers are left out.
    """
    words = (line.split() for line in _INVISIBLE.sub("", text[:LONGEST_LOOK]).split("\n"))
    line = "\n".join(" ".join(row) for row in words if row)
    found: list[str] = []
    for candidate in _CODE.finditer(line):
        code = candidate[1]
        if code not in found and _is_called_code(line, candidate.start(), candidate.end(), code):
            found.append(code)
            if len(found) == MOST_CODES:
                break
    return tuple(found)


def links(text: str | None, html: str | None = None) -> tuple[str, ...]:
    """The http and https addresses a reader can follow, each once, in order; at most 1000."""
    found: dict[str, None] = {}
    for link in _HREF.finditer((html or "")[: 4 * LONGEST_LOOK]):
        address = html_entities.unescape(link[1] or link[2] or link[3]).strip()
        if address.lower().startswith(("http://", "https://")):
            found[address] = None
    for url in _URL.finditer((text or "")[: 4 * LONGEST_LOOK]):
        found[_without_punctuation(url[0])] = None
    return tuple(found)[:MOST_LINKS]


def _finished(shown: list[str]) -> str:
    return html_entities.unescape("".join(shown))


def _is_called_code(line: str, start: int, end: int, code: str) -> bool:
    before = line[max(start - _LOOK_BEFORE, 0) : start]
    keywords = list(_KEYWORD.finditer(before))
    if not code.replace("-", "").replace(" ", "").isdigit() or _YEAR.fullmatch(code):
        return bool(keywords) and _POINTS_AT.search(before) is not None
    if keywords:
        return _OTHER_NUMBER.search(before, keywords[-1].end()) is None
    if _OTHER_NUMBER.search(before, max(len(before) - 20, 0)):
        return False
    behind = line[end : end + _LOOK_BEHIND]
    # "123456 is your code": in the same sentence only.
    sentence = re.split(r"[.!?](?:\s|$)", behind, maxsplit=1)[0]
    return _KEYWORD.search(sentence) is not None


def _without_punctuation(url: str) -> str:
    url = url.rstrip(".,;:!?*_")
    while url.endswith((")", "]")) and url.count(url[-1]) > url.count("(" if url[-1] == ")" else "["):
        url = url[:-1].rstrip(".,;:!?*_")
    return url
