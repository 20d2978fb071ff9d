/**
 * The words are those of ARCHITECTURE.md. One database belongs to one user, so no row names a user and no query can
 * reach another's. Ids are never reused (AUTOINCREMENT): caches and actions name rows by them.
 * Flags are canonical texts (mail/flags.ts), dates are seconds since the Unix epoch.
 */
export const initial = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE account (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE
);

CREATE TABLE folder (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id INTEGER NOT NULL REFERENCES account (id),
  path TEXT NOT NULL,
  delimiter TEXT,
  role TEXT,
  -- 1: holds mail of other folders again (All Mail); mirrored, never merged
  virtual INTEGER NOT NULL DEFAULT 0,
  selectable INTEGER NOT NULL,
  -- live | creating (owed upstream) | deleting (owed upstream, hidden)
  state TEXT NOT NULL,
  -- where the last complete pull ended; NULL before the first
  uid_validity INTEGER,
  uid_next INTEGER,
  mod_seq TEXT,
  exists_count INTEGER,
  -- the user's MODSEQ at the end of that pull
  pulled INTEGER NOT NULL DEFAULT 0,
  -- flags the server stores, as a canonical text that may hold \\*; NULL: not told, taken as all
  flags_offered TEXT,
  -- why deletions seen here wait for a confirmation; NULL: they do not
  held TEXT,
  UNIQUE (account_id, path)
);

-- one immutable content and what is known of it
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  match_key TEXT NOT NULL,
  merge_key TEXT,
  message_id TEXT,
  size INTEGER NOT NULL,
  envelope BLOB NOT NULL,
  structure BLOB NOT NULL,
  header BLOB NOT NULL,
  -- SHA-256 (hex) of the bytes when they are kept in the pinned files
  pinned TEXT
);
CREATE INDEX message_match ON message (match_key);

CREATE TABLE mailbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  -- a merged mailbox has a role, a mirror a folder
  role TEXT UNIQUE,
  folder_id INTEGER UNIQUE REFERENCES folder (id),
  uid_validity INTEGER NOT NULL,
  uid_next INTEGER NOT NULL,
  mod_seq INTEGER NOT NULL,
  -- first UID that is \\Recent for the next session (RFC 3501 §2.3.2)
  recent_uid INTEGER NOT NULL
);

CREATE TABLE subscription (name TEXT PRIMARY KEY);

-- a message in a merged mailbox
CREATE TABLE entry (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  mailbox_id INTEGER NOT NULL REFERENCES mailbox (id),
  uid INTEGER NOT NULL,
  message_id INTEGER NOT NULL REFERENCES message (id),
  merge_key TEXT,
  flags TEXT NOT NULL,
  -- the account keywords, as a canonical text
  accounts TEXT NOT NULL,
  mod_seq INTEGER NOT NULL,
  size INTEGER NOT NULL,
  internal_date INTEGER NOT NULL
);
CREATE UNIQUE INDEX entry_uid ON entry (mailbox_id, uid);
CREATE INDEX entry_mod_seq ON entry (mailbox_id, mod_seq);
CREATE INDEX entry_merge ON entry (mailbox_id, merge_key) WHERE merge_key IS NOT NULL;
CREATE INDEX entry_message ON entry (message_id);

-- one instance upstream, and its place in the mirror
CREATE TABLE copy (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  folder_id INTEGER NOT NULL REFERENCES folder (id),
  -- NULL while pending, and for a live or doomed copy that is looked for again after a UIDVALIDITY reset
  uid INTEGER,
  message_id INTEGER NOT NULL REFERENCES message (id),
  entry_id INTEGER REFERENCES entry (id),
  -- NULL until placed
  mirror_uid INTEGER,
  -- live | pending (its upload, copy or move is owed) | doomed (its removal is owed; hidden)
  -- | vanished (gone upstream, not yet explained; still shown)
  state TEXT NOT NULL,
  flags TEXT NOT NULL,
  -- the flags last agreed on with the server
  base TEXT NOT NULL,
  mod_seq INTEGER NOT NULL,
  -- the MODSEQ under which the copy was recorded first
  arrived INTEGER NOT NULL,
  size INTEGER NOT NULL,
  internal_date INTEGER NOT NULL
);
CREATE UNIQUE INDEX copy_uid ON copy (folder_id, uid);
CREATE UNIQUE INDEX copy_mirror ON copy (folder_id, mirror_uid);
CREATE INDEX copy_mod_seq ON copy (folder_id, mod_seq);
CREATE INDEX copy_entry ON copy (entry_id) WHERE entry_id IS NOT NULL;
CREATE INDEX copy_message ON copy (message_id);

-- the removals among the changes of a mailbox; the rest of the feed is what carries a later mod_seq
CREATE TABLE expunged (
  mailbox_id INTEGER NOT NULL REFERENCES mailbox (id),
  mod_seq INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  PRIMARY KEY (mailbox_id, mod_seq, uid)
);

-- upstream operations owed, in order of id within an account
CREATE TABLE action (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id INTEGER NOT NULL REFERENCES account (id),
  -- flags | copy | move | append | expunge | create-folder | delete-folder | rename-folder
  kind TEXT NOT NULL,
  copy_id INTEGER,
  target_id INTEGER,
  folder_id INTEGER,
  detail TEXT,
  -- runs only when that action is done
  after_id INTEGER,
  -- who decided it: a client's command, or a reconciliation
  reason TEXT NOT NULL,
  created INTEGER NOT NULL,
  -- pending | parked (refused for good; waits for a person)
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER NOT NULL DEFAULT 0,
  last_error TEXT
);
CREATE INDEX action_account ON action (account_id, state, id);
CREATE INDEX action_copy ON action (copy_id) WHERE copy_id IS NOT NULL;
CREATE INDEX action_target ON action (target_id) WHERE target_id IS NOT NULL;
CREATE UNIQUE INDEX action_flags ON action (copy_id) WHERE kind = 'flags';

-- what was destroyed upstream, and who authorised it
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  account TEXT NOT NULL,
  folder TEXT NOT NULL,
  uid_validity INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL
);
`;
