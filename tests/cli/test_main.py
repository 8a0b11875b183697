"""The front of the command line: which command, which exit code, and nothing imported that is not needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sendry import __version__
from sendry.cli import COMMANDS, main


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sendry {__version__}\n" * 2


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["srve"], "unknown command srve; did you mean serve?"),
        (["xyzzy"], "unknown command xyzzy; commands are serve, init"),
        (["--roles", "web"], "unknown option --roles; options of a command stand after it"),
        (["-c"], "-c needs a file"),
        (["version", "--jso"], "unrecognized arguments: --jso"),
        (["config"], "the following arguments are required"),
        (["config", "validte"], "invalid choice: 'validte'"),
        (["serve", "--roles", "web,cook"], "--roles: unknown role cook; roles are web, smtp, worker"),
        (["serve", "--roles", ","], "--roles: no role is given"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(f"  {name} " in overview and command.help in overview for name, command in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"usage: sendry {name}" in capsys.readouterr().out


def test_the_front_imports_nothing_heavy() -> None:
    heavy = ["flask", "peewee", "aiosmtpd", "apscheduler", "argon2", "cryptography", "waitress", "prometheus_client"]
    code = (
        f"import sys; from sendry.cli import main; main(['version']); print([n for n in {heavy} if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [f"sendry {__version__}", "[]"]


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    script = f"{sys.executable} -m sendry.cli config show | true"
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stderr == ""


def test_a_configuration_with_faults_does_not_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDRY_QUEUE__WORKERS", "none")
    monkeypatch.setenv("SENDRY_DLQ__ENABLED", "maybe")
    assert main(["serve"]) == 1
    assert main([]) == 1
    told = capsys.readouterr().err
    assert told.count("queue.workers") == told.count("dlq.enabled") == 2
