"""What the guides show is run: every curl command answers as told, every snippet of Python works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.conftest import VALUES
from tests.docs.guides import DOCS, Block, Command, blocks, commands, curl_lines, read, spans
from tests.docs.running import Sendry, run_curl

API = DOCS / "api.md"
SANDBOX = DOCS / "sandbox.md"
# Which Sendry a guide talks to, by the name of its fixture.
SPOKEN_TO = {API: "production", SANDBOX: "sandbox"}

_COMMANDS = [
    pytest.param(guide, command, id=f"{guide.name}:{command.line}")
    for guide in SPOKEN_TO
    for command in commands(read(guide))
]
_SNIPPETS = [
    pytest.param(guide, block, id=f"{guide.name}:{block.line}")
    for guide in SPOKEN_TO
    for block in blocks(read(guide), "python")
    if "import " in block.text
]


@pytest.mark.parametrize("guide", SPOKEN_TO, ids=lambda guide: guide.name)
def test_every_command_of_a_guide_says_its_status(guide: Path) -> None:
    assert len(commands(read(guide))) == curl_lines(read(guide)) > 0


@pytest.mark.parametrize(("guide", "command"), _COMMANDS)
def test_a_command_answers_what_the_guide_says(
    guide: Path, command: Command, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    assert shutil.which("curl"), "install the Debian package curl"
    sendry: Sendry = request.getfixturevalue(SPOKEN_TO[guide])
    wanted = set(re.findall(r"\$([A-Z]+)", command.text)) - {"KEY"}
    values = {name: VALUES[name](sendry) for name in wanted}
    answer = tmp_path / "answer"
    assert run_curl(sendry, command.text, answer, values) == command.status, answer.read_text()
    if command.answer:
        answered, shown = json.loads(answer.read_text()), json.loads(command.answer)
        # What an example leaves out for brevity, the guide names.
        left_out = [name for name in answered if name not in shown]
        assert [name for name in left_out if name not in spans(read(guide))] == []
        assert form_of(shown) == form_of({name: answered[name] for name in answered if name in shown})


@pytest.mark.parametrize(("guide", "snippet"), _SNIPPETS)
def test_a_snippet_of_python_works(
    guide: Path, snippet: Block, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sendry: Sendry = request.getfixturevalue(SPOKEN_TO[guide])
    # What a snippet defines as a test is run as one.
    text = (
        sendry.as_here(snippet.text)
        + "\nfor name in [name for name in globals() if name.startswith('test_')]:\n    globals()[name]()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env=sendry.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() or "def test_" in snippet.text


def form_of(value: Any) -> Any:
    """What two answers of the same kind have in common: names all the way down, and which values there are none."""
    if isinstance(value, dict):
        return {name: form_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [form_of(inner) for inner in value]
    return type(value).__name__
