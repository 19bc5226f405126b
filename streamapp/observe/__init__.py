"""What an operator sees of the inside: logs and health."""
