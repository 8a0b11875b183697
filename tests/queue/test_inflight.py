"""Notes of what is past the point of no return: they survive a kill, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sendry.queue.inflight import InFlight


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "in-flight-1"


def test_notes_of_a_killed_process_are_found_by_the_next_one(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from sendry.queue.inflight import InFlight\n"
        "notes = InFlight(Path(sys.argv[1])); notes.note(range(1, 101)); notes.clear(range(1, 51))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -9
    assert InFlight(path).left_over == frozenset(range(51, 101))


def test_what_was_cleared_is_not_left_over(path: Path) -> None:
    notes = InFlight(path)
    notes.note([1, 2, 3])
    notes.clear([2, 3, 4])
    notes.close()
    assert InFlight(path).left_over == {1}


def test_a_note_made_twice_is_cleared_once(path: Path) -> None:
    notes = InFlight(path)
    notes.note([1])
    notes.note([1, 2])
    notes.clear([1])
    assert (notes.holds(1), notes.holds(2)) == (False, True)
    assert InFlight(path).left_over == {2}


def test_what_is_left_over_stays_until_it_is_forgotten_however_much_is_noted_since(path: Path) -> None:
    InFlight(path).note([1, 2])
    second = InFlight(path)
    second.note([3, 4])
    assert InFlight(path).left_over == {1, 2, 3, 4}
    second.forget_left_over()
    assert second.left_over == frozenset()
    assert InFlight(path).left_over == {3, 4}


def test_places_are_used_again(path: Path) -> None:
    notes = InFlight(path)
    for start in range(0, 300_000, 30_000):
        notes.note(range(start + 1, start + 30_001))
        notes.clear(range(start + 1, start + 30_001))
    assert InFlight(path).left_over == frozenset()
    assert path.stat().st_size == 8 * 65_536


def test_more_than_there_is_room_for_is_said(path: Path) -> None:
    with pytest.raises(RuntimeError, match="more than 65536 recipients in flight"):
        InFlight(path).note(range(1, 65_538))


def test_what_was_delivered_is_told_from_what_was_only_sent(path: Path) -> None:
    mine = InFlight(path)
    mine.note([1, 2])
    mine.note_delivered([2, 3])
    assert mine.of_all_nodes().sent == {1, 2}
    assert mine.of_all_nodes().delivered == {2}
    assert InFlight(path).left_over == {1, 2}
    mine.clear([1, 2])
    assert mine.of_all_nodes().sent == frozenset()


def test_the_notes_of_all_nodes_of_a_machine_are_read_together(path: Path) -> None:
    mine, dead = InFlight(path), InFlight(path.with_name("in-flight-2"))
    mine.note([1, 2])
    dead.note([9])
    dead.close()
    path.with_name("in-flight-3").write_bytes(b"\x07\0\0\0\0\0\0\0torn")
    path.with_name("queue.db").write_bytes(b"\x63\0\0\0\0\0\0\0")
    assert mine.of_all_nodes().sent == {1, 2, 7, 9}


def test_notes_made_by_many_threads_are_all_there(path: Path) -> None:
    notes = InFlight(path)

    def work(thread: int) -> None:
        for number in range(200):
            notes.note([thread * 1000 + number + 1])
            if number % 2:
                notes.clear([thread * 1000 + number + 1])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert InFlight(path).left_over == {t * 1000 + n + 1 for t in range(4) for n in range(0, 200, 2)}


def test_an_answer_after_the_end_leaves_the_note_for_the_next_life(path: Path) -> None:
    notes = InFlight(path)
    notes.note([1])
    notes.close()
    notes.clear([1])
    notes.close()
    assert InFlight(path).left_over == {1}
