"""Thing groups, tags, versions of things; an execution outlives the thing that it was for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_CONVENTION = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}  # as PostgreSQL names them by itself


def upgrade() -> None:
    """Make them."""
    op.add_column(
        "things", sa.Column("version", sa.BigInteger(), server_default="1", nullable=False)
    )
    with op.batch_alter_table("executions", naming_convention=_CONVENTION) as executions:
        executions.drop_constraint("executions_thing_fkey", type_="foreignkey")
    op.create_table(
        "groups",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("parent", sa.String(length=128)),
        sa.Column("description", sa.Text()),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "members",
        sa.Column("group", sa.String(length=128), nullable=False),
        sa.Column("thing", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["group"], ["groups.name"]),
        sa.ForeignKeyConstraint(["thing"], ["things.name"]),
        sa.PrimaryKeyConstraint("group", "thing"),
    )
    op.create_index("members_of_thing", "members", ["thing"])
    op.create_table(
        "tags",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "key"),
    )
