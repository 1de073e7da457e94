"""A mail server for the tests: aiosmtpd with STARTTLS and AUTH, told by its arguments what to refuse and put off.

Prints its port, then one JSON object a line for each message that it has taken, and for each refusal. Ends with its standard input.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import AuthResult


def say(**fact):
    print(json.dumps(fact, ensure_ascii=False), flush=True)


class Handler:
    """Takes messages; `refuse@` gets 550, `later@` gets 451 the first time, `full@` gets 452 after the message."""

    def __init__(self):
        self.put_off = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name == "refuse":
            say(refused=address, code=550)
            return "550 5.1.1 no such mailbox"
        if name == "later" and address not in self.put_off:
            self.put_off.add(address)
            say(refused=address, code=451)
            return "451 4.7.1 greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if envelope.rcpt_tos[0].startswith("full@"):
            self.put_off.add(envelope.rcpt_tos[0])
            say(refused=envelope.rcpt_tos[0], code=552)
            return "552 5.2.2 mailbox full"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        say(
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            tls=session.ssl is not None,
            user=getattr(session, "user", None),
            headers={name.lower(): str(value) for name, value in message.items()},
            defects=[str(defect) for part in message.walk() for defect in part.defects],
            text=parts.get("text/plain"),
            html=parts.get("text/html"),
        )
        return "250 2.0.0 taken"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    given = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.certificate, given.key)

    def authenticate(server, session, envelope, mechanism, data):
        right = data.login.decode() == given.user and data.password.decode() == given.password
        if right:
            session.user = given.user
        return AuthResult(success=right, handled=False)

    loop = asyncio.new_event_loop()
    controller = UnthreadedController(
        Handler(),
        loop=loop,
        hostname="127.0.0.1",
        port=0,
        tls_context=context,
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
        enable_SMTPUTF8=True,
    )
    controller.begin()
    say(port=controller.server.sockets[0].getsockname()[1])
    loop.run_until_complete(loop.run_in_executor(None, sys.stdin.read))
    controller.end()


if __name__ == "__main__":
    main()
