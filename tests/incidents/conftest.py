"""A real PostgreSQL for the incidents of a fleet."""

from support.postgres import postgres_server

__all__ = ["postgres_server"]
