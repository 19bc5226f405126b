"""Carries permits between workers, over a web socket. Reads who owns which partition; writes nothing.

The messages are those of `airflow.lending`. Who borrows proves that it knows Airflow's log-in: whoever knows that can
ask Airflow for as much as it likes anyway.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from mode import Service

from streamapp.airflow.lending import LENDING_PARTITION, Lender, Loan
from streamapp.airflow.limit import Limit
from streamapp.clock import Clock
from streamapp.kafka.transport import DurableApp
from streamapp.settings import Settings

log = logging.getLogger(__name__)

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

PATH = "/internal/permits"
WELCOME = "lends"
HEARTBEAT = timedelta(seconds=4)
"""Who does not answer half as long is gone."""
CONNECT = timedelta(seconds=2)
"""For a connection, and for each step of the greeting."""
CLOSE = timedelta(seconds=1)
GRACE = timedelta(seconds=2)
"""For how long a worker waits for the lender at first: that one may not know yet that it lends."""
AGAIN_AFTER = timedelta(milliseconds=100)
AGAIN_LATER = timedelta(seconds=5)
"""How often a lender that can't be reached is tried: within the grace, and then."""
ITERATIONS = 100_000
"""Of PBKDF2: who listens in must not find the password out cheaply."""
LONGEST = 64 * 1024
"""Bytes of a message; 10,000 partitions fit."""


class Lending:
    """This worker's part: it lends, it borrows, or it has its own.

    Args:
        limit: This worker's requests.
        settings: Of this installation.
        clock: For pauses.
        lender: The address of the worker that lends; None while that isn't known.
    """

    def __init__(
        self,
        limit: Limit,
        settings: Settings,
        clock: Clock,
        *,
        lender: Callable[[], str | None],
    ) -> None:
        self._limit = limit
        self._settings = settings
        self._clock = clock
        self._where = lender
        self._lender = Lender(limit)
        self._owned: frozenset[int] = frozenset()
        self._from: str | None = None
        self._loan: Loan | None = None
        self._alone = True
        self._changed = asyncio.Event()
        self._served: set[web.WebSocketResponse] = set()
        self._closing: set[asyncio.Task[bool]] = set()

    @property
    def lends(self) -> bool:
        """Whether others borrow from this worker."""
        return LENDING_PARTITION in self._owned

    @property
    def borrows_from(self) -> str | None:
        """The worker whose permits this one has; None while it has its own."""
        return None if self._loan is None else self._from

    def share(self, owned: Collection[int], partitions: int) -> None:
        """Other partitions are this worker's now."""
        self._owned = frozenset(owned)
        self._limit.share(owned, partitions)
        if not self.lends:
            self._turn_out()
        where = None if self.lends or not owned else self._where()
        if self._loan is not None and where == self._from:
            self._loan.own(tuple(owned))
            return
        self._from, self._alone = where, where is None
        self._limit.use(self._limit.own if where is None else None)
        self._changed.set()

    async def run(self) -> None:
        """Borrow from whoever lends; for ever."""
        async with aiohttp.ClientSession() as session:  # Faust closes its own before it stops this
            while True:
                self._changed.clear()
                if self._from is None:
                    await self._changed.wait()
                else:
                    await self._borrow(session, self._from)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Lend to one worker, until it goes."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT.total_seconds(), max_msg_size=LONGEST)
        await socket.prepare(request)
        nonce = secrets.token_hex()
        await socket.send_str(nonce)
        proof = await _text(socket)
        if proof is None or not hmac.compare_digest(proof.encode(), self._proof(nonce).encode()):
            log.warning("what asks for permits does not know Airflow's log-in", extra={"action": "permits_refused"})
            await socket.close(code=WSCloseCode.POLICY_VIOLATION)
        elif not self.lends:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
        else:
            await self._lend(socket)
        return socket

    async def close(self, _: web.Application) -> None:
        """Turn all borrowers out: the web server ends."""
        self._turn_out()
        await asyncio.gather(*self._closing)

    # Inside

    async def _lend(self, socket: web.WebSocketResponse) -> None:
        await socket.send_str(WELCOME)
        async with _outbox(socket) as send:
            desk = self._lender.open(send)
            self._served.add(socket)
            try:
                await _take_all(socket, desk.take)
            except ValueError as error:
                log.warning("what borrows permits said nonsense: %s", error, extra={"action": "permits_refused"})
            finally:
                self._served.discard(socket)
                desk.close()

    def _turn_out(self) -> None:
        for socket in self._served:
            closing = asyncio.create_task(socket.close(code=WSCloseCode.GOING_AWAY))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _borrow(self, session: aiohttp.ClientSession, where: str) -> None:
        """Borrow from a worker, until another one lends."""
        until = self._clock.monotonic() + GRACE.total_seconds()
        while not self._changed.is_set():
            problem, borrowed = await self._connect(session, where)
            if self._changed.is_set():
                return
            patient = self._clock.monotonic() < until
            if borrowed or not patient:
                self._go_on_alone(where, problem)
            with suppress(TimeoutError):
                async with asyncio.timeout((AGAIN_AFTER if patient else AGAIN_LATER).total_seconds()):
                    await self._changed.wait()

    def _go_on_alone(self, where: str, problem: str) -> None:
        if not self._alone:
            self._alone = True
            log.warning(
                "the worker at %s lends no permits (%s), so this one has its own part of the limit: workers must reach "
                "each other, see STREAMAPP_WEB_BIND and --web-host",
                where,
                problem,
                extra={"action": "permits_alone"},
            )
            self._limit.own.restart()
            self._limit.use(self._limit.own)

    async def _connect(self, session: aiohttp.ClientSession, where: str) -> tuple[str, bool]:
        """What came in the way, and whether something was borrowed before that."""
        try:
            async with asyncio.timeout(CONNECT.total_seconds()):
                socket = await session.ws_connect(
                    where.rstrip("/") + PATH,
                    heartbeat=HEARTBEAT.total_seconds(),
                    max_msg_size=LONGEST,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE.total_seconds()),
                )
            async with socket:
                nonce = await _text(socket)
                if nonce is None:
                    return "it says nothing", False
                await socket.send_str(self._proof(nonce))
                if await _text(socket) != WELCOME:
                    return f"it closed the connection with {socket.close_code}", False
                if self._changed.is_set():  # another one lends since this was begun, or this one itself
                    return "it lends no more", False
                await self._have_loan(socket)
                return f"it closed the connection with {socket.close_code}", True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return str(error) or type(error).__name__, False

    async def _have_loan(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async with _outbox(socket) as send:
            self._loan = loan = Loan(send, tuple(self._owned), self._clock)
            self._alone = False
            self._limit.use(loan)
            log.info("permits are borrowed from %s", self._from, extra={"action": "permits_borrowed"})
            ending = asyncio.create_task(self._end_when_changed(socket))
            try:
                await _take_all(socket, loan.take)
            finally:
                ending.cancel()
                loan.close()
                self._loan = None

    async def _end_when_changed(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await self._changed.wait()
        await socket.close()

    @cached_property
    def _key(self) -> bytes:
        settings = self._settings
        known = [settings.airflow_password, settings.airflow_token, *settings.airflow_headers.values()]
        secret = json.dumps([one.get_secret_value() for one in known if one is not None])
        return hashlib.pbkdf2_hmac("sha256", secret.encode(), settings.app_id.encode(), ITERATIONS)

    def _proof(self, nonce: str) -> str:
        return hmac.new(self._key, nonce.encode(), hashlib.sha256).hexdigest()


async def _text(socket: Socket) -> str | None:
    """The next message; None where none comes, or another kind of message."""
    try:
        message = await socket.receive(CONNECT.total_seconds())
    except TimeoutError:
        return None
    return message.data if message.type is WSMsgType.TEXT else None


async def _take_all(socket: Socket, take: Callable[[str], None]) -> None:
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            break
        take(message.data)


@asynccontextmanager
async def _outbox(socket: Socket) -> AsyncIterator[Callable[[str], None]]:
    """A way to send without waiting; what can't be sent is not missed: the connection ends then."""
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def send_all() -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await socket.send_str(await queue.get())

    sending = asyncio.create_task(send_all())
    try:
        yield queue.put_nowait
    finally:
        sending.cancel()


def register(app: DurableApp, lending: Lending) -> None:
    """Add the service and the route to the app."""
    app.web.web_app.router.add_get(PATH, lending.serve)
    app.web.web_app.on_shutdown.append(lending.close)

    @app.service
    class LendingService(Service):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

        @Service.task
        async def _borrow(self) -> None:
            await lending.run()


def lender_of(app: DurableApp) -> str | None:
    """The address of the worker that lends, as far as the group knows one that is not this worker's."""
    for url, topics in app.router.external_topics_metadata().items():
        if LENDING_PARTITION in topics.get(app.commands_topic, ()):
            return None if url == str(app.conf.canonical_url) else str(url)
    return None
