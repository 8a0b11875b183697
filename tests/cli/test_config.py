"""`config validate` tells every fault and every risk; `config show` tells every value and no secret."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from sendry.cli import main

GOOD = """
[server]
hostname = "mail.example.com"
[smtp]
domain = "example.com"
listen_addr = "127.0.0.1:25"
submission_addr = ""
smtps_addr = ""
[api]
api_key = "sk_0123456789"
[queue]
max_retries = 40
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> str:
    path = folder / "c.toml"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_a_valid_file_is_said_to_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, GOOD)
    assert main(["config", "validate", "-c", path]) == 0
    assert capsys.readouterr() == (f"{path} is valid\n", "")


def test_faults_come_with_file_and_line_then_warnings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, GOOD.replace("40", "5") + "workers = 0\n[smpt]\n")
    assert main(["-c", path, "config", "validate"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    faults = err.splitlines()
    assert faults[0].startswith(f"{path}:13: queue.workers: 0 is wrong; allowed is a whole number")
    assert faults[1] == f"{path}:14: smpt: unknown key; did you mean smtp?"
    assert faults[2].startswith(f"warning: {path}:12: queue.max_retries: mail is given up after 75m")
    assert len(faults) == 3


def test_no_warning_repeats_a_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, GOOD.replace("40", '"many"'))
    assert main(["config", "validate", "-c", path]) == 1
    assert "warning: " not in capsys.readouterr().err


def test_warnings_alone_are_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, GOOD.replace("40", "5"))
    assert main(["config", "validate", "-c", path]) == 0
    assert "warning" in capsys.readouterr().err


def test_the_sandbox_profile_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "validate"]) == 0
    told = capsys.readouterr().out
    assert told == "no configuration file; smtp.domain is not set, so this is the sandbox profile\n"


def test_the_file_is_found_as_serve_finds_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config.toml").write_text("[queue]\nworkers = 0\n")
    assert main(["config", "validate"]) == 1
    assert capsys.readouterr().err.startswith("config.toml:2: ")
    monkeypatch.setenv("SENDRY_CONFIG", write(folder, "[queue]\nworkers = -1\n"))
    assert main(["config", "validate"]) == 1
    assert f"{folder}/c.toml:2: " in capsys.readouterr().err
    assert main(["config", "validate", "--config", str(folder / "none.toml")]) == 1
    assert capsys.readouterr().err == f"{folder}/none.toml: cannot be read: No such file or directory\n"


def test_validate_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, GOOD.replace("40", "5") + "workers = 0\n")
    assert main(["config", "validate", "--json", "-c", path]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], report["profile"]) == (False, "production")
    assert {key: report["faults"][0][key] for key in ("key", "line", "source")} == {
        "key": "queue.workers",
        "line": 13,
        "source": path,
    }
    assert report["warnings"][0]["key"] == "queue.max_retries"


def test_show_prints_values_with_origin_as_toml(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDRY_QUEUE__WORKERS", "2")
    path = write(folder, GOOD)
    assert main(["config", "show", "-c", path]) == 0
    out = capsys.readouterr().out
    assert f'smtp.domain = "example.com"  # {path}:5\n' in out
    assert "queue.workers = 2  # environment SENDRY_QUEUE__WORKERS\n" in out
    assert 'queue.retry_interval = "5m"  # default\n' in out
    assert 'api.api_key = "********"' in out
    assert "sk_0123456789" not in out
    assert tomllib.loads(out)["smtp"]["auth"]["users"] == {}


def test_show_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["file"], shown["profile"]) == (None, "sandbox")
    settings = {item["key"]: (item["value"], item["origin"]) for item in shown["settings"]}
    assert settings["smtp.listen_addr"] == ("127.0.0.1:1025", "sandbox profile")
    assert settings["dlq.enabled"] == (True, "default")


def test_show_of_a_faulty_file_tells_the_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "-c", write(folder, "[queue]\nworkers = 0\n")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "queue.workers" in err
