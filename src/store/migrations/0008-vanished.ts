/** Every look at an account asks for what vanished, which is next to nothing of all its mail. */
export const vanished = `
CREATE INDEX copy_vanished ON copy (folder_id) WHERE state = 'vanished';
`;
