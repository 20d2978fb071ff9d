import { defineCommand, noArguments, UNAUTHENTICATED } from '../command.js';
import { bad, ok } from '../reply.js';

/** RFC 9051 §6.2.1. */
export const startTlsCommand = defineCommand({
  name: 'STARTTLS',
  states: UNAUTHENTICATED,
  parse: noArguments,
  async run(session) {
    if (!session.io.startTlsOffered) return bad('STARTTLS is not offered here');
    return { ...ok('Begin TLS negotiation now'), after: () => session.io.startTls() };
  },
});
