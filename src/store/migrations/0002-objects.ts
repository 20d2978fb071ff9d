/** What clients ask of objects: ids that outlive a move (RFC 8474), previews, save dates, quotas, annotations. */
export const objects = `
-- the message whose content this one has, under whose id both are known (RFC 8474 EMAILID); NULL: its own
ALTER TABLE message ADD COLUMN email_id INTEGER;
-- the thread it joined when it came (RFC 8474 THREADID); NULL: it is older than this column
ALTER TABLE message ADD COLUMN thread_id INTEGER;
-- the beginning of its text (RFC 8970); NULL: not known yet
ALTER TABLE message ADD COLUMN preview TEXT;
CREATE INDEX message_email ON message (email_id) WHERE email_id IS NOT NULL;
CREATE INDEX message_thread ON message (thread_id);

-- when a message came into the mailbox (RFC 8514); NULL: before this column
ALTER TABLE entry ADD COLUMN saved INTEGER;
ALTER TABLE copy ADD COLUMN saved INTEGER;

-- the thread of every Message-ID that was seen or referred to, by a hash of it
CREATE TABLE thread (reference INTEGER PRIMARY KEY, thread_id INTEGER NOT NULL);

-- what the accounts' servers told of their quotas last (RFC 9208); KiB for STORAGE
CREATE TABLE quota (
  account_id INTEGER NOT NULL REFERENCES account (id),
  root TEXT NOT NULL,
  resource TEXT NOT NULL,
  used INTEGER NOT NULL,
  cap INTEGER NOT NULL,
  PRIMARY KEY (account_id, root, resource)
);

-- METADATA (RFC 5464); mailbox 0 is the server. Entry names in lower case
CREATE TABLE annotation (
  mailbox_id INTEGER NOT NULL,
  entry TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (mailbox_id, entry)
);
`;
