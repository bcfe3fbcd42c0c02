"""Certificates of the registry, the things that they speak for, and policies."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts INTEGER alone


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "certificates",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("certificate_id", sa.String(length=64), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("certificate_id"),
    )
    op.create_table(
        "principals",
        sa.Column("certificate_id", sa.String(length=64), nullable=False),
        sa.Column("thing", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["certificate_id"], ["certificates.certificate_id"]),
        sa.ForeignKeyConstraint(["thing"], ["things.name"]),
        sa.PrimaryKeyConstraint("certificate_id", "thing"),
    )
    op.create_index("principals_of_thing", "principals", ["thing"])
    op.create_table(
        "policies",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "attachments",
        sa.Column("policy", sa.String(length=128), nullable=False),
        sa.Column("target", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["policy"], ["policies.name"]),
        sa.PrimaryKeyConstraint("policy", "target"),
    )
    op.create_index("attachments_of_target", "attachments", ["target"])
