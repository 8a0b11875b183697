from __future__ import annotations

import re

import pytest
from babel.messages.catalog import Message
from flask import Flask

from sendry.panel import language
from tests.panel import catalogue
from tests.panel.conftest import Panel

OTHERS = [code for code in language.LANGUAGES if code != language.ENGLISH]
TEXTS = [message for message in catalogue.texts() if message.id]


def forms(message: Message) -> list[str]:
    return list(message.string) if isinstance(message.string, tuple | list) else [str(message.string)]


def places(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)[sd]", text))


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_is_untranslated(code: str) -> None:
    known = catalogue.catalogue(code)
    missing = []
    for text in TEXTS:
        found = known.get(text.id, text.context)
        if found is None or not all(forms(found)):
            missing.append(text.id)
    assert missing == []


@pytest.mark.parametrize("code", OTHERS)
def test_no_translation_is_left_of_a_text_that_is_gone(code: str) -> None:
    wanted = {(text.id if isinstance(text.id, str) else text.id[0], text.context) for text in TEXTS}
    known = {
        (text.id if isinstance(text.id, str) else text.id[0], text.context)
        for text in catalogue.catalogue(code)
        if text.id
    }
    assert known - wanted == set()


@pytest.mark.parametrize("code", OTHERS)
def test_translations_fill_in_the_same_values(code: str) -> None:
    wrong = []
    for text in TEXTS:
        found = _CATALOGUES[code].get(text.id, text.context)
        if found is None:
            continue
        own = text.id if isinstance(text.id, str) else text.id[-1]
        if any(not places(form) <= places(own) | {"num"} for form in forms(found)):
            wrong.append(text.id)
        if isinstance(text.id, str) and any(places(form) != places(own) for form in forms(found)):
            wrong.append(text.id)
        if any(form.count("<b>") != own.count("<b>") for form in forms(found)):
            wrong.append(text.id)
    assert wrong == []


_CATALOGUES = {code: catalogue.catalogue(code) for code in OTHERS}


def test_russian_is_written_as_it_is_spelled() -> None:
    """No straight quotes, no «е» where a word of ours has «ё», formal address in lower case."""
    for message in _CATALOGUES["ru"]:
        for form in forms(message) if message.id else []:
            assert '"' not in form, form
            assert not re.search(r"\b(еще|все равно|темн|учетн|отчет)", form), form
            assert not re.search(r"[^.!?] В(ас|ам|аш)", form), form


@pytest.fixture
def app() -> Flask:
    return Flask("language")


@pytest.mark.parametrize(
    ("headers", "chosen"),
    [
        ({}, "en"),
        ({"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"}, "ru"),
        ({"Accept-Language": "de,fr;q=0.5"}, "en"),
        ({"Cookie": "lang=ru", "Accept-Language": "en"}, "ru"),
        ({"Cookie": "lang=xx", "Accept-Language": "ru"}, "ru"),
    ],
)
def test_the_cookie_decides_then_the_browser(app: Flask, headers: dict[str, str], chosen: str) -> None:
    with app.test_request_context(headers=headers):
        assert language.current() == chosen


@pytest.mark.parametrize(("number", "written"), [(1, "1 байт"), (3, "3 байта"), (11, "11 байт"), (21, "21 байт")])
def test_russian_plurals(app: Flask, number: int, written: str) -> None:
    with app.test_request_context(headers={"Cookie": "lang=ru"}):
        assert language.ngettext("%(num)d byte", "%(num)d bytes", number) == written


def test_outside_a_request_everything_is_english() -> None:
    assert language.gettext("Queue") == "Queue"


def test_choosing_a_language_changes_the_page_and_is_kept_with_the_person(panel: Panel) -> None:
    answer = panel.post("/preferences", {"lang": "ru", "back": "/messages?status=failed"})
    assert (answer.status_code, answer.location) == (303, "/messages?status=failed")
    page = panel.get("/messages")
    assert '<html lang="ru"' in page.text
    assert "<h1>Письма</h1>" in page.text
    panel.client.delete_cookie("lang", domain="localhost")
    assert '<html lang="ru"' in panel.get("/messages").text, "the person reads Russian in every browser"


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example"])
def test_choosing_leads_back_on_this_site_only(panel: Panel, back: str) -> None:
    assert panel.post("/preferences", {"lang": "ru", "back": back}).location == "/"


def test_the_theme_is_in_the_first_paint(panel: Panel) -> None:
    assert "data-theme" not in panel.get("/dashboard").text.split("<head>")[0]
    panel.post("/preferences", {"theme": "dark", "back": "/dashboard"})
    assert '<html lang="en" data-theme="dark">' in panel.get("/dashboard").text
    panel.post("/preferences", {"theme": '"><script>', "back": "/dashboard"})
    assert '<html lang="en" data-theme="dark">' in panel.get("/dashboard").text
