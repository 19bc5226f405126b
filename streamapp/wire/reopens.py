"""Reads and writes the headers of a record that opens the next round of a command: a redrive, or part of a replay."""

import re

from streamapp.core.errors import Unprocessable
from streamapp.core.model import Original, Reason, Reopens, Source
from streamapp.wire.headers import DLQ_NAMES, REDRIVE, REPLAY, Headers, last
from streamapp.wire.outgoing import Outgoing

MAX_REPLAY_ID_LENGTH = 200
REPLAY_ID_FORM = f"1 to {MAX_REPLAY_ID_LENGTH} letters, digits or any of . _ : ~ + -"

_ROUND = re.compile(r"(.+)-([0-9]{1,10})-([0-9]{1,19})-([1-9][0-9]{0,8})", re.DOTALL)
"""The number of a round has nine digits at most: an outcome has to hold the next one, in 31 bits."""
_REPLAY_ID = re.compile(r"[\w.:~+-]+", re.ASCII)


def reopening(key: bytes | None, original: Original, reopens: Reopens) -> Outgoing:
    """The record for the commands topic, and the partition of the round before, that opens the next round.

    Args:
        key: Of the record of the round before.
        original: Its value and headers, as they were or edited; marks of earlier rounds are left out.
        reopens: The round before.
    """
    marks = {REDRIVE: str(reopens), REPLAY: reopens.replay_id}
    ours = [(name, mark.encode()) for name, mark in marks.items() if mark is not None]
    kept = [header for header in original.headers if header[0] not in DLQ_NAMES | marks.keys()]
    return Outgoing(key, original.value, [*kept, *ours])


def decode_reopens(source: Source, headers: Headers) -> Reopens | None:
    """Which round a record follows, None for an ordinary command.

    Raises:
        Unprocessable: The headers name no round of an earlier record of this partition.
    """
    named, replay = last(headers, REDRIVE), last(headers, REPLAY)
    if named is None and replay is None:
        return None
    text = (named or b"").decode(errors="replace")
    found = _ROUND.fullmatch(text)
    reopens = None
    if found is not None:
        replay_id = None if replay is None else replay.decode(errors="replace")
        reopens = Reopens(Source(found[1], int(found[2]), int(found[3])), int(found[4]), replay_id)
    place = (source.topic, source.partition)
    if (
        reopens is None
        or str(reopens) != text
        or (reopens.source.topic, reopens.source.partition) != place
        or reopens.source.offset >= source.offset
    ):
        raise Unprocessable(
            Reason.INVALID_COMMAND,
            f"The header {REDRIVE} must be the dlq.id of an earlier record of this partition, "
            f"such as {source.topic}-{source.partition}-0-1.",
        )
    if reopens.replay_id is not None and not is_replay_id(reopens.replay_id):
        raise Unprocessable(Reason.INVALID_COMMAND, f"The header {REPLAY} must be {REPLAY_ID_FORM}.")
    return reopens


def is_replay_id(text: str) -> bool:
    """Whether a replay may be called so."""
    return len(text) <= MAX_REPLAY_ID_LENGTH and _REPLAY_ID.fullmatch(text) is not None
