"""Reads: nothing. Writes: nothing. The parts by name, as the Procfile and the tests call them."""

from stack.kafka import Kafka
from stack.part import Part
from stack.registry import Registry

PARTS: dict[str, type[Part]] = {part.name: part for part in (Kafka, Registry)}
