"""Reads: SMTP. Writes: one .eml file a mail under the state directory. The mail server that delivers to a folder."""

import asyncio
import smtplib
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import ClassVar

from aiosmtpd.smtp import SMTP, Envelope, Session

from stack.config import HOST, ROOT, Config
from stack.part import Command, Part


class Mail(Part):
    """Takes every mail and keeps it."""

    name: ClassVar[str] = "mail"
    ports: ClassVar[tuple[str, ...]] = ("smtp_port",)

    @property
    def inbox(self) -> Path:
        """Where the mails are kept."""
        return self.state / "inbox"

    def prepare(self) -> None:
        """Make the inbox."""
        self.inbox.mkdir(exist_ok=True)

    def command(self) -> Command:
        """Return the catcher's command line."""
        arguments = [str(self.config.smtp_port), str(self.inbox)]
        return Command([sys.executable, "-m", "stack.mail", *arguments], {"PYTHONPATH": str(ROOT)})

    def waiting_for(self) -> str | None:
        """Say EHLO."""
        try:
            with smtplib.SMTP(HOST, self.config.smtp_port, timeout=2) as client:
                client.ehlo_or_helo_if_needed()
        except (OSError, smtplib.SMTPException) as error:
            return f"{HOST}:{self.config.smtp_port}: {error}"
        return None


def mails(config: Config) -> list[EmailMessage]:
    """Return the mails caught so far, oldest first."""
    files = sorted(Mail(config).inbox.glob("*.eml"))
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


class _Keeper:
    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        number = len(list(self._inbox.glob("*.eml"))) + 1
        unfinished = self._inbox / f"{number:05}.unfinished"
        unfinished.write_bytes(envelope.original_content or b"")
        unfinished.rename(unfinished.with_suffix(".eml"))
        print(f"{number:05}.eml to {', '.join(envelope.rcpt_tos)}", flush=True)
        return "250 kept"


async def _serve(port: int, inbox: Path) -> None:
    keeper = _Keeper(inbox)
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(keeper), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
