"""The schema's history; only `runner` and `env` import Alembic, so that knowing the newest revision costs nothing."""

HEAD = "0013"
"""The newest revision of the schema."""
