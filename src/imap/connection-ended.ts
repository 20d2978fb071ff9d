/** Thrown to end the command loop of a connection: the client is gone, or was told BYE. It is never answered. */
export class ConnectionEnded extends Error {
  constructor() {
    super('the connection has ended');
    this.name = 'ConnectionEnded';
  }
}
