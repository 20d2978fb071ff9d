/**
 * Object ids (RFC 8474 §4: letters, digits, `-` and `_`) from row ids. They carry the id of the database, so that those
 * of a database that was made anew are others.
 */
export function objectId(kind: 'F' | 'M', storeId: string, row: number): string {
  return `${kind}${storeId.slice(0, 8)}-${row.toString(36)}`;
}

/** The row of an object id, or null when it is not one of this database. */
export function objectRow(kind: 'F' | 'M', storeId: string, id: string): number | null {
  const prefix = `${kind}${storeId.slice(0, 8)}-`;
  return id.startsWith(prefix) ? fromDigits(id.slice(prefix.length)) : null;
}

/** A thread's number is a hash of what its mails refer to, so that it says nothing about a database. */
export function threadId(thread: number): string {
  return `T${thread.toString(36)}`;
}

export function threadNumber(id: string): number | null {
  return id.startsWith('T') ? fromDigits(id.slice(1)) : null;
}

function fromDigits(digits: string): number | null {
  return /^[0-9a-z]{1,10}$/.test(digits) ? Number.parseInt(digits, 36) : null;
}
