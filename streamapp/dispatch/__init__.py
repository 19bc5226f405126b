"""The moving parts of dispatching, without Faust, so that a simulator can drive the real ones."""
