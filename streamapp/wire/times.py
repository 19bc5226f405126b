"""Points in time as milliseconds and as text. Reads and writes nothing."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_FIRST_MILLIS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
_LAST_MILLIS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


def to_millis(at: datetime) -> int:
    """Milliseconds since the epoch; finer parts are cut off."""
    return (at - EPOCH) // MILLISECOND


def from_millis(millis: int) -> datetime:
    """The point in time, in UTC; OverflowError beyond what a datetime holds."""
    return EPOCH + timedelta(milliseconds=millis)


def from_record(seconds: float | None) -> datetime:
    """The time of a Kafka record, to the millisecond; the nearest that a datetime holds for one that is beyond.

    Producers may write any 64 bits there. Faust gives seconds, which no longer tell milliseconds apart by themselves.
    """
    millis = round((seconds or 0) * 1000)
    return from_millis(min(max(millis, _FIRST_MILLIS), _LAST_MILLIS))


def cut(at: datetime) -> datetime:
    """The same point in time in UTC, without what is finer than a millisecond."""
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def to_text(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def from_text(text: str) -> datetime:
    """The point in time, cut to milliseconds; ValueError when it can't be read or names no offset from UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time in ISO 8601") from None
    if at.tzinfo is None:
        raise ValueError(f"{text!r} names no offset from UTC (such as Z)")
    try:
        return cut(at)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error
