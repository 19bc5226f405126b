"""Reads: acknowledgements of Kafka. Writes: commands, at a steady pace and of every kind. What chaos happens to."""

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.support.avro_producer import AvroCommands
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka

Place = tuple[int, int]
Draw = Callable[[int], Draft]


class Commands:
    """Draws commands: JSON and Avro, with and without key, some late, failing, doubled or no commands at all."""

    def __init__(self, site: Installation, chance: random.Random, *, keys: int, seconds: tuple[float, ...]) -> None:
        """Describe them.

        Args:
            site: Where they go; with a registry, half of them are Avro.
            chance: Decides.
            keys: How many.
            seconds: How long runs may take.
        """
        self._chance = chance
        self._keys = [b"key-%d" % number for number in range(keys)]
        self._seconds = seconds
        self._avro = AvroCommands(site.registry_url, site.name) if site.registry_url else None
        self._earlier: deque[Draft] = deque(maxlen=2000)

    def __call__(self, number: int) -> Draft:
        """The next one."""
        key = self._chance.choice(self._keys)
        run = {"seconds": self._chance.choice(self._seconds), "fail": number % 25 == 0}
        match self._chance.randrange(100):
            case 0:
                return Draft(value=b"no command", key=key)
            case 1 | 2 | 3 if self._earlier:
                return self._chance.choice(self._earlier)
            case 4 | 5:
                return command(key, id=f"c{number}", deadline=_soon(4), **run)
            case 6 | 7:
                return command(key, id=f"c{number}", not_before=_soon(2), **run)
            case 8 | 9:
                return command(None, id=f"c{number}", **run)
            case kind if self._avro and kind % 2:
                draft = self._avro.command(key, id=f"c{number}", **run)
            case _:
                draft = command(key, id=f"c{number}", **run)
        self._earlier.append(draft)
        return draft


def _soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Load:
    """Sends from a thread of its own. A send is tried until Kafka has it, once: the producer is idempotent."""

    def __init__(self, site: Installation, kafka: Kafka, draw: Draw, per_second: float) -> None:
        self.sent: dict[Place, Draft] = {}
        """What Kafka has acknowledged."""
        self.problems: list[str] = []
        # A broker that wakes up knows no partition for a moment; the producer would believe it for five minutes.
        for_ever = {
            "message.timeout.ms": 0,
            "topic.metadata.refresh.interval.ms": 1000,
            "reconnect.backoff.max.ms": 1000,
        }
        safely = {"enable.idempotence": True, "partitioner": "murmur2_random"}
        self._producer = Producer({**kafka.client, **safely, **for_ever})
        self._topic = site.name
        self._draw = draw
        self._every_seconds = 1 / per_second
        self._going = threading.Event()
        self._end = threading.Event()
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._send, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._going.set()
        self._thread.join()
        self._producer.close()

    def resume(self) -> None:
        """Send, from now on."""
        self._going.set()

    def pause(self) -> None:
        """Send nothing more."""
        self._going.clear()
        with self._busy:
            """Whoever was about to send has done so."""

    def check_acknowledged(self) -> None:
        """Fail while Kafka has not taken everything."""
        left = self._producer.flush(0.1)
        assert left == 0, f"{left} commands are not acknowledged"

    def _send(self) -> None:
        for number in itertools.count():
            self._going.wait()
            if self._end.wait(self._every_seconds):
                return
            with self._busy:
                if self._going.is_set():
                    self._produce(self._draw(number))
            self._producer.poll(0)

    def _produce(self, draft: Draft) -> None:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.problems.append(f"Kafka has not taken a command: {error}")
                return
            place = (message.partition(), message.offset())
            self.sent[place] = replace(draft, partition=place[0], offset=place[1])

        self._producer.produce(self._topic, key=draft.key, value=draft.value, on_delivery=note)
