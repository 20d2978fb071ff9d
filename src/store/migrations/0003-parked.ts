/** A refused action goes back to what its server has and waits for a person; what comes after it goes on. */
export const parked = `
-- flags whose change the copy's server refused while another copy took it; not sent again until a person asks for it
ALTER TABLE copy ADD COLUMN refused TEXT NOT NULL DEFAULT '';

-- a parked flags action keeps what was refused in detail, and stands in the way of no later one
DROP INDEX action_flags;
CREATE UNIQUE INDEX action_flags ON action (copy_id) WHERE kind = 'flags' AND state = 'pending';
`;
