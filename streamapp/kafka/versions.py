"""Reads which releases of Faust and its Kafka client are installed; refuses all but the one that is mended here."""

from importlib.metadata import version

from streamapp.core.errors import ConfigError

PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}


def check_versions() -> None:
    """Make sure that private parts are where this package expects them.

    Raises:
        ConfigError: another release is installed.
    """
    for name, wanted in PINNED.items():
        found = version(name)
        if found != wanted:
            remedy = f"pip install {name}=={wanted}"
            raise ConfigError(f"{name} {found} is installed, and streamapp works with {wanted} alone: {remedy}")
