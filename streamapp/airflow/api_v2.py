"""Airflow 3. Reads and writes its REST API v2."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from streamapp.airflow.rest import RestApi


class AirflowV2(RestApi):
    """Airflow's API v2."""

    root = "/api/v2"
    health_path = "/monitor/health"
    created = "run_after"
    new_run: ClassVar[Mapping[str, Any]] = {"logical_date": None}  # must be there; a date would have to be unique
    run_id = re.compile(r"(?!\.{1,2}$)[^/\\?#%\s]+")
