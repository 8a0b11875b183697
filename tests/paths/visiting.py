"""A person with a browser that knows cookies, forms and redirects, and no more."""

from __future__ import annotations

import html
import re
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Visitor:
    """Walks through the panel; `page` and `status` are of the last answer."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.page = ""
        self.path = ""
        self.status = 0

    def open(self, path: str) -> str:
        """Follow a link."""
        return self._ask(urllib.request.Request(self._base + path))

    def submit(self, path: str, **fields: str) -> str:
        """Send a form of the page that is open."""
        found = _TOKEN.search(self.page)
        assert found is not None, self.page
        form = {"csrf_token": html.unescape(found[1]), **fields}
        return self._ask(urllib.request.Request(self._base + path, urllib.parse.urlencode(form).encode()))

    def _ask(self, request: urllib.request.Request) -> str:
        try:
            with self._opener.open(request, timeout=20) as answer:
                self.status, self.page, self.path = answer.status, answer.read().decode(), answer.url
        except urllib.error.HTTPError as error:
            with error:
                self.status, self.page, self.path = error.code, error.read().decode(), error.url or ""
        return self.page
