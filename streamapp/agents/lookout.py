"""Asks Airflow how it is while it may be down, and now and then about its DAGs. Writes nothing."""

from typing import Any

import faust
from mode import Service

from streamapp.agents.parts import Parts


def register(app: faust.App, parts: Parts) -> None:
    """Add the service to the app."""

    @app.service
    class LookoutService(Service):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

        @Service.task
        async def _watch_airflow(self) -> None:
            await parts.guard.watch()

        @Service.task
        async def _learn_of_dags(self) -> None:
            await parts.dags.run()
