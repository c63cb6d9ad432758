"""Deliverer: the process that feeds receivers from a journal, and the supervisor that starts it again when it dies."""
