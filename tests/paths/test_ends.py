"""However it ends, nothing acknowledged is lost, nobody delivered is tried again, nothing is stuck."""

from __future__ import annotations

import random
import signal
import threading

import pytest

from tests.paths.conftest import Start
from tests.paths.sending import Load, arrivals
from tests.paths.waiting import until
from tests.remote_mx import Hold, RemoteMx, Slow


def test_a_restart_delivers_what_waited(start: Start, outward: str, remote: RemoteMx) -> None:
    remote.say("MAIL", "421 4.3.2 come back later")
    sendry = start(outward)
    ids = [sendry.send("a@example.com", [f"r{number}@example.net"]) for number in range(5)]
    sendry.wait_for_status(ids[0], "deferred")
    assert sendry.stop() == 0
    remote.say("MAIL", "250 ok")
    sendry.start()
    remote.wait_for(5)
    for identity in ids:
        sendry.wait_for_status(identity, "delivered")
    assert arrivals(remote.messages) == {f"r{number}@example.net": 1 for number in range(5)}


def test_an_orderly_end_under_load_loses_nothing_and_repeats_nothing(
    start: Start, outward: str, remote: RemoteMx
) -> None:
    remote.say("dot", Slow(0.01))
    sendry = start(outward)
    load = Load(sendry, "m")
    load.start()
    load.wait_for(100)
    sendry.signal(signal.SIGTERM)
    assert sendry.wait() == 0
    load.end()
    assert not [refusal for refusal in load.refusals if refusal[0] != 421]
    sendry.start()
    until(lambda: not set(load.acknowledged) - arrivals(remote.messages).keys(), "everything acknowledged")
    until(lambda: sendry.http("GET", "/health").json["queue"]["sending"] == 0, "the end of all attempts")
    counts = sendry.http("GET", "/health").json["queue"]
    assert (counts["pending"], counts["deferred"], counts["failed"]) == (0, 0, 0)
    assert set(arrivals(remote.messages).values()) == {1}


def test_what_is_in_flight_at_the_end_is_finished(start: Start, outward: str, remote: RemoteMx) -> None:
    held = Hold(threading.Event())
    remote.say("dot", held)
    sendry = start(outward)
    identity = sendry.send("a@example.com", ["b@example.net"])
    assert held.reached.wait(10)
    sendry.signal(signal.SIGTERM)
    until(lambda: sendry.logged(msg="stopping"), "the signal to be seen")
    assert sendry.process is not None
    assert sendry.process.poll() is None
    held.released.set()
    assert sendry.wait() == 0
    sendry.start()
    told = sendry.wait_for_status(identity, "delivered")
    assert told["recipients"][0]["attempts"] == 1
    assert len(remote.messages) == 1


def test_what_is_not_finished_in_time_is_given_back(start: Start, outward: str, remote: RemoteMx) -> None:
    held = Hold(threading.Event())
    remote.say("RCPT", held)
    sendry = start(outward + 'server.shutdown_timeout = "1s"\n')
    identity = sendry.send("a@example.com", ["b@example.net"])
    assert held.reached.wait(10)
    assert sendry.stop() == 0
    remote.say("RCPT", "250 ok")
    held.released.set()
    sendry.start()
    told = sendry.wait_for_status(identity, "delivered")
    assert told["recipients"][0]["is_possible_duplicate"] is False  # no content had gone out
    assert len(remote.messages) == 1


def test_kill_9_under_load_loses_nothing_acknowledged(start: Start, outward: str, remote: RemoteMx) -> None:
    chance = random.Random(7)
    remote.say("dot", Slow(0.005))
    sendry = start(outward)
    loads: list[Load] = []
    for number in range(3):
        load = Load(sendry, f"round{number}")
        loads.append(load)
        load.start()
        load.wait_for(chance.randrange(40, 120))
        sendry.kill()
        load.end()
        sendry.start()
    acknowledged = {recipient for load in loads for recipient in load.acknowledged}
    asked = {recipient for load in loads for recipient in load.asked}
    until(lambda: not acknowledged - arrivals(remote.messages).keys(), "everything acknowledged", 25)

    def is_settled() -> bool:
        counts = sendry.http("GET", "/health").json["queue"]
        return bool(counts["pending"] == counts["sending"] == counts["deferred"] == 0)

    until(is_settled, "an empty queue")
    seen = arrivals(remote.messages)
    assert seen.keys() <= asked
    repeated = {recipient for recipient, times in seen.items() if times > 1}
    assert all(times <= 2 for times in seen.values())
    # Only what was in flight may come twice, and that is at most what the connections to one host hold.
    assert len(repeated) <= 3 * 10


@pytest.mark.parametrize("what", ["message", "content"])
def test_a_full_disk_is_told_and_takes_nothing(what: str, start: Start, outward: str, remote: RemoteMx) -> None:
    import sqlite3

    sendry = start(outward)
    sendry.wait_for_status(sendry.send("a@example.com", ["b@example.net"]), "delivered")
    with sqlite3.connect(sendry.folder / "data" / "queue.db", timeout=10) as database:
        database.execute(
            f"CREATE TRIGGER full BEFORE INSERT ON {what} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    database.close()
    with sendry.smtp() as client:
        client.ehlo()
        client.mail("a@example.com")
        client.rcpt("b@example.net")
        code, text = client.data(b"From: <a@example.com>\r\n\r\nx\r\n")
    assert code == 451
    assert b"disk" not in text
    answer = sendry.api("POST", "/send", {"from": "a@example.com", "to": ["b@example.net"], "body": "x"})
    assert answer.status == 503
    with sqlite3.connect(sendry.folder / "data" / "queue.db", timeout=10) as database:
        database.execute("DROP TRIGGER full")
    database.close()
    sendry.wait_for_status(sendry.send("a@example.com", ["b@example.net"]), "delivered")
    assert len(remote.messages) == 2
