"""Streams can be changed, and have a version."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add its columns."""
    op.add_column("streams", sa.Column("updated_at", sa.BigInteger()))
    op.add_column("streams", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
