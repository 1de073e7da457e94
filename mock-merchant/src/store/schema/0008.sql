-- Version 8: what channels call payers by, such as the openid that WeChat has for somebody in the merchant's application.
CREATE TABLE payer_names (
  user INTEGER NOT NULL REFERENCES users,
  method TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (user, method)
) WITHOUT ROWID;
