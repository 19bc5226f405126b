"""A fixed limit of requests in flight to Airflow. Reads and writes nothing; whoever takes a permit gives it back."""


class Limit:
    """Permits for requests in flight, this worker's share of what all workers together may have.

    Beyond the database connections of Airflow's API server it wedges and running tasks die, so the limit is a safety
    bound well below them, not a tuning knob.

    Args:
        total: For all workers together.
    """

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError("a limit must let at least one request through")
        self._total = total
        self._limit = total
        self._in_flight = 0

    @property
    def limit(self) -> int:
        """Permits of this worker."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Permits given out."""
        return self._in_flight

    def share(self, owned_partitions: int, all_partitions: int) -> None:
        """Take the part of the total that the owned partitions are of all, at least one.

        After a loss of partitions more may be in flight than the new limit; no permit is given until enough came back.
        """
        self._limit = max(1, self._total * owned_partitions // max(1, all_partitions))

    def try_acquire(self) -> bool:
        """Take a permit, if there is one."""
        if self._in_flight >= self._limit:
            return False
        self._in_flight += 1
        return True

    def release(self) -> None:
        """Give a permit back."""
        if self._in_flight == 0:
            raise ValueError("no permit is out")
        self._in_flight -= 1
