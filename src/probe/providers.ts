import type { Candidate, Service } from './types.js';

export interface Provider {
  readonly name: string;
  readonly domains: readonly string[];
  /** Ends of the names of its mail exchangers, by which domains of its customers are known. */
  readonly exchangers?: readonly string[];
  readonly imap?: string;
  readonly pop3?: string;
  readonly smtp: string;
  /** Submission with STARTTLS on 587 where there is no 465. */
  readonly smtpStartTls?: true;
  /** The login name is the local part, not the address. */
  readonly localName?: true;
  /** What a person has to know before a login can work. */
  readonly note?: string;
}

const APP_PASSWORD = 'it takes an app password, made in the settings of the account, not the one of its web pages';
const SWITCH_ON = 'IMAP and POP3 have to be switched on in the settings of its web pages first';

/** Large providers, as they document themselves; TLS from the start wherever there is no other word. */
const PROVIDERS: readonly Provider[] = [
  {
    name: 'Google',
    domains: ['gmail.com', 'googlemail.com'],
    exchangers: ['google.com', 'googlemail.com'],
    imap: 'imap.gmail.com',
    pop3: 'pop.gmail.com',
    smtp: 'smtp.gmail.com',
    note: APP_PASSWORD,
  },
  {
    name: 'Microsoft',
    domains: [
      'outlook.com',
      'hotmail.com',
      'live.com',
      'msn.com',
      'hotmail.co.uk',
      'hotmail.fr',
      'hotmail.de',
      'live.de',
    ],
    exchangers: ['mail.protection.outlook.com', 'olc.protection.outlook.com'],
    imap: 'outlook.office365.com',
    pop3: 'outlook.office365.com',
    smtp: 'smtp-mail.outlook.com',
    smtpStartTls: true,
    note: 'it refuses passwords and wants OAuth2',
  },
  {
    name: 'Yahoo',
    domains: [
      'yahoo.com',
      'yahoo.de',
      'yahoo.fr',
      'yahoo.it',
      'yahoo.es',
      'yahoo.co.uk',
      'ymail.com',
      'rocketmail.com',
    ],
    exchangers: ['yahoodns.net'],
    imap: 'imap.mail.yahoo.com',
    pop3: 'pop.mail.yahoo.com',
    smtp: 'smtp.mail.yahoo.com',
    note: APP_PASSWORD,
  },
  {
    name: 'AOL',
    domains: ['aol.com', 'aim.com'],
    imap: 'imap.aol.com',
    pop3: 'pop.aol.com',
    smtp: 'smtp.aol.com',
    note: APP_PASSWORD,
  },
  {
    name: 'iCloud',
    domains: ['icloud.com', 'me.com', 'mac.com'],
    exchangers: ['mail.icloud.com'],
    imap: 'imap.mail.me.com',
    smtp: 'smtp.mail.me.com',
    smtpStartTls: true,
    note: APP_PASSWORD,
  },
  {
    name: 'Fastmail',
    domains: ['fastmail.com', 'fastmail.fm'],
    exchangers: ['messagingengine.com'],
    imap: 'imap.fastmail.com',
    pop3: 'pop.fastmail.com',
    smtp: 'smtp.fastmail.com',
    note: APP_PASSWORD,
  },
  {
    name: 'Zoho',
    domains: ['zoho.com', 'zohomail.com'],
    imap: 'imap.zoho.com',
    pop3: 'pop.zoho.com',
    smtp: 'smtp.zoho.com',
    note: SWITCH_ON,
  },
  {
    name: 'GMX',
    domains: ['gmx.de', 'gmx.net', 'gmx.at', 'gmx.ch'],
    imap: 'imap.gmx.net',
    pop3: 'pop.gmx.net',
    smtp: 'mail.gmx.net',
    note: SWITCH_ON,
  },
  {
    name: 'GMX',
    domains: ['gmx.com', 'gmx.us'],
    imap: 'imap.gmx.com',
    pop3: 'pop.gmx.com',
    smtp: 'mail.gmx.com',
    note: SWITCH_ON,
  },
  {
    name: 'WEB.DE',
    domains: ['web.de'],
    imap: 'imap.web.de',
    pop3: 'pop3.web.de',
    smtp: 'smtp.web.de',
    note: SWITCH_ON,
  },
  {
    name: 'mail.com',
    domains: ['mail.com', 'email.com'],
    imap: 'imap.mail.com',
    pop3: 'pop.mail.com',
    smtp: 'smtp.mail.com',
  },
  {
    name: 'T-Online',
    domains: ['t-online.de', 'magenta.de'],
    imap: 'secureimap.t-online.de',
    pop3: 'securepop.t-online.de',
    smtp: 'securesmtp.t-online.de',
  },
  { name: 'freenet', domains: ['freenet.de'], imap: 'mx.freenet.de', pop3: 'mx.freenet.de', smtp: 'mx.freenet.de' },
  { name: 'Posteo', domains: ['posteo.de', 'posteo.net'], imap: 'posteo.de', pop3: 'posteo.de', smtp: 'posteo.de' },
  {
    name: 'mailbox.org',
    domains: ['mailbox.org'],
    exchangers: ['mailbox.org'],
    imap: 'imap.mailbox.org',
    pop3: 'pop3.mailbox.org',
    smtp: 'smtp.mailbox.org',
  },
  {
    name: 'IONOS',
    domains: ['online.de'],
    exchangers: ['kundenserver.de'],
    imap: 'imap.ionos.de',
    pop3: 'pop.ionos.de',
    smtp: 'smtp.ionos.de',
  },
  {
    name: 'Orange',
    domains: ['orange.fr', 'wanadoo.fr'],
    imap: 'imap.orange.fr',
    pop3: 'pop.orange.fr',
    smtp: 'smtp.orange.fr',
  },
  {
    name: 'Free',
    domains: ['free.fr'],
    imap: 'imap.free.fr',
    pop3: 'pop.free.fr',
    smtp: 'smtp.free.fr',
    localName: true,
  },
  {
    name: 'Comcast',
    domains: ['comcast.net'],
    imap: 'imap.comcast.net',
    pop3: 'mail.comcast.net',
    smtp: 'smtp.comcast.net',
  },
  {
    name: 'Yandex',
    domains: ['yandex.com', 'yandex.ru', 'ya.ru'],
    imap: 'imap.yandex.com',
    pop3: 'pop.yandex.com',
    smtp: 'smtp.yandex.com',
    note: APP_PASSWORD,
  },
  {
    name: 'Mail.ru',
    domains: ['mail.ru', 'bk.ru', 'inbox.ru', 'list.ru'],
    imap: 'imap.mail.ru',
    pop3: 'pop.mail.ru',
    smtp: 'smtp.mail.ru',
    note: APP_PASSWORD,
  },
  {
    name: 'QQ Mail',
    domains: ['qq.com', 'foxmail.com'],
    imap: 'imap.qq.com',
    pop3: 'pop.qq.com',
    smtp: 'smtp.qq.com',
    note: APP_PASSWORD,
  },
  {
    name: 'NetEase',
    domains: ['163.com'],
    imap: 'imap.163.com',
    pop3: 'pop.163.com',
    smtp: 'smtp.163.com',
    note: APP_PASSWORD,
  },
  {
    name: 'Naver',
    domains: ['naver.com'],
    imap: 'imap.naver.com',
    pop3: 'pop.naver.com',
    smtp: 'smtp.naver.com',
    note: SWITCH_ON,
  },
];

/** The provider of addresses in this domain. */
export function providerOf(domain: string): Provider | undefined {
  return PROVIDERS.find(({ domains }) => domains.includes(domain));
}

/** The provider behind a domain's mail exchanger. */
export function providerBehind(exchanger: string): Provider | undefined {
  return PROVIDERS.find(({ exchangers }) =>
    exchangers?.some((end) => exchanger === end || exchanger.endsWith(`.${end}`)),
  );
}

export function candidatesOf(provider: Provider, local: string, source: Candidate['source']): Candidate[] {
  const username = provider.localName === true ? local : null;
  const at = (service: Service, host: string, port: number, tls: Candidate['tls']): Candidate => ({
    service,
    host,
    port,
    tls,
    source,
    username,
  });
  return [
    ...(provider.imap === undefined ? [] : [at('imap', provider.imap, 993, 'implicit')]),
    ...(provider.pop3 === undefined ? [] : [at('pop3', provider.pop3, 995, 'implicit')]),
    provider.smtpStartTls === true
      ? at('smtp', provider.smtp, 587, 'starttls')
      : at('smtp', provider.smtp, 465, 'implicit'),
  ];
}
