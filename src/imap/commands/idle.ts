import { AUTHENTICATED, defineCommand, noArguments } from '../command.js';
import { bad, ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';

/** RFC 2177 §4: DONE, or the wrong line a client sends instead. */
const MAX_DONE_LINE = 1_024;

/** RFC 2177: changes are told as they happen until the client says DONE. */
export const idleCommand = defineCommand({
  name: 'IDLE',
  states: AUTHENTICATED,
  quiet: true,
  parse: noArguments,
  run: idle,
});

async function idle(session: Session): Promise<Reply> {
  session.out.text('+ idling\r\n');
  let done = false;
  let wake = (): void => undefined;
  let changed = true;
  const signal = (): void => {
    changed = true;
    wake();
  };
  // A client that said what it wants to hear (RFC 5465 §4) is told of it by the connection, in IDLE as elsewhere.
  const stop = session.notifier === null ? session.selectedOrNull?.mailbox.onChange(signal) : undefined;
  const line = session.io.readLine(MAX_DONE_LINE).finally(() => {
    done = true;
    wake();
  });
  // Whoever waits for it is below; until then a broken connection must not count as unhandled.
  line.catch(() => undefined);
  try {
    while (!done) {
      if (changed) {
        changed = false;
        await session.poll(true);
        await session.out.drain();
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    stop?.();
  }
  const word = (await line).toString('latin1').trim().toUpperCase();
  return word === 'DONE' ? ok('IDLE completed') : bad('Expected DONE');
}
