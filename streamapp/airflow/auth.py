"""The log-in to Airflow. Reads user name and password, writes `POST /auth/token`; keeps one token fresh for all."""

import asyncio
import base64
import json
import logging
from typing import Any

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

TOO_MANY_REQUESTS = 429
_REFUSALS = frozenset({400, 401, 403, 422})


class Login:
    """A bearer token, fetched when it is needed and ahead of its end; one log-in at a time, whoever waits for it.

    Args:
        connection: Where to log in.
        username: Airflow's user.
        password: Never shown: not in a log, not in an error.
        clock: For the token's age.
    """

    def __init__(self, connection: Connection, username: str, password: str, clock: Clock) -> None:
        self._connection = connection
        self._username = username
        self._password = password
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: str | None = None
        self._renew_at: float | None = None
        self._failure = ""
        self._retry_at: float | None = None
        self._refused = False

    async def token(self) -> str:
        """A token that Airflow should take.

        Raises:
            NotSent: Airflow did not answer the log-in, or refused it.
        """
        if (token := self._fresh()) is not None:
            return token
        async with self._lock:
            if (token := self._fresh()) is not None:
                return token
            if self._retry_at is not None and self._clock.monotonic() < self._retry_at:
                raise NotSent(self._failure)
            return await self._log_in()

    def reject(self, token: str) -> None:
        """Note that Airflow no longer takes this token; the next `token()` logs in again."""
        if token == self._token:
            self._token = None

    def _fresh(self) -> str | None:
        if self._renew_at is not None and self._clock.monotonic() >= self._renew_at:
            return None
        return self._token

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
            self._note_refusal(status)
            raise self._failed(
                f"Airflow refuses the log-in of {self._username} ({status})", PAUSE_AFTER_REFUSAL_SECONDS
            )
        if status not in {200, 201}:
            pause = PAUSE_AFTER_REFUSAL_SECONDS if status == TOO_MANY_REQUESTS else PAUSE_AFTER_SILENCE_SECONDS
            raise self._failed(f"log-in: /auth/token answers {status}", pause)
        try:
            token = answer.json()["access_token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str):
            raise self._failed("log-in: /auth/token gives no token; is it an Airflow 3?", PAUSE_AFTER_SILENCE_SECONDS)
        if self._refused:
            self._refused = False
            _log.info("Airflow takes the log-in of %s again", self._username, extra={"action": "login_accepted"})
        lifetime = _lifetime_seconds(token)
        self._token = token
        self._renew_at = None if lifetime is None else asked_at + lifetime * RENEW_AFTER
        self._retry_at = None
        return token

    def _failed(self, why: str, pause_seconds: float) -> NotSent:
        self._failure = why
        self._retry_at = self._clock.monotonic() + pause_seconds
        return NotSent(why)

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
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return lifetime if lifetime > 0 else None
