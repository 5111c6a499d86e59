interface DrizzleSession {
  transaction<Result>(work: (tx: never) => Promise<Result>): Promise<Result>;
}

/**
 * The session of a Drizzle database, over another client. Drizzle runs the transaction, but every statement goes
 * through that client.
 */
export function sessionOver(db: object, client: object): DrizzleSession {
  // `as`: Drizzle's types hide the session of a database
  const { session } = db as { readonly session: object };
  return Object.create(session, { client: { value: client } }) as DrizzleSession;
}
