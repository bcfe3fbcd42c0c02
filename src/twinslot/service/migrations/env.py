"""The environment of alembic's commands: the transaction of the service's own connection."""

from alembic import context

from twinslot.service.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
