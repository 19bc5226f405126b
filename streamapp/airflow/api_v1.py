"""Airflow 2.10 and 2.11. Reads and writes their REST API v1."""

import re

from streamapp.airflow.rest import RestApi


class AirflowV1(RestApi):
    """Airflow's API v1."""

    root = "/api/v1"
    health_path = "/health"
    created = "execution_date"
    run_id = re.compile(r"(?!.*\.\.)(?!\.$)[A-Za-z0-9_.~:+-]{1,250}")  # another one is answered with 500

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        """Whether at least one task of the run was ever started; True where Airflow can't tell any more."""
        if await super().any_task_started(dag_id, run_id):
            return True
        return await self.get(dag_id, run_id) is None  # a run that is gone has no tasks, rather than 404
