"""The payments database of the demonstration: one SQLite file, made anew at each start."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

from gatebook.demo.customers import Customer, Order, customers, orders

_NAMED_QUERY = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


class PaymentsDatabase:
    """Customers and orders in `path`. Each method opens its own connection, so it may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = resources.files("gatebook.demo").joinpath("payments.sql").read_text("utf-8")
        self._sql: dict[str, str] = dict(_NAMED_QUERY.findall(text))

    def recreate(self) -> None:
        """The file holds exactly the forty synthetic customers and their orders, whatever it held before."""
        with self._connection() as database:
            database.executescript(self._sql["schema"])
            database.executemany(self._sql["add_customer"], customers())
            database.executemany(self._sql["add_order"], orders())

    def order(self, order_id: str) -> Order | None:
        with self._connection() as database:
            row = database.execute(self._sql["order"], (order_id,)).fetchone()
        return Order(*row) if row else None

    def newest_orders(self, customer_id: str | None, limit: int) -> list[Order]:
        with self._connection() as database:
            rows = database.execute(self._sql["newest_orders"], {"customer_id": customer_id, "limit": limit}).fetchall()
        return [Order(*row) for row in rows]

    def customer(self, customer_id: str) -> Customer | None:
        with self._connection() as database:
            row = database.execute(self._sql["customer"], (customer_id,)).fetchone()
        return Customer(*row) if row else None

    def all_customers(self) -> list[Customer]:
        with self._connection() as database:
            return [Customer(*row) for row in database.execute(self._sql["all_customers"])]

    def refund(self, order_id: str) -> bool:
        """The order is refunded; False where there is none or it was refunded before."""
        with self._connection() as database:
            return database.execute(self._sql["refund"], (order_id,)).rowcount == 1

    def delete_customer(self, customer_id: str) -> bool:
        """The customer and their orders are gone; False where there was none."""
        with self._connection() as database:
            return database.execute(self._sql["delete_customer"], (customer_id,)).rowcount == 1

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10.0)) as database, database:
            database.execute("PRAGMA foreign_keys = ON")
            yield database
