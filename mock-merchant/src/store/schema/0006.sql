-- Version 6: which messages to service systems are on their way, so that a source that is slow keeps a few lines, not all of them.
ALTER TABLE deliveries ADD COLUMN leased INTEGER NOT NULL DEFAULT 0 CHECK (leased IN (0, 1));
-- A lease ends by itself when the message is due again.
CREATE INDEX deliveries_leased ON deliveries (source, due) WHERE leased = 1;
-- Which message is due first is asked source by source.
DROP INDEX deliveries_due;
