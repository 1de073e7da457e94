-- Version 7: what a channel has collected and nobody can use comes to an end by the operator.

CREATE TABLE channel_receipts_7 (
  receipt INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  pay INTEGER NOT NULL,
  method TEXT NOT NULL,
  -- The channel's own number of the trade.
  trade TEXT NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK (minor > 0),
  state TEXT NOT NULL CHECK (state IN ('applied', 'suspense', 'refunding', 'refunded', 'settled')),
  received_at INTEGER NOT NULL,
  UNIQUE (method, trade)
);
INSERT INTO channel_receipts_7 SELECT receipt, merchant, pay, method, trade, currency, minor, state, received_at FROM channel_receipts;
DROP TABLE channel_receipts;
ALTER TABLE channel_receipts_7 RENAME TO channel_receipts;
CREATE INDEX channel_receipts_of_pay ON channel_receipts (pay);
CREATE INDEX channel_receipts_by_time ON channel_receipts (received_at);
CREATE INDEX channel_receipts_unsettled ON channel_receipts (receipt) WHERE state IN ('suspense', 'refunding');
CREATE INDEX channel_calls_of_receipt ON channel_calls (receipt) WHERE receipt IS NOT NULL;
