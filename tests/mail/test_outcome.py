"""What replies mean: a table of replies in the forms that hosts really use, and the facts without a reply."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.bounce_class import BounceClass, classify
from sendry.mail.outcome import (
    DnsFault,
    Outcome,
    Stage,
    TlsFault,
    Verdict,
    connect_failure,
    connection_lost,
    dns_failure,
    expired,
    goes_on,
    judge,
    local_failure,
    message_too_big,
    smtputf8_unsupported,
    tls_failure,
)
from sendry.mail.reply import Reply

DEFERRED, FAILED, UNKNOWN, DELIVERED = Outcome.DEFERRED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.DELIVERED

CONNECT, BANNER, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, DOT, QUIT = Stage

# stage, lines of the reply, outcome, class, enhanced code of the verdict
REPLIES: list[tuple[Stage, str, Outcome, str, str]] = [
    # large providers: no such address
    (RCPT, "550-5.1.1 The email account that you tried to reach does not exist. Please try\n"
           "550-5.1.1 double-checking the recipient's email address for typos or\n"
           "550-5.1.1 unnecessary spaces. For more information, go to\n"
           "550 5.1.1  https://support.google.com/mail/?p=NoSuchUser a1-20020a05 - gsmtp",
     FAILED, "hard-address", "5.1.1"),
    (RCPT, "550-5.2.1 The email account that you tried to reach is inactive. For more\n"
           "550-5.2.1 information, go to\n550 5.2.1 https://support.google.com/mail/?p=DisabledUser x - gsmtp",
     FAILED, "hard-address", "5.2.1"),
    (RCPT, "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
     FAILED, "hard-address", "5.5.0"),
    (RCPT, "550 5.4.1 Recipient address rejected: Access denied. [XX1NAM.prod.protection.outlook.com]",
     FAILED, "hard-address", "5.4.1"),
    (DOT, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
     FAILED, "hard-address", "5.1.10"),
    (RCPT, "552 1 Requested mail action aborted, mailbox not found", FAILED, "hard-address", "5.1.1"),
    (DOT, "554 delivery error: dd This user doesn't have a yahoo.com account (nn@yahoo.com) [0] - mta1.mail.ne1",
     FAILED, "hard-address", "5.1.1"),
    (DOT, "554 delivery error: dd Requested mail action aborted, mailbox not found - mta1",
     FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 <nn@icloud.com>: user does not exist", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.7.1 No such user!", FAILED, "hard-address", "5.7.1"),
    (DOT, "550 Message was not accepted -- invalid mailbox.  Local mailbox nn@mail.ru is unavailable: user not found",
     FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 Requested action not taken: mailbox unavailable", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.0 Address rejected.", FAILED, "hard-address", "5.1.0"),
    (RCPT, "550 #5.1.0 Address rejected nn@example.com", FAILED, "hard-address", "5.1.0"),
    (RCPT, "550 <nn@t-online.de> unknown user / Teilnehmer existiert nicht", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416",
     FAILED, "hard-address", "5.1.1"),
    # servers by kind: no such address
    (RCPT, "550 5.1.1 <nn@example.com>: Recipient address rejected: User unknown in local recipient table",
     FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 <nn@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
     FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 <nn@example.com>: Recipient address rejected: undeliverable address: host mx said: 550 no",
     FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 Unrouteable address", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 unknown user", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550-Verification failed for <nn@example.com>\n550-No Such User Here\n550 Sender verify failed",
     FAILED, "policy", "5.7.1"),
    (RCPT, "550 No Such User Here", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 <nn@example.com>... User unknown", FAILED, "hard-address", "5.1.1"),
    (RCPT, "553 5.3.0 <nn@example.com>... No such person at this address", FAILED, "hard-address", "5.3.0"),
    (RCPT, "550 sorry, no mailbox here by that name. (#5.1.1)", FAILED, "hard-address", "5.1.1"),
    (RCPT, "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 User not local; please try <nn@other.example>", FAILED, "hard-address", "5.1.1"),
    (RCPT, "551 please try somewhere else", FAILED, "hard-address", "5.1.1"),
    (RCPT, "550 5.1.1 Mailbox does not exist!", FAILED, "hard-address", "5.1.1"),
    (RCPT, "501 5.1.3 Bad recipient address syntax", FAILED, "hard-address", "5.1.3"),
    (RCPT, "550 5.1.6 Recipient no longer on server", FAILED, "hard-address", "5.1.6"),
    (RCPT, "550 4.1.1 User unknown", FAILED, "hard-address", "5.1.1"),
    (RCPT, "553 5.1.2 Bad destination host", FAILED, "hard-domain", "5.1.2"),
    (RCPT, "550 5.1.2 Unknown host", FAILED, "hard-domain", "5.1.2"),
    (RCPT, "550 5.4.310 DNS domain nosuch.example does not exist [Message=InfoDomainNonexistent]",
     FAILED, "hard-domain", "5.4.310"),
    (RCPT, "556 5.1.10 Recipient address has null MX", FAILED, "hard-domain", "5.1.10"),
    (RCPT, "556 no", FAILED, "hard-domain", "5.1.2"),
    # the same said as temporary is no hard bounce
    (RCPT, "450 4.1.1 <nn@example.com>: Recipient address rejected: User unknown", DEFERRED, "unknown", "4.1.1"),
    (RCPT, "450 4.1.2 <nn@example.com>: Recipient address rejected: Domain not found", DEFERRED, "unknown", "4.1.2"),
    (RCPT, "450 5.1.1 <nn@example.com>: User unknown", DEFERRED, "unknown", "4.1.1"),
    (RCPT, "450 4.2.1 mailbox disabled, not accepting messages", DEFERRED, "unknown", "4.2.1"),
    (RCPT, "450 Requested mail action not taken: mailbox unavailable", DEFERRED, "unknown", "4.0.0"),
    # mailbox full
    (RCPT, "452-4.2.2 The email account that you tried to reach is over quota. Please direct\n"
           "452 4.2.2 the recipient to https://support.google.com/mail/?p=OverQuotaTemp x - gsmtp",
     DEFERRED, "mailbox-full", "4.2.2"),
    (RCPT, "552-5.2.2 The email account that you tried to reach is over quota. Please direct\n"
           "552 5.2.2 the recipient to https://support.google.com/mail/?p=OverQuotaPerm x - gsmtp",
     DEFERRED, "mailbox-full", "4.2.2"),
    (DOT, "552 5.2.2 <nn@example.com>: user is over quota", FAILED, "mailbox-full", "5.2.2"),
    (DOT, "552 Requested mail action aborted: exceeded storage allocation", FAILED, "mailbox-full", "5.2.2"),
    (RCPT, "552 Requested mail action aborted: exceeded storage allocation", DEFERRED, "mailbox-full", "4.2.2"),
    (RCPT, "552", DEFERRED, "mailbox-full", "4.2.2"),
    (RCPT, "550 5.2.2 <nn@example.com>: Quota exceeded (mailbox for user is full)", FAILED, "mailbox-full", "5.2.2"),
    (DOT, "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException",
     FAILED, "mailbox-full", "5.2.2"),
    (RCPT, "452 4.2.2 Mailbox full", DEFERRED, "mailbox-full", "4.2.2"),
    (DOT, "422 The recipient's mailbox is over its storage limit", DEFERRED, "mailbox-full", "4.2.2"),
    (RCPT, "550 Mailbox quota exceeded / Mailbox voll.", FAILED, "mailbox-full", "5.2.2"),
    (DOT, "550 nn@mail.ru: mailbox full: over quota", FAILED, "mailbox-full", "5.2.2"),
    (RCPT, "552 5.2.3 Message size exceeds maximum for this mailbox", FAILED, "policy", "5.2.3"),
    (RCPT, "552 5.3.4 Message size exceeds fixed limit", FAILED, "policy", "5.3.4"),
    (RCPT, "552 5.7.1 Not for you", FAILED, "policy", "5.7.1"),
    (RCPT, "552 5.5.3 Too many recipients", DEFERRED, "rate", "4.5.3"),
    (RCPT, "552 Too many recipients", DEFERRED, "rate", "4.4.5"),
    # size and content
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", FAILED, "policy", "5.3.4"),
    (MAIL, "552 5.2.3 Message size exceeds fixed maximum message size (10485760)", FAILED, "policy", "5.2.3"),
    (DOT, "552 Message size exceeds maximum permitted", FAILED, "policy", "5.7.1"),
    (DOT, "552-5.7.0 This message was blocked because its content presents a potential\n"
          "552 5.7.0 security issue. https://support.google.com/mail/?p=BlockedMessage x - gsmtp",
     FAILED, "policy", "5.7.0"),
    (DOT, "554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc 1612-x",
     FAILED, "policy", "5.7.1"),
    (DOT, "550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=x or report details",
     FAILED, "policy", "5.7.1"),
    (DOT, "554 5.7.1 Message contains a virus (Eicar-Test-Signature)", FAILED, "policy", "5.7.1"),
    (DOT, "550 High probability of spam", FAILED, "policy", "5.7.1"),
    (DOT, "554 Transaction failed: Reject due to policy restrictions.", FAILED, "policy", "5.7.1"),
    (DOT, "550-5.7.1 [192.0.2.1] Our system has detected that this message is\n"
          "550-5.7.1 likely unsolicited mail. To reduce the amount of spam sent to Gmail,\n"
          "550 5.7.1 this message has been blocked. x - gsmtp", FAILED, "policy", "5.7.1"),
    (DOT, "550 5.6.0 Lone CR or LF in body", FAILED, "policy", "5.6.0"),
    (DOT, "554 5.6.7 SMTPUTF8 needed", FAILED, "protocol", "5.6.7"),
    # our host or domain is not trusted
    (RCPT, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; "
           "https://www.spamhaus.org/query/ip/192.0.2.1", FAILED, "reputation", "5.7.1"),
    (MAIL, "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service "
           "provider since part of their network is on our block list (S3140).", FAILED, "reputation", "5.7.1"),
    (MAIL, "550 SC-001 (COL004-MC1F1) Unfortunately, messages from 192.0.2.1 weren't sent.",
     FAILED, "reputation", "5.7.1"),
    (MAIL, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list",
     FAILED, "reputation", "5.7.606"),
    (DOT, "550-5.7.1 [192.0.2.1 19] Gmail has detected that this message is likely\n"
          "550-5.7.1 suspicious due to the very low reputation of the sending domain. x\n550 5.7.1 - gsmtp",
     FAILED, "reputation", "5.7.1"),
    (RCPT, "550-5.7.25 [192.0.2.1] The IP address sending this message does not have a\n"
           "550 5.7.25 PTR record setup. x - gsmtp", FAILED, "reputation", "5.7.25"),
    (RCPT, "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
     DEFERRED, "reputation", "4.7.25"),
    (RCPT, "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
     DEFERRED, "reputation", "4.7.1"),
    (RCPT, "550 Blocked - see https://www.spamcop.net/bl.shtml?192.0.2.1", FAILED, "reputation", "5.7.1"),
    (RCPT, "550-192.0.2.1 is listed at bl.example (127.0.0.2)\n550 rejected because your IP is blacklisted",
     FAILED, "reputation", "5.7.1"),
    (BANNER, "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list",
     DEFERRED, "reputation", "4.7.1"),
    (BANNER, "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
     DEFERRED, "reputation", "4.7.1"),
    (BANNER, "554-gmx.net (mxgmx101) Nemesis ESMTP Service not available\n554-No SMTP service\n"
             "554-IP address is block listed.\n554 For explanation visit https://postmaster.gmx.net",
     DEFERRED, "reputation", "4.7.1"),
    (BANNER, "554 mx.example.com ESMTP not accepting messages", DEFERRED, "unknown", "4.0.0"),
    (BANNER, "521 5.2.1 host does not accept mail", DEFERRED, "policy", "4.2.1"),
    (BANNER, "550 5.7.1 rDNS/DNS validation failed", DEFERRED, "reputation", "4.7.1"),
    (RCPT, "550 5.7.1 <x>: Client host rejected: dynamic address", FAILED, "reputation", "5.7.1"),
    (DOT, "554 5.7.1 The message from (<a@b.com>) with the subject (x) matches a profile the community may "
          "consider spam (Cloudmark)", FAILED, "reputation", "5.7.1"),
    # SPF, DKIM, DMARC
    (DOT, "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\n"
          "550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n550 5.7.26 x - gsmtp",
     FAILED, "auth", "5.7.26"),
    (DOT, "550 5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy.",
     FAILED, "auth", "5.7.26"),
    (DOT, "421-4.7.26 Your email has been rate limited because it is unauthenticated.\n421 4.7.26 x - gsmtp",
     DEFERRED, "auth", "4.7.26"),
    (DOT, "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification",
     FAILED, "auth", "5.7.509"),
    (DOT, "550 5.7.515 Access denied, sending domain example.com doesn't meet the required authentication level.",
     FAILED, "auth", "5.7.515"),
    (RCPT, "550 5.7.23 The message was rejected because of Sender Policy Framework violation",
     FAILED, "auth", "5.7.23"),
    (MAIL, "550 5.7.1 SPF check failed: example.com does not designate 192.0.2.1", FAILED, "auth", "5.7.1"),
    (DOT, "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
     FAILED, "auth", "5.7.9"),
    (DOT, "550 5.7.1 Email rejected per DMARC policy for example.com", FAILED, "auth", "5.7.1"),
    (DOT, "550 DKIM signature is not valid", FAILED, "auth", "5.7.0"),
    # login at a relay
    (AUTH, "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", DEFERRED, "auth", "4.7.8"),
    (AUTH, "535-5.7.8 Username and Password not accepted.\n535 5.7.8 https://support.google.com/mail/?p=BadCredentials",
     DEFERRED, "auth", "4.7.8"),
    (AUTH, "454 4.7.0 Temporary authentication failure", DEFERRED, "auth", "4.7.0"),
    (AUTH, "504 5.5.4 Unrecognized authentication type", DEFERRED, "auth", "4.5.4"),
    (MAIL, "530 5.7.57 Client not authenticated to send mail.", FAILED, "auth", "5.7.57"),
    (MAIL, "530 5.7.0 Authentication Required. https://support.google.com/mail/?p=WantAuthError",
     FAILED, "auth", "5.7.0"),
    (RCPT, "503 This mail server requires authentication when attempting to send to a non-local e-mail address.",
     FAILED, "auth", "5.7.0"),
    # relaying and senders
    (RCPT, "554 5.7.1 <nn@example.com>: Relay access denied", FAILED, "policy", "5.7.1"),
    (RCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", FAILED, "policy", "5.7.54"),
    (RCPT, "550 relay not permitted", FAILED, "policy", "5.7.1"),
    (RCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", FAILED, "policy", "5.7.1"),
    (MAIL, "553 5.1.8 <a@b.test>... Domain of sender address a@b.test does not exist", FAILED, "dns", "5.1.8"),
    (RCPT, "450 4.1.8 <a@b.test>: Sender address rejected: Domain not found", DEFERRED, "dns", "4.1.8"),
    (MAIL, "550 5.1.7 The sender's address was invalid", FAILED, "policy", "5.1.7"),
    (MAIL, "550 5.1.0 <a@b.com> sender rejected", FAILED, "policy", "5.1.0"),
    (MAIL, "550 5.1.1 user unknown", FAILED, "policy", "5.1.1"),
    (RCPT, "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", FAILED, "policy", "5.5.2"),
    (EHLO, "550 5.7.1 Helo command rejected: Host not found", DEFERRED, "dns", "4.7.1"),
    # greylisting
    (RCPT, "450 4.2.0 <nn@example.com>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/x",
     DEFERRED, "greylist", "4.2.0"),
    (RCPT, "451 4.7.1 Greylisting in action, please come back in 00:05:00", DEFERRED, "greylist", "4.7.1"),
    (RCPT, "451 Greylisted, please try again in 300 seconds", DEFERRED, "greylist", "4.7.1"),
    (RCPT, "451 4.7.1 Sorry, the service is currently unavailable. Please come back later. 17123-x",
     DEFERRED, "greylist", "4.7.1"),
    (DOT, "450 4.7.1 Graylisted - try later", DEFERRED, "greylist", "4.7.1"),
    (RCPT, "450 4.7.1 <nn@example.com>: Recipient address rejected: Please try again in 5 min",
     DEFERRED, "greylist", "4.7.1"),
    (RCPT, "451 4.7.1 Try again later", DEFERRED, "greylist", "4.7.1"),
    (RCPT, "550 Greylisted for ever", FAILED, "policy", "5.7.1"),
    # too much at a time
    (DOT, "421-4.7.28 Our system has detected an unusual rate of unsolicited mail originating\n"
          "421-4.7.28 from your IP address.\n421 4.7.28 x - gsmtp", DEFERRED, "rate", "4.7.28"),
    (RCPT, "450-4.2.1 The user you are trying to contact is receiving mail too quickly.\n"
           "450 4.2.1 https://support.google.com/mail/?p=ReceivingRate x - gsmtp", DEFERRED, "rate", "4.2.1"),
    (RCPT, "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n550 5.4.5 x - gsmtp",
     FAILED, "rate", "5.4.5"),
    (BANNER, "421 4.7.0 [TSS04] Messages from 192.0.2.1 deferred due to unexpected volume or user complaints",
     DEFERRED, "rate", "4.7.0"),
    (MAIL, "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
     DEFERRED, "rate", "4.7.650"),
    (MAIL, "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77714)", DEFERRED, "rate", "4.7.500"),
    (BANNER, "421 RP-001 (BAY004-MC3F1) Unfortunately, some messages from 192.0.2.1 weren't sent.",
     DEFERRED, "rate", "4.4.5"),
    (RCPT, "452 4.5.3 Error: too many recipients", DEFERRED, "rate", "4.5.3"),
    (BANNER, "421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1", DEFERRED, "rate", "4.7.0"),
    (BANNER, "421 Too many concurrent SMTP connections; please try again later.", DEFERRED, "rate", "4.4.5"),
    (RCPT, "451 4.7.1 Error: too much mail from 192.0.2.1", DEFERRED, "rate", "4.7.1"),
    (MAIL, "421 4.4.5 Too many messages in this session", DEFERRED, "rate", "4.4.5"),
    (DOT, "451 Ratelimit exceeded for mail.ru", DEFERRED, "rate", "4.4.5"),
    # TLS
    (MAIL, "530 5.7.0 Must issue a STARTTLS command first", DEFERRED, "tls", "4.7.0"),
    (RCPT, "550 5.7.10 Encryption needed", FAILED, "tls", "5.7.10"),
    (STARTTLS, "454 4.7.0 TLS not available due to local problem", DEFERRED, "tls", "4.7.0"),
    (STARTTLS, "502 5.5.1 Command not implemented", DEFERRED, "tls", "4.5.1"),
    (STARTTLS, "501 no", DEFERRED, "tls", "4.7.4"),
    # the host is in trouble
    (BANNER, "421 4.3.2 Service not available, closing transmission channel", DEFERRED, "connect", "4.3.2"),
    (RCPT, "421 mx.example.com closing connection", DEFERRED, "connect", "4.3.2"),
    (DOT, "421 4.4.2 mx.example.com Error: timeout exceeded", DEFERRED, "connect", "4.4.2"),
    (QUIT, "421 bye", DELIVERED, "", ""),
    (DOT, "452 4.3.1 Insufficient system storage", DEFERRED, "connect", "4.3.1"),
    (DOT, "451 4.3.0 Error: queue file write error", DEFERRED, "connect", "4.3.0"),
    (DOT, "451 qq temporary problem (#4.3.0)", DEFERRED, "connect", "4.3.0"),
    (RCPT, "451 Temporary local problem - please try later", DEFERRED, "unknown", "4.0.0"),
    (RCPT, "451 4.4.3 Temporary lookup failure", DEFERRED, "dns", "4.4.3"),
    (RCPT, "451 4.3.0 <nn@example.com>: Temporary lookup failure", DEFERRED, "connect", "4.3.0"),
    (RCPT, "450 4.4.4 host lookup failed", DEFERRED, "dns", "4.4.4"),
    # protocol
    (MAIL, "503 5.5.1 Error: nested MAIL command", DEFERRED, "protocol", "4.5.1"),
    (DATA, "503 5.5.1 Error: need RCPT command", DEFERRED, "protocol", "4.5.1"),
    (MAIL, "555 5.5.4 Unsupported option: SIZE=3", FAILED, "protocol", "5.5.4"),
    (MAIL, "501 5.5.4 Syntax: MAIL FROM:<address>", FAILED, "protocol", "5.5.4"),
    (EHLO, "502 5.5.2 Error: command not recognized", DEFERRED, "protocol", "4.5.2"),
    (DATA, "500 what?", FAILED, "protocol", "5.5.0"),
    (RCPT, "354 go ahead", DEFERRED, "protocol", "4.5.0"),
    (DATA, "250 2.0.0 OK", DEFERRED, "protocol", "4.5.0"),
    (MAIL, "150 hm", DEFERRED, "protocol", "4.5.0"),
    (BANNER, "SSH-2.0-OpenSSH_9.2", DEFERRED, "protocol", "4.5.0"),
    (RCPT, "250-yes\n550 no", DEFERRED, "protocol", "4.5.0"),
    (DOT, "554 5.4.6 Too many hops", FAILED, "protocol", "5.4.6"),
    (DOT, "554 5.4.14 Hop count exceeded - possible mail loop ATTR34", FAILED, "protocol", "5.4.14"),
    (RCPT, "553 5.3.5 mx.example.com. config error: mail loops back to me (MX problem?)",
     FAILED, "protocol", "5.3.5"),
    # after the final dot
    (DOT, "250 2.0.0 OK  1612345678 x-20020a05 - gsmtp", DELIVERED, "", "2.0.0"),
    (DOT, "250 2.6.0 <id@x> [InternalId=1] Queued mail for delivery", DELIVERED, "", "2.6.0"),
    (DOT, "250 ok 1612345678 qp 12345", DELIVERED, "", "2.0.0"),
    (DOT, "250", DELIVERED, "", "2.0.0"),
    (DOT, "250 5.0.0 odd", DELIVERED, "", "2.0.0"),
    (DOT, "354 go ahead", UNKNOWN, "protocol", "4.5.0"),
    (DOT, "gibberish", UNKNOWN, "protocol", "4.5.0"),
    (DOT, "250-yes\n550 no", UNKNOWN, "protocol", "4.5.0"),
    # codes alone
    (RCPT, "550", FAILED, "unknown", "5.0.0"),
    (RCPT, "550 5.0.0", FAILED, "unknown", "5.0.0"),
    (RCPT, "554 rejected", FAILED, "unknown", "5.0.0"),
    (RCPT, "550 5.7.1 go away", FAILED, "policy", "5.7.1"),
    (RCPT, "450", DEFERRED, "unknown", "4.0.0"),
    (RCPT, "550 Administrative prohibition", FAILED, "policy", "5.7.1"),
    (RCPT, "550 <unknown.user.spamhaus@example.com> no", FAILED, "unknown", "5.0.0"),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "lines", "kind", "bounce_class", "enhanced"), REPLIES)
def test_replies_of_the_world(stage: Stage, lines: str, kind: Outcome, bounce_class: str, enhanced: str) -> None:
    reply = Reply.parse(lines.encode().split(b"\n"))
    if stage is Stage.QUIT:
        assert goes_on(reply, stage)
        return
    verdict = judge(reply, stage)
    assert (verdict.kind, verdict.bounce_class or "", verdict.enhanced) == (kind, bounce_class, enhanced)
    assert verdict.code == reply.code
    assert verdict.text == reply.text


def test_the_table_is_thick() -> None:
    assert len(REPLIES) >= 150
    assert len({lines for _, lines, *_ in REPLIES}) >= 140


@pytest.mark.parametrize(
    ("stage", "code", "expected"),
    [
        (BANNER, 220, True), (BANNER, 354, False), (EHLO, 250, True), (STARTTLS, 220, True), (AUTH, 334, True),
        (AUTH, 235, True), (MAIL, 250, True), (RCPT, 251, True), (RCPT, 354, False), (DATA, 354, True),
        (DATA, 250, False), (DOT, 250, True), (DOT, 354, False), (QUIT, 500, True),
        (RCPT, 0, False), (MAIL, 450, False),
    ],
)  # fmt: skip
def test_which_replies_let_the_conversation_go_on(stage: Stage, code: int, expected: bool) -> None:
    assert goes_on(Reply(code, "", ""), stage) is expected


@pytest.mark.parametrize(
    ("stage", "code"), [(MAIL, 250), (RCPT, 250), (DATA, 354), (AUTH, 334), (QUIT, 221), (BANNER, 220)]
)
def test_a_conversation_that_goes_on_has_no_outcome_yet(stage: Stage, code: int) -> None:
    with pytest.raises(ValueError, match="goes on"):
        judge(Reply(code, "", ""), stage)


WORDS = st.lists(st.sampled_from(" ".join(lines for _, lines, *_ in REPLIES).split()), max_size=25).map(" ".join)
ENHANCED = st.just("") | st.builds("{}.{}.{}".format, st.sampled_from("245"), st.integers(0, 9), st.integers(0, 30))
REPLY = st.builds(Reply, st.just(0) | st.integers(100, 599), ENHANCED, WORDS)


@given(REPLY, st.sampled_from(Stage))
def test_every_reply_has_a_consistent_verdict(reply: Reply, stage: Stage) -> None:
    if goes_on(reply, stage) and stage is not DOT:
        return
    verdict = judge(reply, stage)
    digits = {DELIVERED: "2", DEFERRED: "4", FAILED: "5", UNKNOWN: "4"}
    assert verdict.enhanced[0] == digits[verdict.kind]
    assert (verdict.bounce_class is None) == (verdict.kind is DELIVERED)
    if reply.is_temporary:
        assert verdict.kind is DEFERRED
    if verdict.kind is FAILED:
        assert reply.is_permanent
        assert stage in (MAIL, RCPT, DATA, DOT)
        assert verdict.bounce_class is not BounceClass.GREYLIST
    if verdict.bounce_class in (BounceClass.HARD_ADDRESS, BounceClass.HARD_DOMAIN):
        assert verdict.kind is FAILED
        assert stage is not MAIL
        assert verdict.suppresses
    else:
        assert not verdict.suppresses


def test_only_the_address_and_its_domain_suppress() -> None:
    suppressing = {row[3] for row in REPLIES if judged(row).suppresses}
    assert suppressing == {"hard-address", "hard-domain"}


def judged(row: tuple[Stage, str, Outcome, str, str]) -> Verdict:
    reply = Reply.parse(row[1].encode().split(b"\n"))
    return judge(reply, row[0]) if row[0] is not Stage.QUIT else local_failure("")


def test_421_is_temporary_at_every_command() -> None:
    assert {judge(Reply(421, "5.7.1", ""), stage).kind for stage in Stage if stage is not QUIT} == {DEFERRED}


def test_a_diagnostic_without_basic_code_is_classified_by_its_status() -> None:
    assert classify(0, "5.1.1", "") is BounceClass.HARD_ADDRESS
    assert classify(0, "4.7.1", "please try again later") is BounceClass.GREYLIST
    assert classify(0, "5.0.0", "mailbox is full") is BounceClass.MAILBOX_FULL
    assert classify(0, "", "") is BounceClass.UNKNOWN


@pytest.mark.parametrize(
    ("fault", "kind", "code", "enhanced", "bounce_class"),
    [
        (DnsFault.NXDOMAIN, FAILED, 0, "5.1.2", "hard-domain"),
        (DnsFault.NULL_MX, FAILED, 556, "5.1.10", "hard-domain"),
        (DnsFault.NO_HOST, FAILED, 0, "5.4.4", "hard-domain"),
        (DnsFault.NO_ADDRESS, DEFERRED, 0, "4.4.1", "dns"),
        (DnsFault.SERVFAIL, DEFERRED, 0, "4.4.3", "dns"),
        (DnsFault.TIMEOUT, DEFERRED, 0, "4.4.3", "dns"),
        (DnsFault.PROHIBITED, FAILED, 0, "5.4.4", "dns"),
        (DnsFault.LOOP, FAILED, 0, "5.4.6", "dns"),
    ],
)
def test_failures_of_dns(fault: DnsFault, kind: Outcome, code: int, enhanced: str, bounce_class: str) -> None:
    verdict = dns_failure(fault, "example.com")
    assert (verdict.kind, verdict.code, verdict.enhanced, verdict.bounce_class) == (
        kind,
        code,
        enhanced,
        bounce_class,
    )
    assert "example.com" in verdict.text


def test_a_host_that_cannot_be_reached_is_tried_again() -> None:
    verdict = connect_failure("mx.example.com", "refused")
    assert (verdict.kind, verdict.enhanced, verdict.bounce_class) == (DEFERRED, "4.4.1", "connect")
    assert verdict.text == "Connection to mx.example.com: refused"


@pytest.mark.parametrize("stage", list(Stage))
def test_a_lost_connection_leaves_open_what_became_of_the_message_only_after_the_final_dot(stage: Stage) -> None:
    verdict = connection_lost(stage, "mx.example.com")
    assert verdict.kind is (UNKNOWN if stage is DOT else DEFERRED)
    assert (verdict.enhanced, verdict.bounce_class) == ("4.4.2", "connect")


@pytest.mark.parametrize(
    ("fault", "enhanced"),
    [(TlsFault.NOT_OFFERED, "4.7.4"), (TlsFault.HANDSHAKE, "4.7.5"), (TlsFault.UNVERIFIED, "4.7.5")],
)
def test_missing_tls_defers(fault: TlsFault, enhanced: str) -> None:
    verdict = tls_failure(fault, "mx.example.com", "certificate expired")
    assert (verdict.kind, verdict.enhanced, verdict.bounce_class) == (DEFERRED, enhanced, "tls")
    assert verdict.text.endswith(": certificate expired")


def test_what_a_host_cannot_take_fails() -> None:
    assert (smtputf8_unsupported("mx").kind, smtputf8_unsupported("mx").enhanced) == (FAILED, "5.6.7")
    assert (message_too_big("mx", 5).kind, message_too_big("mx", 5).enhanced) == (FAILED, "5.3.4")
    assert not smtputf8_unsupported("mx").suppresses


def test_our_own_trouble_never_fails_a_message() -> None:
    assert (local_failure("key unreadable").kind, local_failure("").enhanced) == (DEFERRED, "4.3.0")


@pytest.mark.parametrize(
    ("after", "span"),
    [(timedelta(days=5), "5 days"), (timedelta(hours=47), "47 hours"), (timedelta(minutes=5), "the time allowed")],
)
def test_expiry_keeps_what_was_said_last(after: timedelta, span: str) -> None:
    last = judge(Reply(451, "4.3.0", "queue\nfull"), DOT)
    verdict = expired(last, after)
    assert (verdict.kind, verdict.code, verdict.enhanced, verdict.bounce_class) == (FAILED, 451, "4.4.7", "expired")
    assert verdict.text == f"Not delivered within {span}; last: queue full"
    assert not verdict.suppresses
    assert expired(None, after).text == f"Not delivered within {span}"
