"""DAGs for the contract tests: one that asks for a param, and one that stays paused, so that its runs never start."""

from airflow.sdk import Param, dag, task


@task
def nothing() -> None:
    pass


@dag(dag_id="strict", schedule=None, params={"email": Param(type="string")})
def strict() -> None:
    nothing()


@dag(dag_id="parked", schedule=None, is_paused_upon_creation=True)
def parked() -> None:
    nothing()


strict()
parked()
