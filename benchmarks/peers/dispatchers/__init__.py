"""Other ways to do this job, each a program of its own, written as one would write it without this project."""
