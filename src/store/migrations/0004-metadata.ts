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
ALTER TABLE message DROP COLUMN envelope;
ALTER TABLE message DROP COLUMN structure;
ALTER TABLE message DROP COLUMN header;

-- a thread is looked up rarely, and then a scan of the narrow rows is quick
DROP INDEX message_thread;
CREATE INDEX message_threadless ON message (id) WHERE thread_id IS NULL;
CREATE INDEX message_pinned ON message (pinned) WHERE pinned IS NOT NULL;
`;
