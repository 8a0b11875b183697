"""The end of DATA, line ends and dots: whatever the blocks, and whatever the sender hopes for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.listener.data import HEAD_TOO_BIG, MAX_HEAD, BodyReader, ChunkReader, Incoming
from sendry.mail.newlines import dot_stuff
from sendry.mail.reply import MESSAGE_TOO_BIG, Refused
from sendry.store.spool import SPOOL_FROM, Spool

SMUGGLING = (
    b"\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
)
BARE_LF_ONLY = (b"\n.\n", b"\n.\r\n", b"\r\n.\n")

pieces = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\0", b"a", b"..", b"\r\n.", b"\xff"]), max_size=12)


def read(octets: bytes, cuts: tuple[int, ...] = (), *, normalizes: bool = False) -> tuple[bytes, bool, bytes]:
    """(content, whether the end was found, what follows it) of octets that arrive cut at these places."""
    reader = BodyReader(normalizes=normalizes)
    content, start = b"", 0
    for end in (*sorted(cuts), len(octets)):
        if end > start and not reader.is_done:
            content += reader.feed(octets[start:end])
            if reader.is_done:
                return content, True, reader.rest + octets[end:]
            start = end
    return content, reader.is_done, reader.rest


def read_by_lines(octets: bytes) -> tuple[bytes, bool, bytes] | None:
    """The same by RFC 5321 in slow motion; None for octets that no mail may have before its end."""
    content, rest = b"", octets
    while True:
        line, end, behind = rest.partition(b"\r\n")
        if not end:
            return (content, False, b"") if not set(line) & set(b"\n\0") and b"\r" not in line[:-1] else None
        if line == b".":
            return content, True, behind
        if set(line) & set(b"\r\n\0"):
            return None
        content, rest = content + line.removeprefix(b".") + b"\r\n", behind


class TestEndOfData:
    def test_is_a_dot_alone_on_a_line(self) -> None:
        assert read(b"one\r\ntwo\r\n.\r\nQUIT\r\n") == (b"one\r\ntwo\r\n", True, b"QUIT\r\n")

    def test_may_come_first_of_all(self) -> None:
        assert read(b".\r\n") == (b"", True, b"")

    def test_is_not_a_dot_within_a_line(self) -> None:
        assert read(b"a.\r\n.b\r\n. \r\n")[1] is False

    @given(pieces, st.lists(st.integers(0, 40), max_size=6))
    def test_is_found_the_same_however_packets_are_cut(self, parts: list[bytes], cuts: list[int]) -> None:
        octets = b"".join(parts) + b"\r\n.\r\nrest"
        expected = read_by_lines(octets)
        if expected is None:
            with pytest.raises(Refused) as caught:
                read(octets, tuple(cut for cut in cuts if cut < len(octets)))
            assert str(caught.value.reply).startswith("554 5.6.0")
        else:
            assert read(octets, tuple(cut for cut in cuts if cut < len(octets))) == expected

    @given(st.lists(st.text("ab.\r\n", max_size=4), max_size=8), st.integers(1, 7))
    def test_gives_back_what_a_careful_sender_stuffed(self, lines: list[str], size: int) -> None:
        message = "".join(line.replace("\r", "").replace("\n", "") + "\r\n" for line in lines).encode()
        wire = b"".join(dot_stuff([message]))
        assert read(wire, tuple(range(size, len(wire), size))) == (message, True, b"")


class TestSmuggling:
    @pytest.mark.parametrize("form", SMUGGLING)
    def test_is_refused_in_each_of_twelve_forms(self, form: bytes) -> None:
        with pytest.raises(Refused):
            read(b"Subject: x\r\n\r\nbody" + form + b"MAIL FROM:<evil@example.com>\r\n")

    @pytest.mark.parametrize("form", SMUGGLING)
    def test_is_refused_wherever_the_packet_is_cut(self, form: bytes) -> None:
        octets = b"body" + form + b"MAIL FROM:<evil@example.com>\r\n.\r\n"
        for cut in range(1, len(octets)):
            with pytest.raises(Refused):
                read(octets, (cut,))

    @pytest.mark.parametrize("form", SMUGGLING)
    def test_is_refused_octet_by_octet(self, form: bytes) -> None:
        octets = b"body" + form + b"MAIL\r\n.\r\n"
        with pytest.raises(Refused):
            read(octets, tuple(range(1, len(octets))))


class TestNormalizing:
    @pytest.mark.parametrize("form", BARE_LF_ONLY)
    def test_never_ends_data_at_a_bare_line_feed(self, form: bytes) -> None:
        octets = b"body" + form + b"MAIL FROM:<evil@example.com>\r\n.\r\nQUIT\r\n"
        for cut in range(len(octets)):
            content, is_done, rest = read(octets, (cut,), normalizes=True)
            assert content == b"body\r\n\r\nMAIL FROM:<evil@example.com>\r\n"
            assert (is_done, rest) == (True, b"QUIT\r\n")

    @pytest.mark.parametrize("form", [form for form in SMUGGLING if form not in BARE_LF_ONLY])
    def test_still_refuses_bare_carriage_returns_and_nul(self, form: bytes) -> None:
        with pytest.raises(Refused):
            read(b"body" + form + b"MAIL\r\n.\r\n", normalizes=True)

    def test_turns_line_feeds_into_line_ends(self) -> None:
        assert read(b"a\nb\r\nc\n\nd\r\n.\r\n", normalizes=True)[0] == b"a\r\nb\r\nc\r\n\r\nd\r\n"

    @given(st.text("a.\n", max_size=12), st.lists(st.integers(0, 20), max_size=4))
    def test_undoes_the_stuffing_of_lines_that_end_bare(self, text: str, cuts: list[int]) -> None:
        message = text.encode() + b"\n"
        stuffed = b"".join(b"." * line.startswith(b".") + line for line in message.splitlines(keepends=True))
        wire = stuffed + b"\r\n.\r\n"
        content = read(wire, tuple(cut for cut in cuts if cut < len(wire)), normalizes=True)[0]
        assert content == message.replace(b"\n", b"\r\n") + b"\r\n"


class TestChunks:
    @pytest.mark.parametrize("form", SMUGGLING)
    def test_are_as_strict_about_line_ends(self, form: bytes) -> None:
        for cut in range(len(form)):
            reader = ChunkReader()
            with pytest.raises(Refused):
                reader.feed(b"body" + form[:cut]), reader.feed(form[cut:] + b"x"), reader.finish()

    def test_hold_no_meaning_in_dots(self) -> None:
        reader = ChunkReader()
        assert reader.feed(b"a\r\n.\r\n..b\r\n") + reader.finish() == b"a\r\n.\r\n..b\r\n"

    @given(st.binary(max_size=20), st.lists(st.integers(0, 20), max_size=5))
    def test_are_the_same_however_they_are_cut(self, octets: bytes, cuts: list[int]) -> None:
        octets = octets.replace(b"\r", b"").replace(b"\0", b"").replace(b"\n", b"\r\n")
        reader, got, start = ChunkReader(), b"", 0
        for end in (*sorted(cut for cut in cuts if cut < len(octets)), len(octets)):
            got, start = got + reader.feed(octets[start:end]), end
        got += reader.finish()
        assert got == (octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n")

    def test_may_be_normalized(self) -> None:
        reader = ChunkReader(normalizes=True)
        assert reader.feed(b"a\n") + reader.feed(b"b\r") + reader.feed(b"\n") + reader.finish() == b"a\r\nb\r\n"


class TestIncoming:
    def test_keeps_a_small_message_in_memory(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), 10_000)
        incoming.add(b"Subject: x\r\n\r\n")
        incoming.add(b"body\r\n")
        content = incoming.close()
        assert (content.head, content.body, content.spool) == (b"Subject: x\r\n\r\n", b"body\r\n", "")
        assert list(tmp_path.iterdir()) == []

    def test_spools_a_large_message_whole_and_says_where_its_head_ends(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), 10_000_000)
        message = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 40_000
        for start in range(0, len(message), 50_000):
            incoming.add(message[start : start + 50_000])
            if incoming.wants_writing:
                incoming.write()
        content = incoming.close()
        assert (tmp_path / content.spool).read_bytes() == message
        assert content.head == b"Subject: x\r\n\r\n"
        assert content.body == b""
        assert (content.spool_offset, content.size) == (len(content.head), len(message))

    def test_never_holds_more_than_the_limit_and_one_block(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), 10_000_000)
        incoming.add(b"Subject: x\r\n\r\n" + b"x" * (SPOOL_FROM - 14))
        assert not incoming.wants_writing
        incoming.add(b"x")
        assert incoming.wants_writing

    def test_refuses_what_is_too_large_and_keeps_nothing(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), SPOOL_FROM + 100_000)
        incoming.add(b"Subject: x\r\n\r\n" + b"x" * SPOOL_FROM)
        incoming.write()
        assert incoming.is_spooled
        incoming.add(b"x" * 100_000)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(Refused) as caught:
            incoming.close()
        assert caught.value.reply is MESSAGE_TOO_BIG

    def test_takes_a_message_of_exactly_the_limit(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), 20)
        incoming.add(b"\r\n" + b"x" * 18)
        assert incoming.close().size == 20

    def test_refuses_a_header_block_without_end(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), 10_000_000)
        incoming.add(b"X-Long: " + b"y" * 70 + b"\r\n")
        incoming.add(b"X-Long: yyyyyyyyyy\r\n" * (MAX_HEAD // 20))
        incoming.write()
        with pytest.raises(Refused) as caught:
            incoming.close()
        assert caught.value.reply is HEAD_TOO_BIG

    def test_notices_octets_beyond_ascii(self, tmp_path: Path) -> None:
        incoming = Incoming(Spool(tmp_path), 100)
        incoming.add(b"Subject: x\r\n\r\n")
        assert incoming.is_ascii
        incoming.add("é\r\n".encode())
        assert not incoming.is_ascii
