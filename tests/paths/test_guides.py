"""docs/operation.md and docs/deploy.md: every command runs, every metric exists, as the pages say."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.paths.running import PRODUCTION, ROOT, Running
from tests.paths.test_metrics import scrape
from tests.remote_mx import RemoteMx

pytestmark = pytest.mark.xdist_group("guides")
OPERATION = (ROOT / "docs" / "operation.md").read_text()
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


def shell_lines(text: str) -> list[str]:
    """The lines of all shell blocks, without their remarks."""
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).splitlines()
    return [line.partition(" #")[0].strip() for line in lines]


COMMANDS = [line.removeprefix("sendry ") for line in shell_lines(OPERATION) if line.startswith("sendry ")]


@dataclass
class House:
    """A server with mail that was put off and mail that was given up."""

    sendry: Running
    remote: RemoteMx
    folder: Path

    def deferred(self) -> str:
        return self.sendry.wait_for_status(self.sendry.send("a@example.com", ["later@example.net"]), "deferred")["id"]  # type: ignore[no-any-return]  # JSON

    def failed(self) -> str:
        return self.sendry.wait_for_status(self.sendry.send("", ["no@example.net"]), "failed")["id"]  # type: ignore[no-any-return]  # JSON


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    more = 'metrics.enabled = true\nmetrics.listen_addr = "127.0.0.1:0"\nqueue.retry_interval = "1h"\n'
    base = PRODUCTION.replace('queue.retry_interval = "1s"\n', "")
    replies = {"later@example.net": "451 4.7.1 greylisted", "no@example.net": "550 5.1.1 no such user"}
    with RemoteMx() as remote:
        remote.judge_recipient = replies.get
        relay = f'delivery.relay = "127.0.0.1:{remote.port}"\n'
        with Running(folder, base + more + relay) as sendry:
            ran = sendry.command("dkim", "generate", "--domain", "example.com", "--out", "keys", "--json")
            assert ran.returncode == 0
            with sendry.config.open("a") as file:
                key = f'selector = "sendry"\nkey_file = "{folder}/keys/example.com/sendry.pem"\n'
                file.write(f'[domains."example.com".dkim]\n{key}')
            yield House(sendry, remote, folder)


# What must be there before a command, by how it begins; what it gives stands in for the id.
BEFORE: dict[str, Callable[[House], str]] = {
    "queue list": House.deferred,
    "queue show": House.deferred,
    "queue retry": House.deferred,
    "queue delete": House.deferred,
    "dlq": House.failed,
}
# What only differs because the tests have folders and ports of their own.
HERE: dict[str, Callable[[House], str]] = {
    "/srv/backup/today": lambda house: str(house.folder / "backup"),
    "/var/lib/sendry/dkim": lambda house: str(house.folder / "more-keys"),
    "mx.example.net": lambda house: f"127.0.0.1 --port {house.remote.port}",
    "you@example.net": lambda house: f"you@example.net --port {house.sendry.smtp_port}",
}


def test_the_page_shows_commands_of_every_group() -> None:
    groups = {line.split()[0] for line in COMMANDS}
    assert groups == {"queue", "dlq", "user", "test", "dkim", "hash-password", "config", "migrate", "backup", "serve"}


@pytest.mark.parametrize("line", dict.fromkeys(line for line in COMMANDS if not line.startswith("serve")))
def test_a_command_of_the_page_does_its_work_beside_the_server(line: str, house: House) -> None:
    told = line
    for beginning, prepare in BEFORE.items():
        if line.startswith(beginning):
            told = told.replace("0am2ph9kc0000", prepare(house))
    for there, here in HERE.items():
        told = told.replace(there, here(house))
    if line.startswith(("user delete", "user reset")):
        house.sendry.command("user", "create", "root@example.com", "--generate")  # the last admin stays
        house.sendry.command("user", "create", "ann@example.com", "--generate")
    if line.startswith("user create"):
        house.sendry.command("user", "create", "root@example.com", "--generate")
        house.sendry.command("user", "delete", "ann@example.com")
    if line.startswith("backup"):
        subprocess.run(["rm", "-rf", str(house.folder / "backup")], check=True)
    ran = house.sendry.command(*shlex.split(told), typed="correct horse\n")
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), ran.stderr
    assert ran.stdout


def test_every_metric_that_the_page_names_is_there_and_none_is_missing(house: House) -> None:
    named = set(re.findall(r"`(sendry_\w+)`", OPERATION))
    found = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in scrape(house.sendry)}
    assert {name for name in found if name.startswith("sendry_")} <= named
    labelled = {"sendry_smtp_connections_total", "sendry_api_requests_total", "sendry_api_errors_total"}
    labelled |= {"sendry_api_request_duration_seconds", "sendry_delivery_duration_seconds"}
    assert named - found <= labelled  # series that begin with their first event


def test_roles_are_the_ones_that_serve_takes() -> None:
    from sendry.service import Role

    assert re.findall(r"^\| `(\w+)` \| .* \| any \|$", DEPLOY, re.MULTILINE) == [role.value for role in Role]


def test_the_unit_runs_commands_that_exist() -> None:
    (unit,) = re.findall(r"```ini\n(.*?)```", DEPLOY, re.DOTALL)
    (start,) = re.findall(r"^ExecStart=/opt/sendry/\.venv/bin/python app\.py (.*)$", unit, re.MULTILINE)
    assert shlex.split(start) == ["serve", "-c", "/etc/sendry/config.toml"]
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    from sendry.config import Config

    assert int(seconds) > Config().server.shutdown_timeout.total_seconds()
