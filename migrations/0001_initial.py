"""The first tables. Frozen: a later change is a migration of its own."""

from __future__ import annotations

from peewee import (
    SQL,
    BigIntegerField,
    BlobField,
    BooleanField,
    Check,
    CompositeKey,
    Database,
    IntegerField,
    Model,
    SmallIntegerField,
    TextField,
)


class Table(Model):
    class Meta:
        legacy_table_names = False


class Message(Table):
    """One accepted mail."""

    id = BigIntegerField(primary_key=True)
    sender = TextField()  # envelope sender, "" is the null sender
    header_from = TextField(default="")  # the From field, decoded, for people
    subject = TextField(default="")  # decoded, cut to 255 characters
    header_id = TextField(default="", index=True)  # Message-ID without brackets
    domain = TextField()  # the own domain that sends it
    mode = TextField()  # sendry.domains.Mode at acceptance
    status = TextField()  # derived from the recipients, see queue.states
    origin = TextField()  # smtp, api, campaign, sendry
    origin_name = TextField(default="")  # login, key name, campaign id
    client_ip = TextField(default="")
    size = IntegerField()  # octets, with the fields we added
    recipient_count = IntegerField()
    priority = SmallIntegerField(default=0)  # 0 transactional, 1 bulk
    smtputf8 = BooleanField(default=False)
    eight_bit = BooleanField(default=False)  # BODY=8BITMIME
    ret = TextField(default="")  # DSN: FULL, HDRS or ""
    envid = TextField(default="")
    spool = TextField(default="")  # file below the spool folder that holds the rest of the content, or ""
    spool_offset = IntegerField(default=0)  # where in that file the rest begins
    metadata = TextField(default="")  # JSON object of the caller, or ""
    tags = TextField(default="")  # JSON list of the caller, or ""
    created_at = BigIntegerField()
    updated_at = BigIntegerField()

    class Meta:
        indexes = ((("domain", "id"), False), (("status", "id"), False))


Message.add_index(Message.index(Message.spool, where=SQL("spool <> ''"), name="message_spool"))


class Content(Table):
    """The octets of a message, once: part 0 begins with the header block."""

    message_id = BigIntegerField()
    part = IntegerField()
    octets = BlobField()

    class Meta:
        primary_key = CompositeKey("message_id", "part")


class Recipient(Table):
    """One envelope address of one message: state, schedule, lease."""

    id = BigIntegerField(primary_key=True)
    message_id = BigIntegerField(index=True)
    address = TextField(index=True)  # where the mail goes
    destination = TextField()  # domain of the address, lower-case A-label
    original = TextField(default="")  # who was addressed, when redirect or copy put another address in
    route = TextField()  # mx, relay, redirect, copy, capture
    status = TextField()  # sendry.queue.states.Status
    priority = SmallIntegerField(default=0)
    next_attempt_at = BigIntegerField(null=True)  # set exactly while it waits (pending, deferred)
    attempts = IntegerField(default=0)
    lease_until = BigIntegerField(null=True)  # set exactly while it is sending
    lease_node = SmallIntegerField(null=True)
    is_possible_duplicate = BooleanField(default=False)  # an earlier attempt ended unknown
    crashes = SmallIntegerField(default=0)
    last_code = SmallIntegerField(default=0)
    last_enhanced = TextField(default="")
    last_response = TextField(default="")
    bounce_class = TextField(default="")
    notify = TextField(default="")  # DSN: "", NEVER or a list of SUCCESS,FAILURE,DELAY
    orcpt = TextField(default="")
    is_delay_told = BooleanField(default=False)
    created_at = BigIntegerField()
    updated_at = BigIntegerField()

    class Meta:
        constraints = [
            Check("(next_attempt_at IS NOT NULL) = (status IN ('pending', 'deferred'))"),
            Check("(lease_until IS NOT NULL) = (status = 'sending')"),
        ]


Recipient.add_index(
    Recipient.index(
        Recipient.priority,
        Recipient.next_attempt_at,
        where=SQL("next_attempt_at IS NOT NULL"),
        name="recipient_due",
    )
)
Recipient.add_index(
    Recipient.index(Recipient.lease_until, where=SQL("lease_until IS NOT NULL"), name="recipient_lease")
)


class Attempt(Table):
    """One try at one host, with its reply."""

    id = BigIntegerField(primary_key=True)
    message_id = BigIntegerField(index=True)
    recipient_id = BigIntegerField()
    started_at = BigIntegerField()
    duration_ms = IntegerField()
    host = TextField(default="")  # MX name
    ip = TextField(default="")
    source_ip = TextField(default="")
    tls = TextField(default="")  # version, "" is clear text
    tls_verified = TextField(default="")  # how the certificate was judged: "", unverified, web-pki
    code = SmallIntegerField(default=0)  # 0 = no reply came
    enhanced = TextField(default="")
    response = TextField(default="")
    outcome = TextField()  # sendry.mail.outcome: delivered, deferred, failed, unknown
    bounce_class = TextField(default="")


class Event(Table):
    """One line of a message's history."""

    id = BigIntegerField(primary_key=True)
    message_id = BigIntegerField(index=True)
    recipient_id = BigIntegerField(null=True)  # None: of the whole message
    kind = TextField()  # sendry.queue.states.EventKind
    at = BigIntegerField()
    detail = TextField(default="")  # JSON object or ""


class MessageTag(Table):
    """Tags to search by."""

    tag = TextField()
    message_id = BigIntegerField(index=True)

    class Meta:
        primary_key = CompositeKey("tag", "message_id")


class DeadLetter(Table):
    """A message with recipients that were given up."""

    message_id = BigIntegerField(primary_key=True)
    failed_at = BigIntegerField(index=True)
    code = SmallIntegerField(default=0)
    reason = TextField(default="")


class Capture(Table):
    """A mail kept in the sandbox inbox."""

    message_id = BigIntegerField(primary_key=True)
    mailbox = TextField(default="")  # which inbox; "" is the default one
    recipients = TextField()  # JSON list of envelope addresses
    original_to = TextField(default="")  # JSON list, when the mode redirects
    is_described = BooleanField(default=False)  # preview, code and counts are filled in when first listed
    preview = TextField(default="")
    code = TextField(default="")  # the first one-time code in it
    link_count = IntegerField(default=0)
    attachment_count = IntegerField(default=0)
    is_read = BooleanField(default=False)
    created_at = BigIntegerField()

    class Meta:
        indexes = ((("mailbox", "message_id"), False),)


class Counter(Table):
    """Sums kept in the transaction that changes them: `queue.pending`, `total.delivered` …"""

    name = TextField(primary_key=True)
    value = BigIntegerField(default=0)


class Tally(Table):
    """What happened per hour and own domain."""

    hour = BigIntegerField()  # start of the hour, Unix ms
    domain = TextField()
    kind = TextField()  # accepted, delivered, deferred, failed, captured
    value = BigIntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("hour", "domain", "kind")


class Metric(Table):
    """Totals of the metrics page that must survive a restart."""

    name = TextField()
    labels = TextField(default="")
    value = BigIntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("name", "labels")


class Node(Table):
    """A running process: holds the number in its ids and leases."""

    id = SmallIntegerField(primary_key=True)
    host = TextField()
    pid = IntegerField()
    roles = TextField(default="")
    started_at = BigIntegerField()
    seen_at = BigIntegerField()


class Setting(Table):
    """Small things made at first start: the session key, the sandbox key."""

    name = TextField(primary_key=True)
    value = TextField()


class User(Table):
    """A person who signs in to the panel."""

    id = BigIntegerField(primary_key=True)
    email = TextField(unique=True)  # lower case
    name = TextField(default="")
    password_hash = TextField()
    role = TextField()  # admin, editor, viewer
    locale = TextField(default="")
    created_at = BigIntegerField()
    last_seen_at = BigIntegerField(default=0)

    class Meta:
        table_name = "account"  # "user" is a reserved word in PostgreSQL


class Session(Table):
    """A sign-in that can be ended."""

    token_hash = TextField(primary_key=True)  # SHA-256 of the cookie's token
    user_id = BigIntegerField(index=True)
    created_at = BigIntegerField()
    expires_at = BigIntegerField(index=True)
    seen_at = BigIntegerField()
    client_ip = TextField(default="")
    agent = TextField(default="")


class AuthFailure(Table):
    """Failed sign-ins by address and by name, for the guard against guessing."""

    subject = TextField(primary_key=True)  # "ip:192.0.2.1" or "name:alice"
    failures = IntegerField()
    window_start = BigIntegerField()
    blocked_until = BigIntegerField(default=0)


TABLES: tuple[type[Table], ...] = (
    Message, Content, Recipient, Attempt, Event, MessageTag, DeadLetter, Capture,
    Counter, Tally, Metric, Node, Setting, User, Session, AuthFailure,
)  # fmt: skip


def up(migrator: object, db: Database) -> None:
    """Make the tables."""
    with db.bind_ctx(TABLES):
        db.create_tables(TABLES)
