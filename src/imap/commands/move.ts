import { defineCommand, SELECTED } from '../command.js';
import { ok, readOnlyReply } from '../reply.js';
import { copyUid, parseCopy } from './copy.js';

/** RFC 6851; the EXPUNGEs follow from the listing, behind COPYUID (§4.3). */
export const moveCommand = defineCommand({
  name: 'MOVE',
  states: SELECTED,
  uid: true,
  parse: parseCopy,
  async run(session, { set, target }, { uid }) {
    const { selected } = session;
    if (selected.readOnly) return readOnlyReply();
    const uids = selected.uids(session.limit(selected.resolve(set, uid)));
    if (uids.length === 0) return ok('Nothing to move');
    const code = copyUid(await selected.mailbox.move(uids, target));
    if (code !== undefined) session.out.text(`* OK [${code}] Moved\r\n`);
    return { ...ok('MOVE completed'), tellsModSeq: code !== undefined };
  },
});
