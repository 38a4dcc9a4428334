"""Where are products and orders kept? In SQLite below `.rohas/`, because handlers run in several worker processes.

Event handlers may run again after a crash or an error, so every change here can be made twice with the effect of once.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from generated.dto.money import Money
from generated.models.currency import Currency
from generated.models.order import Order
from generated.models.order_line import OrderLine
from generated.models.order_status import OrderStatus
from generated.models.product import Product

DATABASE = Path(__file__).parents[2] / ".rohas" / "shop.db"

_TABLES = """
CREATE TABLE IF NOT EXISTS products (sku TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, email TEXT NOT NULL, created TEXT NOT NULL,
    request_key TEXT UNIQUE, document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS reservations (
    order_id TEXT NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (order_id, sku)
);
CREATE TABLE IF NOT EXISTS credit_checks (order_id TEXT PRIMARY KEY);
"""

_ASSORTMENT = [
    ("TEA-01", "Green tea, 100 g", 790, 40, {"kind": "tea", "organic": "yes"}),
    ("TEA-02", "Black tea, 100 g", 650, 25, {"kind": "tea"}),
    ("POT-01", "Cast iron teapot", 5900, 3, {"kind": "pot"}),
    ("CUP-01", "Porcelain cup", 1450, 100, {"kind": "cup"}),
    ("SET-99", "Tea service for twelve", 129900, 2, {"kind": "pot", "fragile": "yes"}),
]

_local = threading.local()


class OutOfStock(Exception):
    """There is less of a product than was ordered."""


def _connection() -> sqlite3.Connection:
    """This thread's connection: plain handlers run in several threads."""
    connection: sqlite3.Connection | None = getattr(_local, "connection", None)
    if connection is None:
        DATABASE.parent.mkdir(parents=True, exist_ok=True)
        connection = _local.connection = sqlite3.connect(DATABASE, timeout=10, isolation_level=None)
        with _transaction(connection):
            for statement in _TABLES.strip().split(";")[:-1]:
                connection.execute(statement)
            connection.executemany("INSERT OR IGNORE INTO products VALUES (?, ?)", map(_row, _ASSORTMENT))
    return connection


def _row(item: tuple[str, str, int, int, dict[str, str]]) -> tuple[str, str]:
    sku, name, price, on_hand, labels = item
    money = Money(amount=price, currency=Currency.EUR)
    product = Product(sku=sku, name=name, price=money, onHand=on_hand, reserved=0, labels=labels)
    return sku, product.model_dump_json()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def products() -> list[Product]:
    """All products by their number."""
    rows = _connection().execute("SELECT document FROM products ORDER BY sku")
    return [Product.model_validate_json(document) for (document,) in rows]


def product(sku: str) -> Product | None:
    """One product."""
    return _product(_connection(), sku)


def add_stock(sku: str, quantity: int) -> Product | None:
    """Puts something on the shelf; `None` if there is no such product."""
    with _transaction(_connection()) as connection:
        found = _product(connection, sku)
        if found is not None:
            found.onHand += quantity
            _save_product(connection, found)
        return found


def reserve(order_id: str, lines: list[OrderLine]) -> None:
    """Sets all lines of an order aside, or raises `OutOfStock` and leaves everything as it was."""
    with _transaction(_connection()) as connection:
        if connection.execute("SELECT 1 FROM reservations WHERE order_id = ?", [order_id]).fetchone():
            return
        for line in lines:
            found = _product(connection, line.sku)
            if found is None or found.onHand - found.reserved < line.quantity:
                available = 0 if found is None else found.onHand - found.reserved
                raise OutOfStock(f"{line.quantity} of {line.sku} were ordered, {available} are left")
            found.reserved += line.quantity
            _save_product(connection, found)
            connection.execute(
                "INSERT INTO reservations VALUES (?, ?, ?)"
                " ON CONFLICT (order_id, sku) DO UPDATE SET quantity = quantity + excluded.quantity",
                [order_id, line.sku, line.quantity],
            )


def release(order_id: str) -> None:
    """Puts back what was set aside for an order."""
    _settle(order_id, taken=False)


def take(order_id: str) -> None:
    """Takes what was set aside for an order off the shelf."""
    _settle(order_id, taken=True)


def _settle(order_id: str, taken: bool) -> None:
    with _transaction(_connection()) as connection:
        rows = connection.execute("DELETE FROM reservations WHERE order_id = ? RETURNING sku, quantity", [order_id])
        for sku, quantity in rows.fetchall():
            found = _product(connection, sku)
            if found is not None:
                found.reserved -= quantity
                found.onHand -= quantity if taken else 0
                _save_product(connection, found)


def add_order(order: Order, request_key: str | None) -> bool:
    """Keeps a new order; false if one was placed with the same key before."""
    row = [order.id, order.status.value, order.email, order.createdAt.isoformat(), request_key, order.model_dump_json()]
    added = _connection().execute("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?, ?)", row)
    return added.rowcount == 1


def order(order_id: str) -> Order | None:
    """One order."""
    row = _connection().execute("SELECT document FROM orders WHERE id = ?", [order_id]).fetchone()
    return None if row is None else Order.model_validate_json(row[0])


def orders(status: OrderStatus | None, email: str | None, limit: int) -> list[Order]:
    """The latest orders."""
    rows = _connection().execute(
        "SELECT document FROM orders WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR email = ?2)"
        " ORDER BY created DESC LIMIT ?3",
        [None if status is None else status.value, email, limit],
    )
    return [Order.model_validate_json(document) for (document,) in rows]


def advance(
    order_id: str, status: OrderStatus, *, only_from: set[OrderStatus], reason: str | None = None
) -> Order | None:
    """Moves an order on. `None` if it is gone, or in a status that doesn't lead to this one; then it stays as it is."""
    with _transaction(_connection()) as connection:
        found = order(order_id)
        if found is None or found.status not in only_from | {status}:
            return None
        found.status = status
        found.reason = reason if reason is not None else found.reason
        connection.execute(
            "UPDATE orders SET status = ?, document = ? WHERE id = ?", [status.value, found.model_dump_json(), order_id]
        )
        return found


def delete_order(order_id: str) -> None:
    """Forgets an order."""
    _connection().execute("DELETE FROM orders WHERE id = ?", [order_id])


def credit_check(order_id: str) -> bool:
    """Asks for a credit check; the answer is there from the second time on."""
    connection = _connection()
    added = connection.execute("INSERT OR IGNORE INTO credit_checks (order_id) VALUES (?)", [order_id])
    return added.rowcount == 0


def _product(connection: sqlite3.Connection, sku: str) -> Product | None:
    row = connection.execute("SELECT document FROM products WHERE sku = ?", [sku]).fetchone()
    return None if row is None else Product.model_validate_json(row[0])


def _save_product(connection: sqlite3.Connection, changed: Product) -> None:
    connection.execute("UPDATE products SET document = ? WHERE sku = ?", [changed.model_dump_json(), changed.sku])
