"""Airflow behind one port: what the dispatcher asks of it, and every answer as a type."""
