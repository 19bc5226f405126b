"""Web pages and JSON of what the table holds. Reads the table; writes only events."""
