"""Reads: the settings. Writes: nothing. Clients that several verbs share."""

from streamapp.clock import SystemClock
from streamapp.settings import Settings
from streamapp.wire.registry import Registry


def registry_of(settings: Settings) -> Registry | None:
    """The schema registry, where one is configured."""
    if settings.schema_registry_url is None:
        return None
    info = settings.schema_registry_user_info
    return Registry(settings.schema_registry_url, SystemClock(), info.get_secret_value() if info else None)
