"""The log-in to Airflow. Reads user and password, or what is sent as it is; writes `POST /auth/token`."""

import asyncio
import base64
import json
import logging
from datetime import timedelta
from typing import Any, Protocol

from streamapp.airflow.connection import Connection, NotSent
from streamapp.airflow.port import AirflowUnavailable
from streamapp.clock import Clock

_log = logging.getLogger(__name__)

RENEW_AFTER = 0.9
"""The part of a token's lifetime after which a new one is fetched: it must outlive the requests that carry it."""

PAUSE_AFTER_SILENCE_SECONDS = 1.0
"""How long a log-in that got no answer stands for everybody: requests that waited for it don't each try their own."""

PAUSE_AFTER_REFUSAL_SECONDS = 10.0
"""The same after a refusal, or with too many log-ins: Airflow may lock out who tries more often than every 8 s."""

PAUSE_WHILE_SERVED_SECONDS = 60.0
"""The same while the token at hand is good: there is no hurry, and each try may keep one request for a time-out."""

TOO_MANY_REQUESTS = 429
_REFUSALS = frozenset({400, 401, 403, 422})


class Credentials(Protocol):
    """What makes the header `Authorization`."""

    @property
    def known(self) -> str | None:
        """The header where it needs no log-in, for questions that Airflow answers to everybody."""

    async def header(self) -> str | None:
        """The header that Airflow should take.

        Raises:
            NotSent: There is none now.
        """

    def reject(self, header: str | None) -> bool:
        """Note that Airflow does not take this header; whether another one can be had."""


class Fixed:
    """One header for ever: basic auth, a bearer token that somebody else made, or none."""

    def __init__(self, header: str | None) -> None:
        self.known = header

    async def header(self) -> str | None:
        """The header."""
        return self.known

    def reject(self, header: str | None) -> bool:  # noqa: ARG002
        """There is no other."""
        return False


def basic(username: str, password: str) -> Fixed:
    """A user and a password with every request."""
    return Fixed("Basic " + base64.b64encode(f"{username}:{password}".encode()).decode())


class Login:
    """A bearer token, fetched when it is needed and ahead of its end; one log-in at a time, whoever waits for it.

    A token that could not be renewed serves until its own end.

    Args:
        connection: Where to log in.
        username: Airflow's user.
        password: Never shown: not in a log, not in an error.
        clock: For the token's age.
    """

    known = None

    def __init__(self, connection: Connection, username: str, password: str, clock: Clock) -> None:
        self._connection = connection
        self._username = username
        self._password = password
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: str | None = None
        self._renew_at: float | None = None
        self._ends_at = 0.0
        self._failure = ""
        self._retry_at: float | None = None
        self._refused = False
        self._overdue = False

    async def header(self) -> str:
        """A token that Airflow should take, as its header has it.

        Raises:
            NotSent: Airflow did not answer the log-in, or refused it.
        """
        if (token := self._fresh()) is not None:
            return f"Bearer {token}"
        if self._lock.locked() and (token := self._serving()) is not None:  # somebody renews it
            return f"Bearer {token}"
        async with self._lock:
            if (token := self._fresh()) is not None:
                return f"Bearer {token}"
            if self._retry_at is not None and self._clock.monotonic() < self._retry_at:
                raise NotSent(self._failure)
            try:
                return f"Bearer {await self._log_in()}"
            except NotSent as error:
                if (token := self._serving()) is None:
                    raise
                self._renew_later(str(error))
                return f"Bearer {token}"

    def reject(self, header: str | None) -> bool:
        """Note that Airflow no longer takes this token; the next `header()` logs in again."""
        if header == f"Bearer {self._token}":
            self._token = None
        return True

    def _fresh(self) -> str | None:
        if self._renew_at is not None and self._clock.monotonic() >= self._renew_at:
            return None
        return self._token

    def _serving(self) -> str | None:
        """The token, while its own end has not come."""
        return self._token if self._clock.monotonic() < self._ends_at else None

    async def _log_in(self) -> str:
        body = json.dumps({"username": self._username, "password": self._password}).encode()
        asked_at = self._clock.monotonic()
        try:
            answer = await self._connection.send("POST", "/auth/token", content=body)
        except AirflowUnavailable as error:
            raise self._failed(f"log-in: {error}", PAUSE_AFTER_SILENCE_SECONDS) from error
        # The answer's text stays out of logs and errors: Airflow repeats the password in some refusals.
        status = answer.status_code
        if status in _REFUSALS:
            if self._serving() is None:
                self._note_refusal(status)
            raise self._failed(
                f"Airflow refuses the log-in of {self._username} ({status})", PAUSE_AFTER_REFUSAL_SECONDS
            )
        if status not in {200, 201}:
            pause = PAUSE_AFTER_REFUSAL_SECONDS if status == TOO_MANY_REQUESTS else PAUSE_AFTER_SILENCE_SECONDS
            raise self._failed(f"log-in: /auth/token answers {status}", pause)
        try:
            token = answer.json()["access_token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():  # else no header can carry it
            raise self._failed("log-in: /auth/token gives no token", PAUSE_AFTER_SILENCE_SECONDS)
        if self._refused or self._overdue:
            self._refused = self._overdue = False
            _log.info("Airflow takes the log-in of %s again", self._username, extra={"action": "login_accepted"})
        lifetime = _lifetime_seconds(token)
        self._token = token
        self._renew_at = None if lifetime is None else asked_at + lifetime * RENEW_AFTER
        self._ends_at = asked_at + (lifetime or 0.0)
        self._retry_at = None
        return token

    def _failed(self, why: str, pause_seconds: float) -> NotSent:
        self._failure = why
        self._retry_at = self._clock.monotonic() + pause_seconds
        return NotSent(why)

    def _renew_later(self, why: str) -> None:
        now = self._clock.monotonic()
        self._renew_at = min(now + PAUSE_WHILE_SERVED_SECONDS, self._ends_at)
        if self._overdue:
            return
        self._overdue = True
        _log.warning(
            "%s: the token at hand serves for another %s; without another one, nothing is triggered after that",
            why,
            timedelta(seconds=round(self._ends_at - now)),
            extra={"action": "login_overdue"},
        )

    def _note_refusal(self, status: int) -> None:
        if self._refused:
            return
        self._refused = True
        _log.warning(
            "Airflow refuses the log-in of %s (%d): nothing is triggered until STREAMAPP_AIRFLOW_USERNAME and "
            "STREAMAPP_AIRFLOW_PASSWORD are right",
            self._username,
            status,
            extra={"action": "login_refused"},
        )


def _lifetime_seconds(token: str) -> float | None:
    """A token's life by its own times, so that two machines' clocks need not agree; None when it doesn't tell."""
    try:
        payload = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        lifetime = float(claims["exp"]) - float(claims["iat"])
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return lifetime if lifetime > 0 else None
