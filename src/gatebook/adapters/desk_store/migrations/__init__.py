"""The steps by which the schema came to be; Alembic reads them."""
