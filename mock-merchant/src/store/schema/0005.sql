-- Version 5: notices to payers (B10-B13): addresses by medium, how somebody wants to be told, what is delivered, pages without a login.

CREATE TABLE user_addresses_5 (
  address INTEGER PRIMARY KEY AUTOINCREMENT,
  user INTEGER NOT NULL REFERENCES users,
  medium TEXT NOT NULL CHECK (medium IN ('email', 'sms', 'voice')),
  -- A mailbox, a number in E.164 (+49301234567), a SIP URI.
  place TEXT NOT NULL,
  -- Since when nothing but security notices goes there.
  unsubscribed_at INTEGER,
  UNIQUE (user, medium, place)
);
-- Nobody had asked to be called: numbers become those of text messages. What is neither mailbox nor number could never be used.
INSERT INTO user_addresses_5 (user, medium, place)
  SELECT user, 'email', substr(address, 8) FROM user_addresses WHERE address LIKE 'mailto:_%@_%'
  UNION ALL SELECT user, 'sms', substr(address, 5) FROM user_addresses WHERE address GLOB 'tel:+[0-9]*';
DROP TABLE user_addresses;
ALTER TABLE user_addresses_5 RENAME TO user_addresses;

-- How somebody wants to be told; without a row, the merchant's usual way.
CREATE TABLE user_contact (
  user INTEGER PRIMARY KEY REFERENCES users,
  language TEXT NOT NULL CHECK (language IN ('en', 'zh')),
  time_zone TEXT,
  -- Minutes of the day; the same twice: no quiet hours.
  quiet_from INTEGER CHECK (quiet_from BETWEEN 0 AND 1439),
  quiet_until INTEGER CHECK (quiet_until BETWEEN 0 AND 1439),
  CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);

-- What a payer is told, written in the transaction of its fact.
CREATE TABLE notices (
  notice INTEGER PRIMARY KEY AUTOINCREMENT,
  merchant INTEGER NOT NULL,
  user INTEGER NOT NULL REFERENCES users,
  kind TEXT NOT NULL CHECK (kind IN ('payable', 'changed', 'reminder', 'overdue', 'withdrawn', 'expired', 'paid', 'refunded', 'new_device')),
  number INTEGER,
  device INTEGER,
  made_at INTEGER NOT NULL,
  CHECK ((number IS NULL) <> (device IS NULL))
);
CREATE INDEX notices_of_user ON notices (user, notice);
CREATE INDEX notices_of_order ON notices (number) WHERE number IS NOT NULL;

-- One per notice and address.
CREATE TABLE notice_deliveries (
  delivery INTEGER PRIMARY KEY AUTOINCREMENT,
  notice INTEGER NOT NULL REFERENCES notices,
  -- Its row in user_addresses; that is gone once the address is.
  address INTEGER NOT NULL,
  medium TEXT NOT NULL CHECK (medium IN ('email', 'sms', 'voice')),
  -- The same for each try, so that a second message can be recognised.
  message_id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'accepted', 'delivered', 'failed', 'unknown', 'given_up')),
  due INTEGER,
  tries INTEGER NOT NULL DEFAULT 0,
  -- How often it was sent again since the outcome of a try is unknown.
  repeats INTEGER NOT NULL DEFAULT 0,
  lease INTEGER NOT NULL DEFAULT 0,
  made_at INTEGER NOT NULL,
  ended_at INTEGER,
  last_code INTEGER,
  last_word TEXT,
  -- What a report of the carrier names it by: a random word that is good for nothing else.
  report_token TEXT UNIQUE
);
CREATE INDEX notice_deliveries_due ON notice_deliveries (medium, due) WHERE due IS NOT NULL;
CREATE INDEX notice_deliveries_of_notice ON notice_deliveries (notice);

-- Links in notices to the payer's page; tokens are hashed.
CREATE TABLE pay_pages (
  token_sha256 TEXT PRIMARY KEY,
  user INTEGER NOT NULL REFERENCES users,
  -- The notice's order, and the delivery and address that the link was sent by.
  number INTEGER,
  delivery INTEGER,
  address INTEGER,
  made_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX pay_pages_of_user ON pay_pages (user);
CREATE INDEX pay_pages_of_delivery ON pay_pages (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX pay_pages_by_expiry ON pay_pages (expires_at);
