import asyncio

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, InvalidSessionTimeoutError

from streamapp.core.errors import ConfigError, Unsafe
from streamapp.kafka.group import explained, leave_when_refused


class Coordinator:
    """One whose task ends as it is told."""

    def __init__(self, error=None):
        async def coordinate():
            if error is not None:
                raise error

        self.pushed = []
        self._coordination_task = asyncio.ensure_future(coordinate())

    def _push_error_to_user(self, error):
        self.pushed.append(error)


async def test_an_error_that_nobody_would_look_at_is_told():
    coordinator, told, error = Coordinator(), [], GroupAuthorizationFailedError("app")
    leave_when_refused(coordinator, told.append)
    leave_when_refused(coordinator, pytest.fail)  # topics are subscribed again
    coordinator._push_error_to_user(error)
    await coordinator._coordination_task
    assert told == coordinator.pushed == [error]


async def test_what_the_client_has_died_of_is_told():
    error = AssertionError("unexpected")
    coordinator, told = Coordinator(error), []
    leave_when_refused(coordinator, told.append)
    await asyncio.wait([coordinator._coordination_task])
    await asyncio.sleep(0)
    assert told == [error]


def test_where_a_setting_does_not_fit_a_restart_would_not_help():
    assert isinstance(explained(InvalidSessionTimeoutError(), "app"), ConfigError)
    refused = explained(GroupAuthorizationFailedError("app"), "app")
    assert isinstance(refused, Unsafe)
    assert "group app: GroupAuthorizationFailedError" in str(refused)
