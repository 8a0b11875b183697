"""Every command of the README does what the README says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths.running import ROOT, Running, clean_environ
from tests.paths.waiting import until

README = (ROOT / "README.md").read_text()
OWN_PORTS = {
    "SENDRY_SMTP__LISTEN_ADDR": "127.0.0.1:0",
    "SENDRY_API__LISTEN_ADDR": "127.0.0.1:0",
    "SENDRY_SMTP__SUBMISSION_ADDR": "127.0.0.1:0",
    "SENDRY_SMTP__SMTPS_ADDR": "",
}


def commands() -> list[str]:
    """The commands of all shell blocks, each in one line."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+", " ", line.partition("  #")[0]).strip() for line in lines]


def command(beginning: str) -> str:
    """The one command that begins so."""
    (found,) = [line for line in commands() if line.startswith(beginning)]
    return found


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the README in a folder of the test's own, by the interpreter that runs the tests."""
    words = [sys.executable if word == ".venv/bin/python" else word for word in shlex.split(line)]
    words = [str(ROOT / "app.py") if word == "app.py" else word for word in words]
    environ = clean_environ() | OWN_PORTS
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=30)


def test_these_are_all_the_commands() -> None:
    beginnings = [
        "make run",
        "make test",
        "curl ",
        *(f".venv/bin/python app.py {n} " for n in ("init", "config", "serve")),
    ]
    assert [next(b for b in beginnings if f"{line} ".startswith(b)) for line in commands()] == beginnings


@pytest.mark.parametrize(("target", "does"), [("run", "python app.py serve"), ("test", "pytest")])
def test_make_has_the_two_targets(target: str, does: str) -> None:
    # What it would do; the tests themselves are the proof of the rest.
    ran = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert does in ran.stdout


def test_the_curl_of_the_first_screen_sends_a_mail_that_arrives_in_the_inbox(tmp_path: Path) -> None:
    sendry = Running(tmp_path, "", environ=OWN_PORTS)
    sendry.config.unlink()
    sendry.arguments = ("serve",)
    with sendry:
        line = command("curl").replace("127.0.0.1:8080", f"127.0.0.1:{sendry.http_port}")
        ran = run(f"{line} --fail --silent --show-error", tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert set(json.loads(ran.stdout)) == {"id", "status"}
        page = sendry.http("GET", "/sandbox").body.decode()
        assert "Your code" in page
        assert "481 920" in page
        assert sendry.send("x@anywhere.test", ["b@example.net"], subject="By SMTP")
        until(lambda: "By SMTP" in sendry.http("GET", "/sandbox").body.decode(), "the second mail")


def test_init_validate_and_serve(tmp_path: Path) -> None:
    made = run(command(".venv/bin/python app.py init"), tmp_path)
    assert made.returncode == 0, made.stderr
    assert "_dmarc.example.com." in made.stdout
    key = re.search(r"API key +(sk_\S+)", made.stdout)
    assert key is not None
    checked = run(command(".venv/bin/python app.py config"), tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "config.toml is valid" in checked.stdout

    serve = shlex.split(command(".venv/bin/python app.py serve"))
    sendry = Running(tmp_path, (tmp_path / "config.toml").read_text(), environ=OWN_PORTS)
    run(command(".venv/bin/python app.py init") + " --force", tmp_path)  # the file that was overwritten
    sendry.arguments = tuple(serve[2:])
    key = re.search(r'api_key = "(sk_\S+)"', (tmp_path / "config.toml").read_text())
    assert key is not None
    with sendry:
        assert {"SMTP", "submission", "panel, API"} <= sendry.places.keys()
        assert "/first-admin/" in sendry.said
        assert sendry.api("GET", "/queue", key=key[1]).status == 200
        assert sendry.api("GET", "/queue", key="").status == 401
        assert sendry.stop() == 0
