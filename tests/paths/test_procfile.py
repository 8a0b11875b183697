"""The Procfile as shipped, under a real runner, with nothing but PORT, DATABASE_URL and SENDRY_… to go by."""

from __future__ import annotations

import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.paths.receiving import free_port
from tests.paths.running import ROOT, Running, clean_environ
from tests.paths.waiting import until
from tests.postgres import Cluster
from tests.remote_mx import RemoteMx

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("procfile")]
KEY = "sk_procfile_0123456789"
BIN = Path(sys.executable).parent


def shapes() -> tuple[str, str]:
    """The Procfile as it is, and with the lines that are commented out in place of the first."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    inside = [line.removeprefix("# ") for line in lines if re.match(r"# \w+: ", line)]
    return "\n".join(lines) + "\n", "\n".join(inside) + "\n"


class Platform(Running):
    """What a platform does: sets variables, runs the Procfile, talks HTTP to PORT, ends it with SIGTERM."""

    def __init__(self, folder: Path, procfile: str, environ: Mapping[str, str]) -> None:
        super().__init__(folder, "")
        self.config.unlink()
        (folder / "app.py").symlink_to(ROOT / "app.py")
        (folder / "Procfile").write_text(procfile)
        self.port = free_port()
        self.places = {"panel, API": self.port}
        self.environ = {"PATH": f"{BIN}:/usr/bin:/bin", "PORT": str(self.port), **environ}

    def launch(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        with self._output("log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(BIN / "honcho"), "start"],  # -u: what it prints is read while it runs
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def start(self) -> None:
        process = self.launch()
        until(lambda: self.answers() or process.poll() is not None, "an answer of /health", 30)
        assert process.poll() is None, self.log

    def answers(self) -> bool:
        try:
            return self.http("GET", "/health").status == 200
        except OSError:
            return False

    def end(self) -> dict[str, int]:
        """End it as a platform does; gives the exit code of each process as the runner saw it."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.wait(30)
        ended = re.findall(r"system +\| (\w+\.\d) stopped \(rc=(-?\d+)\)", self.log)
        return {name: int(code) for name, code in ended}


Make = Callable[[str, Mapping[str, str]], Platform]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Make]:
    """Makes a platform with a Procfile and variables; it is ended whatever happens."""
    made: list[Platform] = []

    def make(procfile: str, environ: Mapping[str, str]) -> Platform:
        made.append(Platform(tmp_path, procfile, environ))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def url(postgres: Cluster) -> Iterator[str]:
    """An empty database, as a platform hands it out."""
    name = postgres.make_database()
    yield postgres.url(name).replace("postgresql://", "postgres://")
    postgres.drop_database(name)


def production(url: str, remote: RemoteMx) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "SENDRY_SMTP__DOMAIN": "example.com",
        "SENDRY_SMTP__LISTEN_ADDR": f"127.0.0.1:{free_port()}",
        "SENDRY_SMTP__SUBMISSION_ADDR": "",
        "SENDRY_SMTP__SMTPS_ADDR": "",
        "SENDRY_API__API_KEY": KEY,
        "SENDRY_DELIVERY__RELAY": f"127.0.0.1:{remote.port}",
        "SENDRY_QUEUE__PROCESS_INTERVAL": "1h",
    }


def send(platform: Platform, key: str = KEY) -> str:
    """One mail by API; gives its id."""
    draft = {"from": "a@example.com", "to": ["b@example.net"], "subject": "Hello", "body": "Hello"}
    answer = platform.api("POST", "/send", draft, key=key)
    assert answer.status == 202, answer.body
    identity: str = answer.json["id"]
    return identity


def status(platform: Platform, identity: str, key: str = KEY) -> str:
    found: str = platform.api("GET", f"/status/{identity}", key=key).json["status"]
    return found


def test_one_process_does_everything(platform: Make, url: str, remote: RemoteMx, tmp_path: Path) -> None:
    web = platform(shapes()[0], production(url, remote))
    web.start()
    assert web.api("POST", "/send", {}, key="").status == 401
    identity = send(web)
    assert remote.wait_for(1)[0].recipients == ["b@example.net"]
    until(lambda: status(web, identity) == "delivered", "the delivery")
    until(lambda: "/first-admin/" in web.log, "the link of the first admin")
    assert web.end() == {"web.1": 0}
    assert not (tmp_path / "data" / "queue.db").exists()  # everything is in PostgreSQL


def test_three_processes_share_the_work_and_wait_for_no_sweep(platform: Make, url: str, remote: RemoteMx) -> None:
    environ = production(url, remote)
    smtp_port = int(environ["SENDRY_SMTP__LISTEN_ADDR"].rpartition(":")[2])
    processes = platform(shapes()[1], environ)
    processes.start()
    until(lambda: processes.log.count("Sendry ") == 3, "three starts", 25)
    identity = send(processes)
    assert remote.wait_for(1)
    with smtplib.SMTP("127.0.0.1", smtp_port, timeout=20) as client:
        client.sendmail("a@example.com", ["c@example.net"], b"From: a@example.com\r\n\r\nx\r\n")
    assert remote.wait_for(2)[1].recipients == ["c@example.net"]
    until(lambda: status(processes, identity) == "delivered", "the delivery")
    assert processes.end() == {"web.1": 0, "smtp.1": 0, "worker.1": 0}


def test_without_a_domain_it_is_a_catcher_that_asks_for_a_key(platform: Make, url: str) -> None:
    web = platform(shapes()[0], {"DATABASE_URL": url, "SENDRY_SMTP__LISTEN_ADDR": f"127.0.0.1:{free_port()}"})
    web.start()
    shown = until(lambda: re.search(r"API key +(sk_\S+) +\(shown this once\)", web.log), "the key")
    assert web.api("GET", "/sandbox/messages", key="").status == 401
    identity = send(web, shown[1])
    (mail,) = web.api("GET", "/sandbox/messages", key=shown[1]).json["items"]
    assert mail["id"] == identity
    assert web.end() == {"web.1": 0}
    web.start()
    until(lambda: "Sendry " in web.log, "the block of the start")
    assert "API key" not in web.log
    assert status(web, identity, shown[1]) == "delivered"


def test_faults_of_the_variables_are_told_and_end_it(platform: Make) -> None:
    web = platform(shapes()[0], {"SENDRY_SMTP__DOMAIN": "exa mple", "SENDRY_QUEUE__WORKERS": "0"})
    web.launch()
    assert web.wait() != 0
    assert "environment SENDRY_SMTP__DOMAIN: smtp.domain" in web.log
    assert "environment SENDRY_QUEUE__WORKERS: queue.workers" in web.log
    assert web.end() == {"web.1": 1}


# Another WSGI server, for whoever wants one


def wsgi(folder: Path, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """`app:app` in waitress's own command."""
    return subprocess.Popen(
        [str(BIN / "waitress-serve"), f"--listen=127.0.0.1:{environ['TEST_PORT']}", "app:app"],
        cwd=folder,
        env={**clean_environ(), "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_app_app_answers_under_another_server(tmp_path: Path) -> None:
    port = free_port()
    environ = {"TEST_PORT": str(port), "SENDRY_API__API_KEY": KEY}
    process = wsgi(tmp_path, environ)
    sendry = Running(tmp_path, "")
    sendry.places = {"panel, API": port}

    def answers() -> bool:
        try:
            return sendry.http("GET", "/health").status == 200
        except OSError:
            return False

    try:
        until(lambda: answers() or process.poll() is not None, "an answer", 30)
        answer = sendry.api("POST", "/send", {"from": "a@example.com", "to": ["b@x.example"], "body": "x"}, key=KEY)
        assert answer.status == 202
        assert len(sendry.api("GET", "/sandbox/messages", key=KEY).json["items"]) == 1
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_app_app_tells_faults_without_a_traceback(tmp_path: Path) -> None:
    process = wsgi(
        tmp_path, {"TEST_PORT": str(free_port()), "SENDRY_QUEUE__WORKERS": "0", "SENDRY_SMTP__DOMAIN": "x y"}
    )
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "queue.workers" in said
    assert "smtp.domain" in said
    assert "Traceback" not in said


def test_app_app_tells_a_database_that_does_not_answer(tmp_path: Path) -> None:
    environ = {"TEST_PORT": str(free_port()), "DATABASE_URL": "postgresql://ann:hunter2@127.0.0.1:1/x"}
    process = wsgi(tmp_path, environ)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "storage.url" in said
    assert "hunter2" not in said
    assert "Traceback" not in said
