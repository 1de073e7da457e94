-- Version 1. Times are milliseconds since 1970 in UTC, amounts are minor units, identifiers of sixteen bytes are BLOBs.
-- `merchant` is 1 in a database of one merchant: the number takes no room, and the column is there for those of several.
-- What each table is for, how long it is kept and how it is erased: store/privacy.rs.

CREATE TABLE merchants (
  merchant INTEGER PRIMARY KEY,
  merchant_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  sim INTEGER NOT NULL CHECK (sim IN (0, 1))
);

CREATE TABLE stores (
  store INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL REFERENCES merchants,
  store_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  currency TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  tax_id TEXT NOT NULL,
  gate_group TEXT NOT NULL,
  next_receipt INTEGER NOT NULL DEFAULT 1
);

-- ---- people ----------------------------------------------------------------------------------------------------------

CREATE TABLE users (
  user INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL REFERENCES merchants,
  sub TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('active', 'blocked', 'erased')),
  account INTEGER REFERENCES accounts,
  created_at INTEGER NOT NULL
);
CREATE TABLE user_names (
  user INTEGER PRIMARY KEY REFERENCES users,
  user_name TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL
);
CREATE TABLE user_addresses (
  user INTEGER NOT NULL REFERENCES users,
  address TEXT NOT NULL,
  PRIMARY KEY (user, address)
) WITHOUT ROWID;
CREATE TABLE bank_bindings (
  user INTEGER PRIMARY KEY REFERENCES users,
  token TEXT NOT NULL,
  label TEXT NOT NULL,
  confirm_url TEXT NOT NULL
);
-- What was accepted per business day, for limits.
CREATE TABLE user_days (
  user INTEGER NOT NULL,
  day TEXT NOT NULL,
  currency TEXT NOT NULL,
  purchases INTEGER NOT NULL,
  minor INTEGER NOT NULL,
  PRIMARY KEY (user, day, currency)
) WITHOUT ROWID;

-- ---- devices ---------------------------------------------------------------------------------------------------------

CREATE TABLE devices (
  device INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL REFERENCES merchants,
  device_id BLOB NOT NULL UNIQUE,
  user INTEGER NOT NULL REFERENCES users,
  state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'frozen', 'revoked')),
  request_kid TEXT NOT NULL UNIQUE,
  request_key TEXT NOT NULL,
  consent_kid TEXT NOT NULL UNIQUE,
  consent_key TEXT NOT NULL,
  enrolled_at INTEGER NOT NULL,
  active_since INTEGER,
  last_seq INTEGER NOT NULL DEFAULT 0,
  body_sha256 BLOB NOT NULL,
  granted TEXT NOT NULL
);
CREATE INDEX devices_of_user ON devices (user);
CREATE TABLE device_labels (
  device INTEGER PRIMARY KEY REFERENCES devices,
  label TEXT NOT NULL
);
-- Keys that a rotation replaced: good for documents numbered before it.
CREATE TABLE retired_keys (
  kid TEXT PRIMARY KEY,
  device INTEGER NOT NULL REFERENCES devices,
  consent INTEGER NOT NULL CHECK (consent IN (0, 1)),
  key TEXT NOT NULL,
  until_seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX retired_keys_of_device ON retired_keys (device);
-- Which document a device signed under which number: two under one number mean two copies of its folder.
CREATE TABLE device_documents (
  device INTEGER NOT NULL,
  device_seq INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  PRIMARY KEY (device, device_seq)
) WITHOUT ROWID;
CREATE TABLE rotations (
  device INTEGER NOT NULL REFERENCES devices,
  body_sha256 BLOB NOT NULL,
  recorded_at INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  PRIMARY KEY (device, body_sha256)
) WITHOUT ROWID;
CREATE TABLE enrolment_codes (
  sha256 TEXT PRIMARY KEY,
  user INTEGER NOT NULL REFERENCES users,
  self_confirming INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  used_by INTEGER REFERENCES devices
) WITHOUT ROWID;
CREATE TABLE enrolment_nonces (
  nonce TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX enrolment_nonces_by_time ON enrolment_nonces (expires_at);
-- What a device is told, signed, without gaps.
CREATE TABLE events (
  device INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  jws TEXT NOT NULL,
  PRIMARY KEY (device, seq)
) WITHOUT ROWID;

-- ---- catalogue -------------------------------------------------------------------------------------------------------

CREATE TABLE catalogue_revisions (
  store INTEGER NOT NULL REFERENCES stores,
  revision INTEGER NOT NULL,
  pricing_version INTEGER NOT NULL,
  issued_at INTEGER NOT NULL,
  usable_until INTEGER NOT NULL,
  PRIMARY KEY (store, revision)
) WITHOUT ROWID;
-- A row as it travels, and the revisions it is in: from `born` to before `gone`.
CREATE TABLE catalogue_rows (
  store INTEGER NOT NULL REFERENCES stores,
  kind INTEGER NOT NULL,
  key TEXT NOT NULL,
  born INTEGER NOT NULL,
  gone INTEGER,
  row BLOB NOT NULL,
  PRIMARY KEY (store, kind, key, born)
) WITHOUT ROWID;
CREATE INDEX catalogue_rows_born ON catalogue_rows (store, born);
CREATE INDEX catalogue_rows_gone ON catalogue_rows (store, gone) WHERE gone IS NOT NULL;

-- ---- trips -----------------------------------------------------------------------------------------------------------

CREATE TABLE trips (
  trip BLOB PRIMARY KEY,
  merchant INTEGER NOT NULL,
  store INTEGER,
  user INTEGER NOT NULL,
  device INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'cancelled', 'accepted')),
  first_seen INTEGER NOT NULL,
  last_sign INTEGER NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  accepted INTEGER,
  cancel_sha256 BLOB,
  cancel_at INTEGER,
  cancel_last_seq INTEGER
) WITHOUT ROWID;
CREATE INDEX trips_idle ON trips (last_sign) WHERE state = 'open';
CREATE INDEX trips_of_user ON trips (user);

CREATE TABLE holds (
  hold BLOB PRIMARY KEY,
  trip BLOB NOT NULL,
  number INTEGER NOT NULL,
  replaces BLOB,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL,
  jws TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('accepted', 'placed', 'declined', 'released', 'expired', 'captured', 'replaced')),
  -- The bank's entry that reserves the money: the reference under which it was first placed.
  entry TEXT,
  expires_at INTEGER,
  releasing INTEGER NOT NULL DEFAULT 0,
  recorded_at INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  UNIQUE (trip, number)
) WITHOUT ROWID;
CREATE INDEX holds_expiring ON holds (expires_at) WHERE state = 'placed' AND releasing = 0;

CREATE TABLE attempts (
  trip BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  body_sha256 BLOB NOT NULL,
  jws TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'check', 'uncovered', 'rejected', 'accepted')),
  -- What staff must check before it is accepted, and why it was not: JSON arrays of reasons.
  checks TEXT,
  reasons TEXT,
  decided_at INTEGER,
  recorded_at INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  PRIMARY KEY (trip, attempt)
) WITHOUT ROWID;
-- At most one attempt of a trip is ever accepted.
CREATE UNIQUE INDEX attempts_accepted ON attempts (trip) WHERE state = 'accepted';
CREATE INDEX attempts_open ON attempts (state, recorded_at) WHERE state IN ('waiting', 'check');
-- The groceries, erasable while the evidence stays.
CREATE TABLE attempt_lines (
  trip BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  lines BLOB NOT NULL,
  PRIMARY KEY (trip, attempt)
) WITHOUT ROWID;
CREATE TABLE decisions (
  trip BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  staff_id TEXT NOT NULL,
  accept INTEGER NOT NULL,
  decided_at INTEGER NOT NULL,
  PRIMARY KEY (trip, attempt)
) WITHOUT ROWID;

CREATE TABLE exit_passes (
  jti BLOB PRIMARY KEY,
  trip BLOB NOT NULL,
  gate_group TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE spent_passes (
  spent INTEGER PRIMARY KEY AUTOINCREMENT,
  gate_group TEXT NOT NULL,
  jti BLOB NOT NULL,
  spent_at INTEGER NOT NULL,
  UNIQUE (gate_group, jti)
);
CREATE TABLE revocations (
  revocation INTEGER PRIMARY KEY AUTOINCREMENT,
  gate_group TEXT NOT NULL,
  jti BLOB NOT NULL UNIQUE,
  expires_at INTEGER NOT NULL
);
CREATE INDEX revocations_of_group ON revocations (gate_group, revocation);
CREATE INDEX spent_of_group ON spent_passes (gate_group, spent);

-- ---- money -----------------------------------------------------------------------------------------------------------

CREATE TABLE accounts (
  account INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  name TEXT NOT NULL,
  currency TEXT NOT NULL,
  balance INTEGER NOT NULL DEFAULT 0,
  reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  -- What balance − reserved never goes below.
  floor INTEGER,
  UNIQUE (name, currency),
  CHECK (floor IS NULL OR balance - reserved >= floor)
);
CREATE TABLE transfers (
  transfer INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  store INTEGER,
  kind TEXT NOT NULL,
  -- Idempotency: one transfer per reference.
  reference TEXT NOT NULL UNIQUE,
  trip BLOB,
  business_date TEXT NOT NULL,
  receipt INTEGER,
  posted_at INTEGER NOT NULL
);
CREATE TABLE postings (
  transfer INTEGER NOT NULL,
  n INTEGER NOT NULL,
  account INTEGER NOT NULL,
  minor INTEGER NOT NULL,
  PRIMARY KEY (transfer, n)
) WITHOUT ROWID;
CREATE TRIGGER transfers_stay BEFORE DELETE ON transfers BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfers_fixed BEFORE UPDATE ON transfers BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_stay BEFORE DELETE ON postings BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_fixed BEFORE UPDATE ON postings BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;

CREATE TABLE reservations (
  trip BLOB PRIMARY KEY,
  account INTEGER NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  state TEXT NOT NULL CHECK (state IN ('open', 'posted'))
) WITHOUT ROWID;

-- B02, B03. A basket is an order whose source is the store and whose case is the trip.
CREATE TABLE orders (
  number INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number <= 999999999999999),
  merchant INTEGER NOT NULL,
  source TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('unconfirmed', 'collecting', 'payable', 'paying', 'paid', 'withdrawn')),
  service_name TEXT NOT NULL,
  paying_unit TEXT NOT NULL,
  payer INTEGER NOT NULL,
  remarks TEXT NOT NULL,
  currency TEXT NOT NULL,
  total INTEGER NOT NULL,
  due INTEGER NOT NULL CHECK (due >= 0),
  case_number TEXT NOT NULL,
  arose_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  store INTEGER
);
CREATE INDEX orders_by_case ON orders (case_number);
CREATE INDEX orders_of_payer ON orders (payer);
CREATE TABLE order_fees (
  number INTEGER NOT NULL,
  n INTEGER NOT NULL,
  name TEXT NOT NULL,
  minor INTEGER NOT NULL,
  PRIMARY KEY (number, n)
) WITHOUT ROWID;
CREATE TABLE case_names (
  case_number TEXT PRIMARY KEY,
  case_name TEXT NOT NULL
) WITHOUT ROWID;

-- A payment is what collects an order; for a basket it is the debit intent of the trip.
CREATE TABLE payments (
  payment INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  number INTEGER NOT NULL,
  trip BLOB UNIQUE,
  attempt INTEGER,
  -- `local`: stored value covers all, to be posted; `open`: the bank is asked; `closed`: for ever.
  state TEXT NOT NULL CHECK (state IN ('local', 'open', 'closed')),
  currency TEXT NOT NULL,
  total INTEGER NOT NULL,
  stored_value INTEGER NOT NULL,
  -- The hold to be captured: the bank's entry, and how much it reserves.
  entry TEXT,
  held INTEGER NOT NULL DEFAULT 0,
  reason TEXT,
  receipt INTEGER,
  opened_at INTEGER NOT NULL,
  closed_at INTEGER
);
CREATE INDEX payments_local ON payments (payment) WHERE state = 'local';
CREATE INDEX payments_of_order ON payments (number);
CREATE TABLE legs (
  payment INTEGER NOT NULL,
  n INTEGER NOT NULL,
  method TEXT NOT NULL CHECK (method IN ('stored_value', 'bank', 'alipay', 'tenpay')),
  minor INTEGER NOT NULL CHECK (minor > 0),
  reference TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('pending', 'unknown', 'succeeded', 'failed')),
  PRIMARY KEY (payment, n)
) WITHOUT ROWID;

-- What the bank is asked, each under a reference of its own: durable jobs with leases.
CREATE TABLE bank_calls (
  call INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  reference TEXT NOT NULL UNIQUE,
  trip BLOB NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('place', 'raise', 'release', 'capture', 'debit', 'reverse', 'refund')),
  hold BLOB,
  original TEXT,
  -- The account's token, until the call is settled.
  account TEXT,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL,
  -- `call` first; once it may have left, `query` until the bank says that it never came.
  step TEXT NOT NULL CHECK (step IN ('call', 'query')),
  state TEXT NOT NULL CHECK (state IN ('open', 'approved', 'declined')),
  approved INTEGER,
  reason TEXT,
  tries INTEGER NOT NULL DEFAULT 0,
  due INTEGER,
  lease INTEGER NOT NULL DEFAULT 0,
  made_at INTEGER NOT NULL
);
CREATE INDEX bank_calls_due ON bank_calls (due) WHERE state = 'open';
CREATE INDEX bank_calls_of_trip ON bank_calls (trip);

CREATE TABLE statement_cursor (
  merchant INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  due INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  tries INTEGER NOT NULL
);
INSERT INTO statement_cursor VALUES (1, 0, 0, 0, 0);
CREATE TABLE statement_entries (
  seq INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  reference TEXT NOT NULL,
  trip BLOB NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL,
  booked_at INTEGER NOT NULL,
  -- `waiting`: its call is still open; `explained`: by a call; `suspense`: by none.
  state TEXT NOT NULL CHECK (state IN ('waiting', 'explained', 'suspense'))
);
CREATE INDEX statement_entries_waiting ON statement_entries (reference) WHERE state = 'waiting';
-- Money that no intent explains, until it is applied or given back.
CREATE TABLE suspense (
  suspense INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  trip BLOB NOT NULL,
  reference TEXT NOT NULL UNIQUE,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  state TEXT NOT NULL CHECK (state IN ('open', 'applied', 'refunding', 'refunded')),
  found_at INTEGER NOT NULL
);
CREATE INDEX suspense_of_trip ON suspense (trip);

-- ---- housekeeping ----------------------------------------------------------------------------------------------------

CREATE TABLE idempotency (
  caller TEXT NOT NULL,
  route TEXT NOT NULL,
  key TEXT NOT NULL,
  body_sha256 BLOB NOT NULL,
  status INTEGER NOT NULL,
  answer BLOB NOT NULL,
  made_at INTEGER NOT NULL,
  PRIMARY KEY (caller, route, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (made_at);
CREATE TABLE gate_keys (
  sha256 TEXT PRIMARY KEY,
  gate_group TEXT NOT NULL,
  made_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE audit (
  entry INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL
);
