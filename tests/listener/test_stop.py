"""The end of a listener: new ones refused, idle ones told, messages in hand finished."""

from __future__ import annotations

import socket
import threading

import pytest

from sendry.config.values import HostPort
from sendry.listener.server import ListenerError, bind
from tests.listener.client import Client
from tests.listener.conftest import Listen, Listening
from tests.listener.intake import RecordingIntake

MESSAGE = b"Subject: x\r\n\r\nbody\r\n.\r\n"


def stopping(server: Listening, seconds: float = 20.0) -> threading.Thread:
    """A stop that is under way: new connections are refused already."""
    thread = threading.Thread(target=server.stop, args=(seconds,))
    thread.start()
    while True:
        try:
            Client(server.port, greeted=False).socket.close()
        except ConnectionRefusedError:
            return thread
        except ConnectionResetError:  # it waited to be accepted when the listener closed
            continue


class TestStop:
    def test_tells_idle_sessions_and_refuses_new_ones(self, server: Listening) -> None:
        client = server.connect().hello()
        server.stop(1000.0)  # it does not wait for them
        assert client.rest() == b"421 4.3.2 Service shutting down\r\n"
        with pytest.raises(ConnectionRefusedError):
            server.connect()

    def test_lets_a_message_arrive_and_be_committed(self, server: Listening, intake: RecordingIntake) -> None:
        client = server.connect().hello().transaction()
        client.send(b"Subject: x\r\n\r\n")
        thread = stopping(server)
        client.send(b"body\r\n.\r\n")
        assert client.reply().startswith(b"250 2.0.0 ")
        assert client.rest().startswith(b"421 4.3.2 ")
        thread.join()
        assert intake.only.content.body == b"body\r\n"

    def test_waits_for_a_commit(self, server: Listening, intake: RecordingIntake) -> None:
        intake.hold()
        client = server.connect().hello().transaction()
        client.send(MESSAGE)
        assert intake.handed_in.wait(20)
        thread = stopping(server)
        intake.release()
        assert client.reply().startswith(b"250 2.0.0 ")
        thread.join()

    def test_breaks_off_what_does_not_end_in_time_and_says_so(
        self, server: Listening, intake: RecordingIntake
    ) -> None:
        client = server.connect().hello().transaction()
        client.send(b"Subject: x\r\n\r\nthe beginn")
        server.stop(0.1)
        assert client.rest() == b"421 4.3.2 Service shutting down\r\n"
        assert intake.envelopes == []

    def test_does_not_wait_for_those_that_linger(self, server: Listening) -> None:
        client = server.connect()
        client.send(b"GET / HTTP/1.0\r\n")
        assert client.rest().startswith(b"554 ")
        server.stop(0.1)

    def test_twice_is_once(self, server: Listening) -> None:
        server.stop()
        server.servers.stop(1.0)


class TestStart:
    def test_tells_which_setting_cannot_be_bound_and_why(self, listen: Listen) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ListenerError) as caught:
                bind("smtp.listen_addr", HostPort("127.0.0.1", port))
        assert (
            str(caught.value) == f'smtp.listen_addr = "127.0.0.1:{port}": cannot listen there: Address already in use'
        )

    def test_of_one_that_cannot_be_bound_frees_the_others(self, server: Listening, listen: Listen) -> None:
        free = bind("x", HostPort("127.0.0.1", 0))
        port = free[0].getsockname()[1]
        free[0].close()
        with pytest.raises(ListenerError, match=r"smtp\.submission_addr"):
            listen(places=(port, server.port))
        bind("x", HostPort("127.0.0.1", port))[0].close()

    def test_listens_on_all_interfaces_and_families_at_one_port(self) -> None:
        sockets = bind("smtp.listen_addr", HostPort("", 0))
        try:
            assert len({each.getsockname()[1] for each in sockets}) == 1
            assert socket.AF_INET in {each.family for each in sockets}
        finally:
            for each in sockets:
                each.close()

    def test_takes_the_port_again_right_after_a_stop(self, listen: Listen) -> None:
        server = listen()
        client = server.connect().hello()
        server.stop()
        client.rest()
        listen(places=(server.port,))
