-- Queries of the demonstration's payments server. Each begins with its name; `payments.py` reads them from here.

-- name: schema
-- Thrown away and made again at each start.
DROP TABLE IF EXISTS orders;
DROP TABLE IF EXISTS customers;
CREATE TABLE customers (
    customer_id  TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    email        TEXT NOT NULL,
    card_number  TEXT NOT NULL,
    card_expires TEXT NOT NULL
);
CREATE TABLE orders (
    order_id     TEXT PRIMARY KEY,
    customer_id  TEXT NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    item         TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    status       TEXT NOT NULL,
    created_at   TEXT NOT NULL
);

-- name: add_customer
INSERT INTO customers (customer_id, name, email, card_number, card_expires) VALUES (?, ?, ?, ?, ?);

-- name: add_order
INSERT INTO orders (order_id, customer_id, item, amount_minor, currency, status, created_at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: order
SELECT order_id, customer_id, item, amount_minor, currency, status, created_at FROM orders WHERE order_id = ?;

-- name: newest_orders
-- Of one customer, or of all where :customer_id is null.
SELECT order_id, customer_id, item, amount_minor, currency, status, created_at
FROM orders
WHERE :customer_id IS NULL OR customer_id = :customer_id
ORDER BY created_at DESC, order_id
LIMIT :limit;

-- name: customer
SELECT customer_id, name, email, card_number, card_expires FROM customers WHERE customer_id = ?;

-- name: all_customers
SELECT customer_id, name, email, card_number, card_expires FROM customers ORDER BY customer_id;

-- name: refund
UPDATE orders SET status = 'refunded' WHERE order_id = ? AND status <> 'refunded';

-- name: delete_customer
DELETE FROM customers WHERE customer_id = ?;
