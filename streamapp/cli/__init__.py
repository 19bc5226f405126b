"""The streamapp command. Data goes to stdout, everything else to stderr."""
