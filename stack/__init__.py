"""The real parts on a development machine: Kafka, schema registry, Airflow, mail catcher, workers."""
