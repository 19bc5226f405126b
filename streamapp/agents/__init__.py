"""The Faust agents: read an event, let the core decide, write its changes, perform its effects."""
