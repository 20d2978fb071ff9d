/** What sending mail asks of the mailboxes. */
export const outgoing = `
-- copies that came into a Sent folder through Mergebox: others there were filed by the server that sent the mail
CREATE TABLE filed_here (copy_id INTEGER PRIMARY KEY);
CREATE INDEX message_message_id ON message (message_id) WHERE message_id IS NOT NULL;
`;
