"""federation.ports.Store on a relational database, by SQLAlchemy Core: SQLite in `data_dir`, or PostgreSQL (`desk.database`).

`tables` is the schema as the code sees it, `migrations` how a database came to have it (a test compares the two), `engines` what differs
between the two databases, `store` the port, `rows` and `ends` what its transactions are made of, `looking` what `gatebook check` asks.
"""

from gatebook.adapters.desk_store.store import SqlStore

__all__ = ["SqlStore"]
