-- What the escapes would reach, and what the queries may see.
CREATE TABLE customers (
    id integer PRIMARY KEY, name text, email text, country text, vip boolean, joined date,
    tenant text, iban text
);
CREATE TABLE orders (
    id integer PRIMARY KEY, customer_id integer, total integer, status text, placed date,
    note text, tenant text
);
CREATE TABLE items (order_id integer, product text, quantity integer, cost integer);
CREATE TABLE secrets (id integer PRIMARY KEY, value text);
CREATE SCHEMA hidden;
CREATE TABLE hidden.payroll (id integer PRIMARY KEY, person text, salary integer);
CREATE SEQUENCE counter;
SELECT nextval('counter');
CREATE FUNCTION leak() RETURNS integer LANGUAGE sql VOLATILE AS
    $$ INSERT INTO secrets VALUES (99, 'leaked')
        ON CONFLICT (id) DO UPDATE SET value = 'leaked' RETURNING id $$;
CREATE FUNCTION label(customers) RETURNS text LANGUAGE sql STABLE AS $$ SELECT $1.iban $$;
CREATE FUNCTION hidden.peek(text) RETURNS text LANGUAGE sql VOLATILE AS
    $$ INSERT INTO secrets VALUES (98, $1); SELECT $1 $$;
CREATE OPERATOR hidden.+> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.textcat);
CREATE OPERATOR hidden.!!> (RIGHTARG = text, FUNCTION = hidden.peek);
CREATE PROCEDURE purge() LANGUAGE sql AS $$ DELETE FROM orders $$;
CREATE VIEW everything AS SELECT * FROM secrets;
CREATE MATERIALIZED VIEW totals AS SELECT sum(total) AS total FROM orders;
CREATE TYPE mood AS ENUM ('sad', 'happy');
