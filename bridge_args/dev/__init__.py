"""Maintainers' commands: regenerate catalogs, schemas and the reference."""
