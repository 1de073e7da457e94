-- Version 2: orders of service systems (B01-B06), slips and payments over channels (B22, B23), refunds, webhooks (B24), searches (B30-B32).

-- Whoever was picked for a spot check stays picked until staff has accepted a basket of theirs.
ALTER TABLE users ADD COLUMN picked INTEGER NOT NULL DEFAULT 0 CHECK (picked IN (0, 1));

-- ---- service systems -------------------------------------------------------------------------------------------------

CREATE TABLE sources (
  source INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  source_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  -- Who is paid when an order names nobody else.
  payee TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
  callback_url TEXT,
  -- Whether callbacks may go to loopback and private addresses.
  private_callback INTEGER NOT NULL DEFAULT 0 CHECK (private_callback IN (0, 1)),
  -- Set by a 410 of the callback address; cleared by a new address.
  callback_gone INTEGER NOT NULL DEFAULT 0 CHECK (callback_gone IN (0, 1)),
  time_zone TEXT NOT NULL,
  made_at INTEGER NOT NULL
);
-- API keys, shown once; `scopes` is a space-separated list.
CREATE TABLE source_keys (
  sha256 TEXT PRIMARY KEY,
  source INTEGER NOT NULL REFERENCES sources,
  scopes TEXT NOT NULL,
  made_at INTEGER NOT NULL,
  revoked_at INTEGER
) WITHOUT ROWID;
CREATE INDEX source_keys_of_source ON source_keys (source);
-- Secrets that webhooks are signed with; during a rotation there are two.
CREATE TABLE source_secrets (
  source INTEGER NOT NULL REFERENCES sources,
  n INTEGER NOT NULL,
  secret BLOB NOT NULL,
  made_at INTEGER NOT NULL,
  ends_at INTEGER,
  PRIMARY KEY (source, n)
) WITHOUT ROWID;

-- ---- orders ----------------------------------------------------------------------------------------------------------

CREATE TABLE orders_2 (
  number INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number <= 999999999999999),
  merchant INTEGER NOT NULL,
  -- The service system's id; for a basket the store's.
  source TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('draft', 'awaiting_confirmation', 'collecting', 'payable', 'in_payment', 'paid',
    'withdrawn', 'expired', 'partly_refunded', 'refunded')),
  service_name TEXT NOT NULL,
  payee TEXT NOT NULL,
  payer INTEGER NOT NULL,
  currency TEXT NOT NULL,
  total INTEGER NOT NULL,
  due INTEGER NOT NULL CHECK (due >= 0),
  refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0),
  case_number TEXT NOT NULL,
  arose_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  store INTEGER,
  version INTEGER NOT NULL DEFAULT 1,
  -- The live slip that it is on: an order is on one at most.
  slip INTEGER,
  -- How many reminders were given, and when the next thing happens by itself (reminder, expiry).
  reminders INTEGER NOT NULL DEFAULT 0,
  wake_at INTEGER,
  made_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
);
INSERT INTO orders_2 (number, merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at, deadline, store,
    made_at, changed_at)
  SELECT number, merchant, source,
    CASE state WHEN 'unconfirmed' THEN 'awaiting_confirmation' WHEN 'paying' THEN 'in_payment' ELSE state END,
    service_name, paying_unit, payer, currency, total, due, case_number, arose_at, deadline, store, arose_at, arose_at FROM orders;
-- What may tell of people, erasable: the case's name (B03), the unit that pays, remarks.
CREATE TABLE order_texts (
  number INTEGER PRIMARY KEY,
  case_name TEXT NOT NULL,
  paying_unit TEXT NOT NULL,
  remarks TEXT NOT NULL
);
INSERT INTO order_texts (number, case_name, paying_unit, remarks)
  SELECT number, ifnull((SELECT case_name FROM case_names c WHERE c.case_number = orders.case_number), ''), '', remarks FROM orders;
DROP TABLE case_names;
DROP TABLE orders;
ALTER TABLE orders_2 RENAME TO orders;
CREATE INDEX orders_by_case ON orders (case_number, currency, number);
CREATE INDEX orders_of_payer ON orders (payer, state, number);
CREATE INDEX orders_of_source ON orders (source, number);
CREATE INDEX orders_by_state ON orders (state, number);
CREATE INDEX orders_on_slip ON orders (slip) WHERE slip IS NOT NULL;
CREATE INDEX orders_waking ON orders (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX orders_by_arose ON orders (arose_at);
CREATE INDEX orders_by_total ON orders (currency, total);
CREATE INDEX order_texts_by_case_name ON order_texts (case_name, number) WHERE case_name <> '';

-- Fee lines: `minor` is quantity × unit price, tax included; `tax_minor` is the tax in it.
CREATE TABLE order_fees_2 (
  number INTEGER NOT NULL,
  n INTEGER NOT NULL,
  name TEXT NOT NULL,
  quantity TEXT NOT NULL,
  unit_minor INTEGER NOT NULL,
  minor INTEGER NOT NULL,
  tax_rate TEXT NOT NULL,
  tax_minor INTEGER NOT NULL,
  PRIMARY KEY (number, n)
) WITHOUT ROWID;
INSERT INTO order_fees_2 SELECT number, n, name, '1', minor, minor, '0', 0 FROM order_fees;
DROP TABLE order_fees;
ALTER TABLE order_fees_2 RENAME TO order_fees;

-- Which order came of which idempotency key: for ever, unlike `idempotency`.
CREATE TABLE order_keys (
  source TEXT NOT NULL,
  key TEXT NOT NULL,
  body_sha256 BLOB NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (source, key)
) WITHOUT ROWID;
-- Every version and who changed what. `facts` is a JSON object without texts about people; those are in `order_version_texts`.
CREATE TABLE order_versions (
  number INTEGER NOT NULL,
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (number, version)
) WITHOUT ROWID;
CREATE TABLE order_version_texts (
  number INTEGER NOT NULL,
  version INTEGER NOT NULL,
  texts TEXT NOT NULL,
  PRIMARY KEY (number, version)
) WITHOUT ROWID;

-- ---- slips and payments ----------------------------------------------------------------------------------------------

-- B22. A live slip (`open`, `paying`) locks its orders.
CREATE TABLE slips (
  slip INTEGER PRIMARY KEY AUTOINCREMENT CHECK (slip <= 999999999999999999),
  merchant INTEGER NOT NULL,
  payer INTEGER NOT NULL,
  payee TEXT NOT NULL,
  title TEXT NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  -- The method of the newest attempt.
  method TEXT,
  state TEXT NOT NULL CHECK (state IN ('open', 'paying', 'paid', 'closed')),
  made_at INTEGER NOT NULL,
  -- An `open` slip nobody pays gives its orders back then.
  expires_at INTEGER NOT NULL,
  closed_at INTEGER
);
CREATE INDEX slips_of_payer ON slips (payer, slip);
CREATE INDEX slips_expiring ON slips (expires_at) WHERE state = 'open';
CREATE TABLE slip_orders (
  slip INTEGER NOT NULL,
  number INTEGER NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  PRIMARY KEY (slip, number)
) WITHOUT ROWID;
CREATE INDEX slips_of_order ON slip_orders (number);
-- Invoice data and remarks, erasable.
CREATE TABLE slip_texts (
  slip INTEGER PRIMARY KEY,
  remarks TEXT NOT NULL,
  invoice_type TEXT CHECK (invoice_type IN ('personal', 'company')),
  invoice_title TEXT NOT NULL,
  tax_id TEXT NOT NULL
);

-- Each try to pay a slip. A channel knows it by its own number.
CREATE TABLE payment_attempts (
  pay INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  payment_id BLOB NOT NULL UNIQUE,
  slip INTEGER NOT NULL,
  n INTEGER NOT NULL,
  method TEXT NOT NULL CHECK (method IN ('stored_value', 'bank', 'alipay', 'tenpay', 'test')),
  channel_number TEXT NOT NULL UNIQUE,
  currency TEXT NOT NULL,
  -- What the channel is to collect, and what is taken from stored value beside it.
  minor INTEGER NOT NULL CHECK (minor >= 0),
  stored_value INTEGER NOT NULL CHECK (stored_value >= 0),
  device INTEGER,
  body_sha256 BLOB NOT NULL,
  -- The slip payment that the consent key signed, if the method needs one.
  jws TEXT,
  state TEXT NOT NULL CHECK (state IN ('open', 'closing', 'succeeded', 'closed')),
  -- Launch data for the payer's app or browser: JSON.
  launch TEXT,
  reason TEXT,
  -- The deadline that was sent to the channel: later, and after a last query, an attempt that it never knew is closed.
  deadline INTEGER NOT NULL,
  opened_at INTEGER NOT NULL,
  closed_at INTEGER,
  UNIQUE (slip, n)
);
-- At most one attempt is open per slip.
CREATE UNIQUE INDEX payment_attempts_open ON payment_attempts (slip) WHERE state IN ('open', 'closing');
CREATE INDEX payment_attempts_ending ON payment_attempts (deadline) WHERE state IN ('open', 'closing');

-- Stored value that a payment attempt will post.
CREATE TABLE pay_reservations (
  pay INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  state TEXT NOT NULL CHECK (state IN ('open', 'posted', 'released'))
);

-- What moved or is to move for an order: by a basket's debit (`payment`), by a slip (`pay`), or back (`refund`, of `of_leg`).
CREATE TABLE legs_2 (
  leg INTEGER PRIMARY KEY,
  number INTEGER NOT NULL,
  payment INTEGER,
  pay INTEGER,
  refund INTEGER,
  of_leg INTEGER,
  n INTEGER NOT NULL,
  method TEXT NOT NULL CHECK (method IN ('stored_value', 'bank', 'alipay', 'tenpay', 'test')),
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  reference TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'unknown', 'succeeded', 'failed')),
  -- With the posting.
  business_date TEXT,
  posted_at INTEGER,
  UNIQUE (reference, number),
  CHECK ((payment IS NOT NULL) + (pay IS NOT NULL) + (refund IS NOT NULL) = 1),
  CHECK ((refund IS NULL) = (of_leg IS NULL))
);
INSERT INTO legs_2 (number, payment, n, method, currency, minor, reference, state, business_date, posted_at)
  SELECT p.number, l.payment, l.n, l.method, p.currency, l.minor, l.reference, l.state,
    (SELECT t.business_date FROM transfers t WHERE l.state = 'succeeded' AND t.trip = p.trip AND t.kind = 'debit'), p.closed_at
  FROM legs l JOIN payments p USING (payment);
DROP TABLE legs;
ALTER TABLE legs_2 RENAME TO legs;
CREATE INDEX legs_of_order ON legs (number, state, method, currency, refund, minor, business_date);
CREATE INDEX legs_of_payment ON legs (payment) WHERE payment IS NOT NULL;
CREATE INDEX legs_of_pay ON legs (pay) WHERE pay IS NOT NULL;
CREATE INDEX legs_of_refund ON legs (refund) WHERE refund IS NOT NULL;
CREATE INDEX legs_of_leg ON legs (of_leg) WHERE of_leg IS NOT NULL;
CREATE INDEX legs_by_reference ON legs (reference);
-- Totals are answered from these alone: what has succeeded and is posted, and which order it is of.
CREATE INDEX legs_by_day ON legs (business_date, currency, method, refund, minor, number, state)
  WHERE state = 'succeeded' AND business_date IS NOT NULL;
CREATE INDEX legs_by_method ON legs (method, currency, refund, minor, number, business_date, state)
  WHERE state = 'succeeded' AND business_date IS NOT NULL;
CREATE INDEX legs_by_time ON legs (posted_at) WHERE posted_at IS NOT NULL;
CREATE INDEX legs_by_amount ON legs (currency, minor, state, business_date, refund);

-- What a channel is asked: durable jobs with leases, as `bank_calls`.
CREATE TABLE channel_calls (
  call INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  pay INTEGER NOT NULL,
  -- The refund of an order, or the receipt in suspense, that it is for.
  refund INTEGER,
  receipt INTEGER,
  kind TEXT NOT NULL CHECK (kind IN ('create', 'close', 'refund')),
  -- The channel's number of the attempt, or that of the refund.
  reference TEXT NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL,
  -- `call` first; once it may have left, `query` until the channel says what became of it.
  step TEXT NOT NULL CHECK (step IN ('call', 'query')),
  state TEXT NOT NULL CHECK (state IN ('open', 'done', 'refused')),
  reason TEXT,
  tries INTEGER NOT NULL DEFAULT 0,
  due INTEGER,
  lease INTEGER NOT NULL DEFAULT 0,
  made_at INTEGER NOT NULL,
  UNIQUE (kind, reference)
);
CREATE INDEX channel_calls_due ON channel_calls (due) WHERE state = 'open';
CREATE INDEX channel_calls_of_pay ON channel_calls (pay);
-- Every verified receipt of a channel, once: applied to a slip or its orders, or in suspense and given back.
CREATE TABLE channel_receipts (
  receipt INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  pay INTEGER NOT NULL,
  method TEXT NOT NULL,
  -- The channel's own number of the trade.
  trade TEXT NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  state TEXT NOT NULL CHECK (state IN ('applied', 'suspense', 'refunding', 'refunded')),
  received_at INTEGER NOT NULL,
  UNIQUE (method, trade)
);
CREATE INDEX channel_receipts_of_pay ON channel_receipts (pay);
CREATE INDEX channel_receipts_by_time ON channel_receipts (received_at);
CREATE INDEX statement_entries_by_time ON statement_entries (booked_at);
CREATE INDEX statement_entries_by_reference ON statement_entries (reference);
CREATE TABLE refunds (
  refund INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  refund_id BLOB NOT NULL UNIQUE,
  number INTEGER NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  actor TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
  made_at INTEGER NOT NULL,
  closed_at INTEGER
);
CREATE INDEX refunds_of_order ON refunds (number);

-- The bank is asked about payments of slips and refunds too: `trip` becomes `subject`, the identifier of a trip or of a payment.
ALTER TABLE bank_calls RENAME COLUMN trip TO subject;
ALTER TABLE bank_calls ADD COLUMN pay INTEGER;
ALTER TABLE bank_calls ADD COLUMN refund INTEGER;
ALTER TABLE statement_entries RENAME COLUMN trip TO subject;
ALTER TABLE suspense RENAME COLUMN trip TO subject;

-- ---- webhooks --------------------------------------------------------------------------------------------------------

-- What a service system is told (Standard Webhooks), with its tries.
CREATE TABLE deliveries (
  delivery INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  message_id TEXT NOT NULL UNIQUE,
  source INTEGER NOT NULL,
  kind TEXT NOT NULL,
  number INTEGER,
  body BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
  tries INTEGER NOT NULL DEFAULT 0,
  due INTEGER,
  lease INTEGER NOT NULL DEFAULT 0,
  made_at INTEGER NOT NULL,
  ended_at INTEGER,
  last_status INTEGER,
  last_error TEXT
);
CREATE INDEX deliveries_due ON deliveries (due) WHERE state = 'waiting';
CREATE INDEX deliveries_of_source ON deliveries (source, delivery);
CREATE INDEX deliveries_waiting ON deliveries (source, due) WHERE state = 'waiting';
CREATE INDEX deliveries_dead ON deliveries (source, delivery) WHERE state = 'dead';
CREATE INDEX deliveries_of_order ON deliveries (number);
