/** What decides on the capabilities of a connection. */
export interface CapabilityState {
  readonly loggedIn: boolean;
  /** STARTTLS is offered and has not happened. */
  readonly startTls: boolean;
  /** Whether a password may be sent now. */
  readonly loginAllowed: boolean;
  /** Whether COMPRESS is active. */
  readonly compressed: boolean;
  /** Messages that one command works on. */
  readonly commandMessages: number;
  /** Octets of the largest message APPEND takes. */
  readonly messageBytes: number;
}

/** Of use to everybody, before and after login. */
const ALWAYS = ['IMAP4rev1', 'IMAP4rev2', 'LITERAL+', 'SASL-IR', 'ID', 'ENABLE', 'IDLE'] as const;

const LOGGED_IN = [
  'NAMESPACE',
  'UIDPLUS',
  'UNSELECT',
  'MOVE',
  'CHILDREN',
  'SPECIAL-USE',
  'CREATE-SPECIAL-USE',
  'LIST-EXTENDED',
  'LIST-STATUS',
  'STATUS=SIZE',
  'CONDSTORE',
  'QRESYNC',
  'UTF8=ACCEPT',
  'BINARY',
  'SORT',
  'SORT=DISPLAY',
  'ESORT',
  'THREAD=ORDEREDSUBJECT',
  'THREAD=REFERENCES',
  'THREAD=REFS',
  'ESEARCH',
  'SEARCHRES',
  'CONTEXT=SEARCH',
  'WITHIN',
  'MULTIAPPEND',
  'CATENATE',
  'NOTIFY',
  'MULTISEARCH',
  'OBJECTID',
  'PREVIEW',
  'SAVEDATE',
  'PARTIAL',
  'REPLACE',
  'UIDBATCHES',
  'INPROGRESS',
  'METADATA',
  'QUOTA',
  'QUOTA=RES-STORAGE',
  'QUOTA=RES-MESSAGE',
  'ACL',
  'RIGHTS=kxte',
  'LIST-MYRIGHTS',
] as const;

/** The mechanisms of AUTHENTICATE. */
export const MECHANISMS = ['PLAIN', 'LOGIN'] as const;

/** `capability-data` (RFC 9051 §7.2.2): only what works in this state. */
export function capabilities(state: CapabilityState): string {
  if (state.loggedIn) {
    const uncompressed = state.compressed ? [] : ['COMPRESS=DEFLATE', 'UNAUTHENTICATE'];
    const limits = [`MESSAGELIMIT=${state.commandMessages}`, `APPENDLIMIT=${state.messageBytes}`];
    return [...ALWAYS, ...LOGGED_IN, ...uncompressed, ...limits].join(' ');
  }
  const login = state.loginAllowed ? MECHANISMS.map((name) => `AUTH=${name}`) : ['LOGINDISABLED'];
  return [...ALWAYS, ...(state.startTls ? ['STARTTLS'] : []), ...login].join(' ');
}
