-- The help desk's own database: a small company's customers, tickets, refunds and runbooks.
CREATE TABLE customer (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, phone TEXT NOT NULL,
  iban TEXT NOT NULL, plan TEXT NOT NULL
);
CREATE TABLE ticket (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id),
  subject TEXT NOT NULL, status TEXT NOT NULL
);
CREATE TABLE reply (
  id INTEGER PRIMARY KEY, ticket_id INTEGER NOT NULL REFERENCES ticket (id), body TEXT NOT NULL
);
CREATE TABLE refund (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id),
  amount_cents INTEGER NOT NULL, currency TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE runbook (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL);

INSERT INTO customer VALUES
  (1, 'Ada Lovelace', 'ada@analytical.example', '+44 20 7946 0958', 'DE89370400440532013000', 'business'),
  (2, 'Grace Hopper', 'grace@navy.example', '+1 555 010 4477', 'GB29NWBK60161331926819', 'starter'),
  (3, 'Edsger Dijkstra', 'edsger@goto.example', '+31 20 555 0199', 'NL91ABNA0417164300', 'business');
INSERT INTO ticket VALUES
  (11, 1, 'Charged twice in October', 'open'),
  (12, 2, 'Cannot export my report', 'open'),
  (13, 3, 'Please remove the GOTO button', 'closed');
INSERT INTO runbook VALUES
  (1, 'Double charge', 'Compare the two charges. Refund the second. Refunds over 50.00 are finance''s to make.'),
  (2, 'Export fails', 'Ask for the browser and the time of the attempt, then retry the export job.');
