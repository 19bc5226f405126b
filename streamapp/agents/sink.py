"""Takes dispatches from the ready index; asks Airflow for one run each. Writes what it saw to the results topic."""

from datetime import timedelta
from typing import Any

from streamapp.agents.parts import Parts
from streamapp.dispatch.ready import Note
from streamapp.dispatch.trigger import Postponed
from streamapp.kafka.channel import PullChannel
from streamapp.kafka.transport import DurableApp

RETRY_AFTER_ERROR = timedelta(seconds=5)
"""A dispatch whose try broke in an unforeseen way comes back after this; Faust restarts the actor meanwhile."""


def register(app: DurableApp, dispatches: PullChannel, parts: Parts, concurrency: int) -> None:
    """Add the agent to the app: as many actors as there can be permits."""

    @app.agent(dispatches, name="sink", concurrency=concurrency)
    async def sink(notes: Any) -> None:
        async for note in notes:
            try:
                await start(parts, note)
            finally:
                parts.limit.release()
                parts.measure()
                parts.wake()


def take(parts: Parts) -> Note | None:
    """The next dispatch and a permit for it. Called only when `available`."""
    parts.limit.try_acquire()
    return parts.ready.take()


def available(parts: Parts) -> bool:
    """Whether something may start now.

    Not before all is folded that the workers before have seen: a refusal, say, of what would be asked for again.
    """
    ours = parts.partitions.accepting and parts.caught_up()
    return parts.limit.has_permit(wanted=ours and parts.guard.breaker.passes and parts.ready.takeable)


async def start(parts: Parts, note: Note | None) -> None:
    """One try of one dispatch. Whether it is still due is asked of the table last of all."""
    if note is None:  # its deadline has passed since it was said to be there
        return
    entry = parts.partitions.entry(note.source.partition, note.key, note.source.offset)
    if entry is None or not (entry.dispatchable or entry.settling):
        parts.ready.forget(note)
        return
    if note.stopped:
        note.stopped = False
        parts.trigger.wait_anew(entry.source)

    def still_due() -> bool:
        parts.may_start()
        ours = parts.partitions.accepting and parts.caught_up() and parts.ready.knows(note)
        return ours and parts.partitions.entry(note.source.partition, note.key, note.source.offset) == entry

    try:
        answer = await parts.trigger.run(entry, still_due)
    except Exception:
        parts.ready.done(note, RETRY_AFTER_ERROR)
        raise
    if isinstance(answer, Postponed):
        parts.ready.done(note, answer.delay)
    elif parts.ready.knows(note):  # else another owner asks, or has asked, and a late refusal could contradict it
        parts.report(answer)
        parts.ready.done(note, None)
