/** What a history window leaves out of folders. */
export const window = `
-- mails at the server that the window of the last complete look did not show
CREATE TABLE folder_window (
  folder_id INTEGER PRIMARY KEY REFERENCES folder (id),
  uid_validity INTEGER NOT NULL,
  -- the window itself: earliest date (Unix seconds), number of newest mails; NULL: no such limit
  since INTEGER,
  max INTEGER,
  -- UIDs, as ranges
  skipped TEXT NOT NULL
);

-- copies of old mail that came into their folder through Mergebox: the window counts from then
CREATE TABLE put_here (copy_id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
`;
