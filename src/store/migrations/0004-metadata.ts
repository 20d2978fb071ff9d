/**
 * What mails look like to clients stands apart from what is looked up: rows of two kilobytes beside each other, and
 * rows of a few dozen octets, of which a page holds many.
 */
export const metadata = `
-- the wire form of one message's envelope, structure and header
CREATE TABLE metadata (
  id INTEGER PRIMARY KEY REFERENCES message (id),
  envelope BLOB NOT NULL,
  structure BLOB NOT NULL,
  header BLOB NOT NULL
);
INSERT INTO metadata (id, envelope, structure, header) SELECT id, envelope, structure, header FROM message;

-- the same rows without those columns; dropping them one by one would write all of it three times
CREATE TABLE narrow (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  match_key TEXT NOT NULL,
  merge_key TEXT,
  message_id TEXT,
  size INTEGER NOT NULL,
  -- SHA-256 (hex) of the bytes when they are kept in the pinned files
  pinned TEXT,
  -- the message whose content this one has, under whose id both are known (RFC 8474 EMAILID); NULL: its own
  email_id INTEGER,
  -- the thread it joined when it came (RFC 8474 THREADID); NULL: it is older than this column
  thread_id INTEGER,
  -- the beginning of its text (RFC 8970); NULL: not known yet
  preview TEXT
);
INSERT INTO narrow (id, match_key, merge_key, message_id, size, pinned, email_id, thread_id, preview)
  SELECT id, match_key, merge_key, message_id, size, pinned, email_id, thread_id, preview FROM message;
-- ids are never used again, not even those of rows that are gone
DELETE FROM sqlite_sequence WHERE name = 'narrow';
INSERT INTO sqlite_sequence (name, seq) SELECT 'narrow', seq FROM sqlite_sequence WHERE name = 'message';
DROP TABLE message;
ALTER TABLE narrow RENAME TO message;
CREATE INDEX message_match ON message (match_key);
CREATE INDEX message_email ON message (email_id) WHERE email_id IS NOT NULL;
CREATE INDEX message_pinned ON message (pinned) WHERE pinned IS NOT NULL;
-- a thread is looked up rarely, and then a scan of the narrow rows is quick
CREATE INDEX message_threadless ON message (id) WHERE thread_id IS NULL;
`;
