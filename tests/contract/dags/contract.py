"""DAGs for the contract tests: one that asks for a param, and one that stays paused, so that its runs never start."""

from datetime import UTC, datetime

try:  # Airflow 3
    from airflow.sdk import Param, dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.models.param import Param

START = datetime(2024, 1, 1, tzinfo=UTC)


@task
def nothing() -> None:
    pass


@dag(dag_id="strict", schedule=None, start_date=START, params={"email": Param(type="string")})
def strict() -> None:
    nothing()


@dag(dag_id="parked", schedule=None, start_date=START, is_paused_upon_creation=True)
def parked() -> None:
    nothing()


strict()
parked()
