-- Version 4: what is written for each basket lies where the last ones lie, so that baskets that are committed together share pages of the
-- write-ahead log. Large rows are keyed by the order in which they come, not by identifiers that others make; what is looked up
-- by those is a narrow index.

-- The number of a device's last event, apart from its keys: it changes with each event.
CREATE TABLE event_counters (
  device INTEGER PRIMARY KEY,
  last_seq INTEGER NOT NULL
);
INSERT INTO event_counters (device, last_seq) SELECT device, last_seq FROM devices;
ALTER TABLE devices DROP COLUMN last_seq;

CREATE TABLE events_4 (
  event INTEGER PRIMARY KEY,
  device INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  jws TEXT NOT NULL,
  UNIQUE (device, seq)
);
INSERT INTO events_4 (device, seq, jws) SELECT device, seq, jws FROM events ORDER BY device, seq;
DROP TABLE events;
ALTER TABLE events_4 RENAME TO events;

CREATE TABLE trips_4 (
  visit INTEGER PRIMARY KEY,
  trip BLOB NOT NULL UNIQUE,
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
);
INSERT INTO trips_4 (trip, merchant, store, user, device, state, first_seen, last_sign, attempt, accepted, cancel_sha256, cancel_at, cancel_last_seq)
  SELECT trip, merchant, store, user, device, state, first_seen, last_sign, attempt, accepted, cancel_sha256, cancel_at, cancel_last_seq
  FROM trips ORDER BY trip;
DROP TABLE trips;
ALTER TABLE trips_4 RENAME TO trips;
CREATE INDEX trips_idle ON trips (last_sign) WHERE state = 'open';
CREATE INDEX trips_of_user ON trips (user);

CREATE TABLE attempts_4 (
  entry INTEGER PRIMARY KEY,
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
  UNIQUE (trip, attempt)
);
INSERT INTO attempts_4 (trip, attempt, body_sha256, jws, state, checks, reasons, decided_at, recorded_at, last_seq)
  SELECT trip, attempt, body_sha256, jws, state, checks, reasons, decided_at, recorded_at, last_seq FROM attempts ORDER BY trip, attempt;
-- The groceries, erasable while the evidence stays: under the entry of their attempt.
CREATE TABLE attempt_lines_4 (
  entry INTEGER PRIMARY KEY,
  lines BLOB NOT NULL
);
INSERT INTO attempt_lines_4 (entry, lines)
  SELECT a.entry, l.lines FROM attempts_4 a JOIN attempt_lines l ON l.trip = a.trip AND l.attempt = a.attempt ORDER BY a.entry;
DROP TABLE attempt_lines;
ALTER TABLE attempt_lines_4 RENAME TO attempt_lines;
DROP TABLE attempts;
ALTER TABLE attempts_4 RENAME TO attempts;
-- At most one attempt of a trip is ever accepted.
CREATE UNIQUE INDEX attempts_accepted ON attempts (trip) WHERE state = 'accepted';
CREATE INDEX attempts_open ON attempts (state, recorded_at) WHERE state IN ('waiting', 'check');

-- Within an order a reference is there once; which orders a reference of bank or channel is of is asked for, of stored value never.
CREATE TABLE legs_4 (
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
  UNIQUE (number, reference),
  CHECK ((payment IS NOT NULL) + (pay IS NOT NULL) + (refund IS NOT NULL) = 1),
  CHECK ((refund IS NULL) = (of_leg IS NULL))
);
INSERT INTO legs_4 SELECT leg, number, payment, pay, refund, of_leg, n, method, currency, minor, reference, state, business_date, posted_at
  FROM legs ORDER BY leg;
DROP TABLE legs;
ALTER TABLE legs_4 RENAME TO legs;
CREATE INDEX legs_of_order ON legs (number, state, method, currency, refund, minor, business_date);
CREATE INDEX legs_of_payment ON legs (payment) WHERE payment IS NOT NULL;
CREATE INDEX legs_of_pay ON legs (pay) WHERE pay IS NOT NULL;
CREATE INDEX legs_of_refund ON legs (refund) WHERE refund IS NOT NULL;
CREATE INDEX legs_of_leg ON legs (of_leg) WHERE of_leg IS NOT NULL;
CREATE INDEX legs_by_reference ON legs (reference) WHERE method <> 'stored_value';
CREATE INDEX legs_back_by_reference ON legs (reference) WHERE refund IS NOT NULL;
-- Totals are answered from these alone: what has succeeded and is posted, and which order it is of. Numbers before amounts: they rise.
CREATE INDEX legs_by_day ON legs (business_date, currency, method, refund, number, minor, state)
  WHERE state = 'succeeded' AND business_date IS NOT NULL;
CREATE INDEX legs_by_method ON legs (method, currency, refund, number, minor, business_date, state)
  WHERE state = 'succeeded' AND business_date IS NOT NULL;
CREATE INDEX legs_by_time ON legs (posted_at) WHERE posted_at IS NOT NULL;
CREATE INDEX legs_by_amount ON legs (currency, minor, state, business_date, refund);
