"""Where incidents, alerts, near misses and findings are kept: memory, SQLite, PostgreSQL."""
