"""The decision core: reads a state and an event, answers with changes and effects.

Pure: standard library only, no I/O, no clock, no randomness. Time arrives in the events (`at`), so that folding the
same events again gives the same decisions.
"""
