"""The fixed replies of a session, ready for the wire. None repeats what a client sent or names a library (A19)."""

from __future__ import annotations

from typing import Final

from sendry.mail.reply import BYE, OK, RECIPIENT_OK, SENDER_OK, START_MAIL_INPUT, Reply

OK_WIRE: Final = OK.wire()
SENDER_OK_WIRE: Final = SENDER_OK.wire()
RECIPIENT_OK_WIRE: Final = RECIPIENT_OK.wire()
START_MAIL_INPUT_WIRE: Final = START_MAIL_INPUT.wire()
BYE_WIRE: Final = BYE.wire()
READY_FOR_TLS_WIRE: Final = Reply(220, "2.0.0", "Ready to start TLS").wire()
VRFY_WIRE: Final = Reply(252, "2.5.0", "Cannot verify, send some mail and see").wire()
HELP_WIRE: Final = Reply(214, "2.0.0", "See RFC 5321").wire()

NOT_ALLOWED: Final = Reply(554, "5.7.1", "Your address may not connect here")
TOO_MANY_FROM_ADDRESS: Final = Reply(421, "4.7.0", "Too many connections from your address, try again later")
NOT_A_MAIL_CLIENT: Final = Reply(554, "5.5.1", "This is a mail server, closing connection")
EARLY_TALKER: Final = Reply(554, "5.5.0", "Data sent before its turn, closing connection")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors, closing connection")
TOO_MANY_REFUSALS: Final = Reply(421, "4.7.0", "Too many addresses refused, closing connection")
TOO_MANY_COMMANDS: Final = Reply(421, "4.7.0", "Too many commands without a message, closing connection")
SESSION_TOO_LONG: Final = Reply(421, "4.4.2", "Session without a message for too long, closing connection")
TOO_SLOW: Final = Reply(421, "4.4.2", "Data comes too slowly, closing connection")
NOT_UTF8: Final = Reply(500, "5.5.2", "Command line is not UTF-8")
HELLO_FIRST: Final = Reply(503, "5.5.1", "Send EHLO first")
HELLO_NEEDS_NAME: Final = Reply(501, "5.5.4", "Say who you are: EHLO host.example.com")
NO_ARGUMENT: Final = Reply(501, "5.5.4", "This command takes no argument")
MAIL_SYNTAX: Final = Reply(501, "5.5.4", "Write MAIL FROM:<address>")
RCPT_SYNTAX: Final = Reply(501, "5.5.4", "Write RCPT TO:<address>")
NESTED_MAIL: Final = Reply(503, "5.5.1", "There is a sender already, send RSET first")
MAIL_FIRST: Final = Reply(503, "5.5.1", "Send MAIL first")
NO_RECIPIENTS: Final = Reply(554, "5.5.1", "No valid recipients")
BDAT_SYNTAX: Final = Reply(501, "5.5.4", "Write BDAT length or BDAT length LAST; closing connection")
BDAT_BEGUN: Final = Reply(503, "5.5.1", "The message has begun with BDAT, go on with it or send RSET")
BDAT_BROKEN: Final = Reply(503, "5.5.1", "A chunk of this message was refused, send RSET")
EXPN_REFUSED: Final = Reply(502, "5.7.0", "Lists are not expanded here")
TLS_UNAVAILABLE: Final = Reply(502, "5.5.1", "TLS is not available here")
TLS_ALREADY: Final = Reply(503, "5.5.1", "TLS is active already")
AUTH_UNAVAILABLE: Final = Reply(502, "5.5.1", "Authentication is not available here")
AUTH_NEEDS_TLS: Final = Reply(538, "5.7.11", "Encryption is required to authenticate, send STARTTLS first")
AUTH_ALREADY: Final = Reply(503, "5.5.1", "Already authenticated")
AUTH_IN_TRANSACTION: Final = Reply(503, "5.5.1", "Not within a mail transaction")
AUTH_SYNTAX: Final = Reply(501, "5.5.4", "Write AUTH PLAIN or AUTH LOGIN")
