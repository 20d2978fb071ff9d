/** Accounts whose folders live here: local ones, and what a POP3 account has beside its maildrop. */
export const local = `
-- 1: the bytes of this account's copies are in our files and may be nowhere else
ALTER TABLE account ADD COLUMN local INTEGER NOT NULL DEFAULT 0;

-- the next UID of a folder that lives here
ALTER TABLE folder ADD COLUMN local_uid INTEGER NOT NULL DEFAULT 1;

-- the message id store of a POP3 account: what became of each mail that its server showed
CREATE TABLE pop3_mail (
  account_id INTEGER NOT NULL REFERENCES account (id),
  -- in INBOX
  uid INTEGER NOT NULL,
  -- what the server calls it; NULL when that name means another mail now
  uidl TEXT,
  octets INTEGER,
  -- SHA-256 (hex) of its bytes, and its keys; NULL until it was read
  content TEXT,
  header_key TEXT,
  match_key TEXT,
  -- when it was seen first, and since when it is not shown any more
  seen INTEGER NOT NULL,
  missing INTEGER,
  -- here | filed | left | retired
  state TEXT NOT NULL,
  PRIMARY KEY (account_id, uid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX pop3_mail_uidl ON pop3_mail (account_id, uidl) WHERE uidl IS NOT NULL;
`;
