"""The one table, the topics, and what makes Faust keep its word. Private Faust API is touched nowhere else."""
