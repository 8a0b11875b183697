"""The house keeps its layout: who imports whom, who may use what, who writes which table.

Read from the syntax trees of everything in `sendry/`; nothing is imported for it. Each check gives the places
that break its rule as `file:line what`, so that the message of a failure is the list of things to mend.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sendry"

LEVELS = (
    ("config", "logs", "metrics", "resolver", "fetch"),
    ("store", "mail", "tls"),
    ("access", "domains", "queue"),
    ("intake",),
    ("listener", "delivery", "sandbox", "mail_templates", "tracking", "webhooks"),
    ("campaigns", "rooms"),
    ("api", "panel", "public"),
    ("web", "jobs", "http", "first_start"),
    ("service",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

LIBRARIES = {
    "flask": ("web", "public", "api", "panel"),
    "flask_babel": ("web", "public", "api", "panel"),
    "flask_login": ("web", "public", "api", "panel"),
    "flask_wtf": ("web", "public", "api", "panel"),
    "wtforms": ("web", "public", "api", "panel"),
    "jinja2": ("web", "public", "api", "panel"),
    "werkzeug": ("web", "public", "api", "panel"),
    "waitress": ("http",),
    "aiosmtpd": ("listener",),
    "dns": ("resolver",),
    "apscheduler": ("jobs",),
    "playhouse": ("store",),
}
"""Which rooms a library is for; types alone may be named elsewhere."""

NETWORK_ROOMS = ("listener", "delivery", "resolver", "fetch", "tls")
NETWORK_MODULES = (
    "socket", "ssl", "socketserver", "smtplib", "ftplib", "imaplib", "poplib", "telnetlib", "http.client",
    "http.server", "xmlrpc", "urllib.request", "urllib3", "requests", "httpx", "httpx2", "aiohttp", "aiosmtplib",
)  # fmt: skip
NETWORK_CALLS = ("open_connection", "open_unix_connection", "start_server", "create_connection", "create_server")
NETWORK_EXCEPT = {
    "store/nodes.py": "asks for the name of this machine by socket.gethostname and for nothing else",
    "http.py": "waitress' create_server is the HTTP listener",
}

CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns", "time.localtime",
    "time.gmtime", "time.ctime",
}  # fmt: skip
CLOCK_EDGES = {
    "api/": "a request is an edge: its handler reads the clock and passes it on",
    "cli/": "a command is an edge",
    "delivery/probe.py": "a trial that a person runs by hand",
    "delivery/session.py": "the default of a clock that is given",
    "delivery/workers.py": "the default of a clock that is given",
    "jobs.py": "the scheduler's tick",
    "logs.py": "gives the time at which logging made a record its form",
    "listener/server.py": "the default of a clock that is given",
    "metrics.py": "a request for the metrics page",
    "panel/words.py": "one time for the whole request, read when it begins",
    "public.py": "a request is an edge",
    "resolver.py": "turns dnspython's expiry, a wall clock time, into seconds",
    "service.py": "the start and the end of the process",
    "store/ids.py": "ids are times",
}

MOST_LINES = 400
SOURCES = {".py", ".html", ".js", ".css", ".txt", ".sh"}
NO_NAMES = re.compile(r"(?:.*_)?(?:utils?|helpers?|common|managers?|misc|stuff)")
NO_SQL_OWNER = {
    "store/writer.py": {"counter", "tally"},  # gathered there for the queue, once per transaction
}


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def type_only(path: Path) -> frozenset[int]:
    """Lines below `if TYPE_CHECKING:`."""
    lines: set[int] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            lines.update(range(node.lineno, (node.body[-1].end_lineno or node.lineno) + 1))
    return frozenset(lines)


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and full name of every module that a file imports, wherever the statement stands."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module in ("sendry", "http", "urllib"):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def broken(check: Callable[[Path], Iterator[tuple[int, str]]]) -> list[str]:
    return [f"sendry/{name_of(path)}:{line} {what}" for path in files() for line, what in check(path)]


def is_below(module: str, names: tuple[str, ...] | set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


class TestImports:
    def test_every_room_has_its_level(self) -> None:
        rooms = {room_of(path) for path in files()} - {"__init__", "__main__"}
        assert sorted(rooms - set(LEVEL)) == []

    def test_point_down_only_and_never_across_a_level(self) -> None:
        def check(path: Path) -> Iterator[tuple[int, str]]:
            own = room_of(path)
            for line, module in imports(path):
                other = module.split(".")[1] if module.startswith("sendry.") else own
                is_room = other in LEVEL or (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").exists()
                if other != own and is_room and LEVEL.get(other, 99) >= LEVEL.get(own, -1):
                    yield line, f"{own} imports {module}"

        assert broken(check) == []

    def test_are_never_relative(self) -> None:
        def check(path: Path) -> Iterator[tuple[int, str]]:
            yield from ((line, module) for line, module in imports(path) if module.startswith("."))

        assert broken(check) == []

    def test_of_libraries_stay_in_their_rooms(self) -> None:
        def check(path: Path) -> Iterator[tuple[int, str]]:
            for line, module in imports(path):
                rooms = LIBRARIES.get(module.split(".")[0])
                if rooms is not None and room_of(path) not in rooms and line not in type_only(path):
                    yield line, f"{module} is for {', '.join(rooms)}"

        assert broken(check) == []

    def test_of_the_tables_stay_in_the_store(self) -> None:
        def check(path: Path) -> Iterator[tuple[int, str]]:
            if room_of(path) != "store":
                yield from (
                    (line, module) for line, module in imports(path) if is_below(module, {"sendry.store.models"})
                )

        assert broken(check) == []


class TestNetwork:
    def test_is_reached_from_its_rooms_only(self) -> None:
        def check(path: Path) -> Iterator[tuple[int, str]]:
            if room_of(path) in NETWORK_ROOMS or name_of(path) in NETWORK_EXCEPT:
                return
            for line, module in imports(path):
                if is_below(module, NETWORK_MODULES) and line not in type_only(path):
                    yield line, module
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Attribute) and node.attr in NETWORK_CALLS:
                    yield node.lineno, node.attr

        assert broken(check) == []

    def test_the_store_asks_for_the_name_of_the_machine_only(self) -> None:
        used = {
            node.attr
            for node in ast.walk(tree_of(PACKAGE / "store/nodes.py"))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"
        }
        assert used == {"gethostname"}

    def test_exceptions_are_still_needed(self) -> None:
        assert [name for name in NETWORK_EXCEPT if not (PACKAGE / name).exists()] == []


class TestTime:
    @staticmethod
    def clock_calls(path: Path) -> Iterator[tuple[int, str]]:
        real: dict[str, str] = {}  # what a name of the file stands for
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom):
                real |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                real |= {alias.asname: alias.name for alias in node.names if alias.asname}
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
                first, *rest = ast.unparse(node).split(".")
                full = ".".join([*real.get(first, first).split("."), *rest])
                if ".".join(full.split(".")[-2:]) in CLOCKS:
                    yield node.lineno, full

    def test_is_given_and_not_taken(self) -> None:
        def check(path: Path) -> Iterator[tuple[int, str]]:
            if not any(name_of(path).startswith(edge) for edge in CLOCK_EDGES):
                yield from self.clock_calls(path)

        assert broken(check) == []

    @pytest.mark.parametrize("edge", CLOCK_EDGES)
    def test_is_taken_at_every_edge_that_is_listed(self, edge: str) -> None:
        here = [path for path in files() if name_of(path).startswith(edge)]
        assert any(list(self.clock_calls(path)) for path in here), f"{edge} needs no exception any more"


class TestFiles:
    @pytest.mark.parametrize("folder", ["sendry", "tests", "templates", "migrations"])
    def test_are_short_enough_to_be_read(self, folder: str) -> None:
        long = {
            path.relative_to(ROOT).as_posix(): lines
            for path in (ROOT / folder).rglob("*")
            if path.suffix in SOURCES and (lines := path.read_text().count("\n")) > MOST_LINES
        }
        assert long == {}

    def test_are_named_for_what_is_in_them(self) -> None:
        names = [
            path
            for folder in (PACKAGE, ROOT / "tests")
            for path in folder.rglob("*")
            if "__pycache__" not in path.parts
        ]
        assert [str(path.relative_to(ROOT)) for path in names if NO_NAMES.fullmatch(path.stem)] == []

    def test_say_at_the_top_what_they_are_for(self) -> None:
        modules = [*files(), *(ROOT / "migrations").glob("*.py"), ROOT / "app.py"]
        assert [str(path.relative_to(ROOT)) for path in modules if not ast.get_docstring(tree_of(path))] == []


class TestTables:
    """One room writes each table: the one that its model names."""

    @staticmethod
    def writers() -> dict[str, str]:
        """Room by table, from the docstrings of the models."""
        found: dict[str, str] = {}
        for node in tree_of(PACKAGE / "store/models.py").body:
            text = ast.get_docstring(node) if isinstance(node, ast.ClassDef) else None
            said = re.search(r"Writer: ([a-z]+)", text or "")
            if isinstance(node, ast.ClassDef) and said:
                named = re.search(r'table_name = "(\w+)"', ast.unparse(node).replace("'", '"'))
                found[named[1] if named else re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).lower()] = said[1]
        return found

    @staticmethod
    def written(path: Path) -> Iterator[tuple[int, str]]:
        """Line and table of every writing statement in the texts of a file."""
        statement = re.compile(
            r"\b(?:INSERT(?: OR [A-Z]+)? INTO|REPLACE INTO|DELETE FROM|UPDATE|TRUNCATE)\s+\"?([a-z_]+)"
        )
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from ((node.lineno, table) for table in statement.findall(node.value))

    def test_every_table_names_its_writer(self) -> None:
        models = [
            node.name
            for node in tree_of(PACKAGE / "store/models.py").body
            if isinstance(node, ast.ClassDef) and node.name != "Table"
        ]
        assert len(self.writers()) == len(models)
        assert self.writers()["message"] == "queue"
        assert self.writers()["account"] == "access"

    def test_are_written_by_their_room_only(self) -> None:
        writers = self.writers()

        def check(path: Path) -> Iterator[tuple[int, str]]:
            for line, table in self.written(path):
                owner = writers.get(table)
                if owner not in (None, room_of(path)) and table not in NO_SQL_OWNER.get(name_of(path), set()):
                    yield line, f"{table} is written by {owner}"

        assert broken(check) == []

    def test_the_search_finds_the_statements_there_are(self) -> None:
        found = {table for path in files() for _, table in self.written(path) if table in self.writers()}
        assert found >= {
            "message",
            "content",
            "recipient",
            "attempt",
            "event",
            "capture",
            "account",
            "metric",
            "node",
        }
