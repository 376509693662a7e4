"""Alembic's entry: run the steps on the connection that `migrating` hands over."""

from alembic import context

from gatebook.adapters.desk_store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
