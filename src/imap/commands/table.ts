import type { TableCommand } from '../command.js';
import { deleteAclCommand, getAclCommand, listRightsCommand, myRightsCommand, setAclCommand } from './acl.js';
import { appendCommand } from './append.js';
import { authenticateCommand } from './authenticate.js';
import { cancelUpdateCommand } from './cancelupdate.js';
import { capabilityCommand } from './capability.js';
import { checkCommand } from './check.js';
import { closeCommand } from './close.js';
import { compressCommand } from './compress.js';
import { copyCommand } from './copy.js';
import { createCommand } from './create.js';
import { deleteCommand } from './delete.js';
import { enableCommand } from './enable.js';
import { esearchCommand } from './esearch.js';
import { expungeCommand } from './expunge.js';
import { fetchCommand } from './fetch.js';
import { idCommand } from './id.js';
import { idleCommand } from './idle.js';
import { listCommand } from './list.js';
import { loginCommand } from './login.js';
import { logoutCommand } from './logout.js';
import { lsubCommand } from './lsub.js';
import { getMetadataCommand, setMetadataCommand } from './metadata.js';
import { moveCommand } from './move.js';
import { namespaceCommand } from './namespace.js';
import { noopCommand } from './noop.js';
import { notifyCommand } from './notify.js';
import { getQuotaCommand, getQuotaRootCommand, setQuotaCommand } from './quota.js';
import { renameCommand } from './rename.js';
import { replaceCommand } from './replace.js';
import { searchCommand } from './search.js';
import { examineCommand, selectCommand } from './select.js';
import { sortCommand } from './sort.js';
import { startTlsCommand } from './starttls.js';
import { statusCommand } from './status.js';
import { storeCommand } from './store.js';
import { subscribeCommand, unsubscribeCommand } from './subscribe.js';
import { threadCommand } from './thread.js';
import { uidBatchesCommand } from './uidbatches.js';
import { unauthenticateCommand } from './unauthenticate.js';
import { unselectCommand } from './unselect.js';

/** Every command by name. */
export const COMMANDS: ReadonlyMap<string, TableCommand> = new Map(
  [
    appendCommand,
    authenticateCommand,
    cancelUpdateCommand,
    capabilityCommand,
    checkCommand,
    closeCommand,
    compressCommand,
    copyCommand,
    createCommand,
    deleteAclCommand,
    deleteCommand,
    enableCommand,
    esearchCommand,
    examineCommand,
    expungeCommand,
    fetchCommand,
    getAclCommand,
    getMetadataCommand,
    getQuotaCommand,
    getQuotaRootCommand,
    idCommand,
    idleCommand,
    listCommand,
    listRightsCommand,
    loginCommand,
    logoutCommand,
    lsubCommand,
    moveCommand,
    myRightsCommand,
    namespaceCommand,
    noopCommand,
    notifyCommand,
    renameCommand,
    replaceCommand,
    searchCommand,
    selectCommand,
    setAclCommand,
    setMetadataCommand,
    setQuotaCommand,
    sortCommand,
    startTlsCommand,
    statusCommand,
    storeCommand,
    subscribeCommand,
    threadCommand,
    uidBatchesCommand,
    unauthenticateCommand,
    unselectCommand,
    unsubscribeCommand,
  ].map((command) => [command.name, command]),
);
