-- Version 3. Money that nothing explains: several amounts under one reference, and what the bank has taken back.

CREATE TABLE suspense_3 (
  suspense INTEGER PRIMARY KEY,
  merchant INTEGER NOT NULL,
  -- `late`: the bank took it and no intent explains it; `refund`: it could not be given back to its payer; `taken_back`: the bank
  -- took it back and nobody asked (negative).
  kind TEXT NOT NULL CHECK (kind IN ('late', 'refund', 'taken_back')),
  subject BLOB NOT NULL,
  reference TEXT NOT NULL,
  -- The entry of the statement that it came with; 0: none.
  entry INTEGER NOT NULL,
  currency TEXT NOT NULL,
  minor INTEGER NOT NULL CHECK ((minor < 0) = (kind = 'taken_back') AND minor <> 0),
  state TEXT NOT NULL CHECK (state IN ('open', 'applied', 'refunding', 'refunded', 'settled')),
  -- How often the bank was asked to take it back, and under which reference last.
  tries INTEGER NOT NULL DEFAULT 0,
  asked_as TEXT,
  found_at INTEGER NOT NULL,
  UNIQUE (reference, entry)
);
INSERT INTO suspense_3 (suspense, merchant, kind, subject, reference, entry, currency, minor, state, tries, asked_as, found_at)
  SELECT s.suspense, s.merchant,
    CASE WHEN EXISTS (SELECT 1 FROM legs l WHERE l.refund IS NOT NULL AND s.reference IN (l.reference, l.reference || '.rest'))
      THEN 'refund' ELSE 'late' END,
    s.subject, s.reference, 0, s.currency, s.minor, s.state, 0,
    (SELECT c.reference FROM bank_calls c WHERE c.kind = 'refund' AND c.subject = s.subject AND c.original = s.reference
     ORDER BY c.call DESC LIMIT 1),
    s.found_at
  FROM suspense s;
DROP TABLE suspense;
ALTER TABLE suspense_3 RENAME TO suspense;
CREATE INDEX suspense_of_subject ON suspense (subject);
CREATE INDEX suspense_asked ON suspense (asked_as) WHERE asked_as IS NOT NULL;
CREATE INDEX suspense_open ON suspense (suspense) WHERE state IN ('open', 'refunding');
