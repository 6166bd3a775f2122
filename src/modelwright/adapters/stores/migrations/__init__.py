"""Alembic's migrations of the registry, run by ``open_database``."""
