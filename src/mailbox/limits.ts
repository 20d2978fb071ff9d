/** Mailboxes of a user that a client may make, and those it may subscribe to: LIST goes through all of them. */
export const MAX_MAILBOXES = 5_000;
export const MAX_SUBSCRIPTIONS = 10_000;
