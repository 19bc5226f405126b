"""A DAG that asks for a param, so that Airflow refuses commands without it."""

from airflow.sdk import Param, dag, task


@dag(dag_id="strict", schedule=None, params={"email": Param(type="string")})
def strict() -> None:
    """Hold the one task."""

    @task
    def nothing() -> None:
        pass

    nothing()


strict()
