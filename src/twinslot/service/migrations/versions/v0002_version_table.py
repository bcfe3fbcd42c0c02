"""The version stands in alembic's table; the one in which release 0.2.0 counted goes."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Remove the old table."""
    op.drop_table("schema")
