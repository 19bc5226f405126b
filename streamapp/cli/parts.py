"""Reads: the settings. Writes: a line to stderr where they lack something. Clients that several verbs share."""

from streamapp.cli.output import say
from streamapp.clock import SystemClock
from streamapp.core.model import Outcome
from streamapp.settings import Settings, variable
from streamapp.wire import avro
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.registry import Registry


def registry_of(settings: Settings) -> Registry | None:
    """The schema registry, where one is configured."""
    if settings.schema_registry_url is None:
        return None
    info = settings.schema_registry_user_info
    return Registry(settings.schema_registry_url, SystemClock(), info.get_secret_value() if info else None)


def outcomes_of(settings: Settings) -> OutcomeCodec:
    """What reads the results topic; it says so where that needs a registry and none is configured."""
    registry = registry_of(settings)
    return (
        _WithoutRegistry(settings.results_topic) if registry is None else OutcomeCodec(registry, settings.results_topic)
    )


class _WithoutRegistry(OutcomeCodec):
    """Reads JSON. Who forgot to name the registry would else be told that nothing is known of a command."""

    def __init__(self, topic: str) -> None:
        super().__init__(None, topic)
        self._topic = topic
        self._said = False

    async def decode(self, key: bytes | None, value: bytes | None) -> Outcome | None:
        """The outcome, None for what is none or can't be read."""
        if value is not None and avro.framed(value) and not self._said:
            self._said = True
            mend = f"set {variable('schema_registry_url')}"
            say(f"{self._topic} has Avro, which can't be read without its registry: {mend}")
        return await super().decode(key, value)
