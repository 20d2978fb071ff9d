/**
 * In order; a released one never changes. Content is a table of its own, so that changes of a row do not write it again
 * and listings do not read it. Ids are never reused. Times are milliseconds since the Unix epoch.
 */
export const QUEUE_SCHEMA: readonly string[] = [
  `
CREATE TABLE mail (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  created INTEGER NOT NULL,
  account TEXT NOT NULL,
  via_relay INTEGER NOT NULL,
  sender TEXT NOT NULL,
  -- waiting | sending | settling | held
  state TEXT NOT NULL,
  priority INTEGER NOT NULL,
  next_try INTEGER NOT NULL,
  since INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  size INTEGER NOT NULL,
  warned INTEGER NOT NULL,
  reports INTEGER NOT NULL,
  repeated INTEGER NOT NULL,
  -- JSON: states and replies, one object each
  recipients TEXT NOT NULL,
  -- JSON: what the client asked for and what the header says
  envelope TEXT NOT NULL,
  -- JSON: what is done of filing and marking
  progress TEXT NOT NULL,
  -- name of the spool file; NULL when the content is in the table below
  spool TEXT
);
CREATE TABLE content (mail_id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)`,
];
