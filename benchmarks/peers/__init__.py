"""The same commands through several ways of turning Kafka records into DAG runs: `python -m benchmarks.peers`."""
