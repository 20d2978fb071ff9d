import { ATEXT, ATEXT_OR_DOT, TokenReader } from './mime-token.js';

/**
 * One element of an address list as ENVELOPE has it (RFC 9051 §7.5.2), binary strings. A group starts with
 * `mailbox` its name and `domain` null, and ends with both null.
 */
export interface Address {
  readonly name: string | null;
  /** Source route with its `@`, e.g. `@a,@b` (RFC 5322 §4.4). */
  readonly route: string | null;
  readonly mailbox: string | null;
  readonly domain: string | null;
}

/** Addresses of one field beyond this many are left out. */
export const MAX_ADDRESSES = 10_000;

/** What stands for a part that is missing or broken, as Dovecot has it; clients know these words. */
const MISSING_MAILBOX = 'MISSING_MAILBOX';
const MISSING_DOMAIN = 'MISSING_DOMAIN';
const SYNTAX_ERROR = 'SYNTAX_ERROR';
const INVALID_ROUTE = 'INVALID_ROUTE';

const GROUP_END: Address = { name: null, route: null, mailbox: null, domain: null };

/** The addresses of an unfolded field value (RFC 5322 §3.4), up to where its syntax is beyond repair. */
export function parseAddresses(value: string): Address[] {
  return new AddressReader(value).list();
}

class AddressReader {
  readonly #in: TokenReader;
  readonly #found: Address[] = [];

  constructor(value: string) {
    this.#in = new TokenReader(value);
  }

  /** `address-list = (address *("," address)) / obs-addr-list` */
  list(): Address[] {
    const reader = this.#in;
    if (!reader.skipCfws()) return this.#found;
    while (!reader.done && this.#found.length < MAX_ADDRESSES) {
      this.#address();
      if (!reader.take(',')) break;
      if (!reader.skipCfws()) this.#add(null, null, null, null);
    }
    return this.#found;
  }

  /** `address = mailbox / group` */
  #address(): void {
    const reader = this.#in;
    const start = reader.at;
    const name = this.#phrase();
    if (name !== null && reader.take(':')) {
      this.#group(name);
      return;
    }
    reader.at = start;
    this.#mailbox();
  }

  /** `group = display-name ":" [group-list] ";" [CFWS]`, behind the colon. */
  #group(name: string): void {
    const reader = this.#in;
    this.#found.push({ name: null, route: null, mailbox: name, domain: null });
    if (reader.skipCfws() && !reader.done && !reader.sees(';')) {
      do {
        this.#mailbox();
      } while (
        reader.take(',') &&
        reader.skipCfws() &&
        !reader.done &&
        // Never more than the list may hold, with its end.
        this.#found.length < MAX_ADDRESSES
      );
    }
    if (reader.take(';')) reader.skipCfws();
    this.#found.push(GROUP_END);
  }

  /** `mailbox = name-addr / addr-spec` */
  #mailbox(): void {
    const reader = this.#in;
    const start = reader.at;
    const name = this.#phrase();
    if (name !== null && reader.take('<')) {
      this.#angle(name === '' ? null : name);
      return;
    }
    reader.at = start;
    this.#bare();
  }

  /** `angle-addr = "<" [obs-route] addr-spec ">"`, behind the `<`. */
  #angle(name: string | null): void {
    const reader = this.#in;
    let route: string | null = null;
    let mailbox: string | null = null;
    let domain: string | null = null;
    const whole = (): boolean => {
      if (!reader.skipCfws() || reader.done) return false;
      if (reader.sees('@')) {
        route = this.#route();
        if (!reader.take(':')) route = INVALID_ROUTE;
        if (!reader.skipCfws() || reader.done) return false;
      }
      if (!reader.sees('>')) {
        mailbox = this.#localPart();
        if (mailbox === null || reader.done) return false;
        if (reader.sees('@')) {
          domain = this.#domain();
          if (domain === null || reader.done) return false;
        }
      }
      return reader.take('>') && reader.skipCfws();
    };
    const end = whole() ? domain : SYNTAX_ERROR;
    this.#add(name, route, mailbox, end);
  }

  /** `obs-domain-list = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain])` */
  #route(): string {
    const reader = this.#in;
    const domains: string[] = [];
    while (reader.sees('@')) {
      const domain = this.#domain();
      if (domain === null) break;
      domains.push(`@${domain}`);
      while (reader.skipCfws() && reader.take(','));
    }
    return domains.join(',');
  }

  /**
   * An addr-spec without brackets, or what people write in its place: `user (Name)` has a name, `Some Words` and
   * `"Words"` are a name without an address, a single word is a mailbox without a domain.
   */
  #bare(): void {
    const reader = this.#in;
    const quoted = reader.sees('"');
    reader.lastComment = '';
    let mailbox = this.#localPart();
    let name: string | null = null;
    let domain: string | null = null;
    const hasDomain = reader.sees('@');
    if (hasDomain) domain = this.#domain();
    if (reader.lastComment !== '') name = reader.lastComment;
    else if (!hasDomain) {
      const rest = reader.done ? null : this.#phrase();
      if (rest !== null && rest !== '') {
        name = mailbox === null ? rest : `${mailbox} ${rest}`;
        mailbox = null;
      } else if (quoted) {
        name = mailbox;
        mailbox = null;
      }
    }
    this.#add(name, null, mailbox, domain);
  }

  #add(name: string | null, route: string | null, mailbox: string | null, domain: string | null): void {
    this.#found.push({ name, route, mailbox: mailbox ?? MISSING_MAILBOX, domain: domain || MISSING_DOMAIN });
  }

  /** `phrase = 1*word / obs-phrase`, words joined by single spaces; empty where none is, null where it breaks. */
  #phrase(): string | null {
    const reader = this.#in;
    if (reader.done || reader.sees('.')) return null;
    let text = '';
    for (;;) {
      const word = reader.sees('"') ? reader.quotedString() : reader.run(ATEXT_OR_DOT);
      if (word === null) return null;
      text += word;
      if (!reader.skipCfws()) return null;
      if (!reader.sees('"') && !reader.seesKind(ATEXT_OR_DOT)) return text;
      text += ' ';
    }
  }

  /** `local-part = dot-atom / quoted-string / obs-local-part`; dots may stand anywhere. */
  #localPart(): string | null {
    const reader = this.#in;
    if (reader.sees('"')) return reader.quotedString();
    return this.#dotted();
  }

  #dotted(): string | null {
    const reader = this.#in;
    let text = '';
    while (reader.seesKind(ATEXT_OR_DOT)) {
      const word = reader.run(ATEXT_OR_DOT);
      text += word;
      const behind = reader.at;
      if (!reader.skipCfws()) return null;
      // RFC 5322 §4.4: CFWS may stand around the dots, and only there.
      if (!word.endsWith('.') && !reader.sees('.')) return text;
      if (reader.at === behind) return text;
    }
    return text === '' ? null : text;
  }

  /** `domain = dot-atom / domain-literal / obs-domain`, with the `@` before it; null where it breaks. */
  #domain(): string | null {
    const reader = this.#in;
    reader.at += 1;
    if (!reader.skipCfws() || reader.done) return null;
    if (!reader.sees('[')) return reader.seesKind(ATEXT) ? this.#dotted() : null;
    const start = reader.at;
    const end = literalEnd(reader.text, start);
    reader.at = end < 0 ? reader.text.length : end;
    return end < 0 || !reader.skipCfws() ? null : reader.text.slice(start, end);
  }
}

/** Behind the `]` of the domain-literal at `start` (RFC 5322 §3.4.1), or -1. */
function literalEnd(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 93) return at + 1;
    if (code === 92) at += 1;
  }
  return -1;
}
