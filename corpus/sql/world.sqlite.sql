-- What the escapes would reach, and what the queries may see.
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, name TEXT, email TEXT, country TEXT, vip INTEGER, joined TEXT,
    tenant TEXT, iban TEXT
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER, total INTEGER, status TEXT, placed TEXT,
    note TEXT, tenant TEXT
);
CREATE TABLE items (order_id INTEGER, product TEXT, quantity INTEGER, cost INTEGER);
CREATE TABLE secrets (id INTEGER PRIMARY KEY, value TEXT);
CREATE VIEW everything AS SELECT * FROM secrets;
