"""A job has a plan, by which it reaches its things, and things wait for it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns, and the table of those who wait."""
    op.add_column("jobs", sa.Column("plan", sa.JSON(), nullable=False, server_default="{}"))
    for name in ("continuous", "stopped"):
        op.add_column(
            "jobs", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.add_column("jobs", sa.Column("due_at", sa.BigInteger()))
    op.create_index("jobs_due", "jobs", ["due_at"])
    op.add_column(
        "executions", sa.Column("attempt", sa.Integer(), nullable=False, server_default="0")
    )
    op.create_index("executions_told", "executions", ["job_id", "queued_at", "attempt"])
    op.create_table(
        "waiting",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("thing", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"]),
        sa.ForeignKeyConstraint(["thing"], ["things.name"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "thing"),
    )
    op.create_index("waiting_of_thing", "waiting", ["thing"])
