"""From settings to an Airflow. Reads the settings and the file of a private CA; writes nothing before the first use."""

import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import httpx
from pydantic import SecretStr

from streamapp.airflow.auth import Fixed, Login, basic
from streamapp.airflow.chosen import ChosenAirflow
from streamapp.airflow.connection import Connection
from streamapp.clock import Clock
from streamapp.core.errors import ConfigError

CONNECT_TIMEOUT = timedelta(seconds=5)


class AirflowSettings(Protocol):
    """The settings that this room knows; `streamapp.settings.Settings` has them."""

    @property
    def airflow_url(self) -> str:
        """Where Airflow's pages are."""

    @property
    def airflow_api(self) -> str:
        """`v1`, `v2`, or `auto`."""

    @property
    def airflow_username(self) -> str | None:
        """For `POST /auth/token`, or for basic auth."""

    @property
    def airflow_password(self) -> SecretStr | None:
        """That user's."""

    @property
    def airflow_token(self) -> SecretStr | None:
        """A bearer token, instead of a user."""

    @property
    def airflow_headers(self) -> Mapping[str, SecretStr]:
        """Sent with every request."""

    @property
    def airflow_ca_file(self) -> Path | None:
        """Certificates, in PEM."""

    @property
    def airflow_timeout(self) -> timedelta:
        """For a whole request. Who takes a partition over waits as long before believing that no run was created."""


def check_log_in(settings: AirflowSettings) -> None:
    """Refuse settings without any log-in.

    Raises:
        ConfigError: There is none.
    """
    if settings.airflow_token is None and settings.airflow_username is None and not settings.airflow_headers:
        raise ConfigError(
            "STREAMAPP_AIRFLOW_USERNAME and STREAMAPP_AIRFLOW_PASSWORD must be set, or STREAMAPP_AIRFLOW_TOKEN, or "
            "STREAMAPP_AIRFLOW_HEADERS: Airflow's log-in"
        )


def connect(
    settings: AirflowSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
) -> ChosenAirflow:
    """The port to the Airflow of the settings.

    Args:
        settings: Where it is, and how to log in.
        clock: For pauses and the age of tokens.
        transport: Another way to carry requests, for tests.

    Raises:
        ConfigError: A setting can't be used.
    """
    username, password, token = settings.airflow_username, settings.airflow_password, settings.airflow_token
    connection = Connection(
        settings.airflow_url,
        connect_timeout=CONNECT_TIMEOUT,
        request_timeout=settings.airflow_timeout,
        headers={name: value.get_secret_value() for name, value in settings.airflow_headers.items()},
        trust=_trust(settings.airflow_ca_file) if settings.airflow_ca_file is not None else None,
        transport=transport,
    )
    as_it_is = Fixed(f"Bearer {token.get_secret_value()}" if token is not None else None)
    if username is None or password is None:
        return ChosenAirflow(
            connection, credentials_v1=as_it_is, credentials_v2=as_it_is, clock=clock, api=settings.airflow_api
        )
    secret = password.get_secret_value()
    return ChosenAirflow(
        connection,
        credentials_v1=basic(username, secret),
        credentials_v2=Login(connection, username, secret, clock),
        clock=clock,
        api=settings.airflow_api,
    )


def _trust(file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"STREAMAPP_AIRFLOW_CA_FILE={str(file)!r}: must hold certificates in PEM ({error})") from None
