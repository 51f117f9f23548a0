"""What every store must do, once for SQLite and once for PostgreSQL."""
