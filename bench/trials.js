// The trials, as data. `against` names the trials that a trial is set in proportion to.

/**
 * @typedef {object} Trial
 * @property {string} name
 * @property {string} title what tables and charts call it
 * @property {string} server the name of what it starts, in servers/index.js
 * @property {"v7" | "v4" | "replay"} keys new keys of one kind, or those of results that are stored
 * @property {number} [processes] how many of these servers share the connections, 1 if not given
 * @property {boolean} [protects] a retry must not run the resolver again; it is checked before the trial
 * @property {"redis" | "postgres"} [needs] a service, in services.js
 * @property {string[]} against the trials that it is set in proportion to
 */

/** Apollo Server standalone. @type {Trial[]} */
export const mainTrials = [
  { name: "noop", title: "no-op mutation", server: "noop", keys: "v7", against: [] },
  { name: "plain", title: "plain resolver, one commit each", server: "plain", keys: "v7", against: [] },
  {
    name: "plainPrepared",
    title: "plain resolver, statements prepared by hand",
    server: "plainPrepared",
    keys: "v7",
    against: ["plain"],
  },
  {
    name: "write",
    title: "plain resolver in database.write",
    server: "write",
    keys: "v7",
    against: ["plain"],
  },
  {
    name: "protected",
    protects: true,
    title: "@idempotent, first calls",
    server: "idempotent",
    keys: "v7",
    against: ["plain", "write"],
  },
  {
    name: "protected-v4",
    protects: true,
    title: "@idempotent, first calls, UUIDv4 keys",
    server: "idempotent",
    keys: "v4",
    against: ["plain", "write"],
  },
  {
    name: "replay",
    protects: true,
    title: "@idempotent, replays",
    server: "idempotent",
    keys: "replay",
    against: ["noop"],
  },
];

/** Apollo Server on Express 5: the package and its peers. @type {Trial[]} */
export const peerTrials = [
  {
    name: "express-plain",
    title: "plain resolver, no idempotency",
    server: "expressPlain",
    keys: "v7",
    against: [],
  },
  {
    name: "express-idempotent",
    protects: true,
    title: "graphql-idempotent",
    server: "expressIdempotent",
    keys: "v7",
    against: ["express-plain"],
  },
  {
    name: "node-idempotency-memory",
    protects: true,
    title: "@node-idempotency/core, memory",
    server: "nodeIdempotencyMemory",
    keys: "v7",
    against: ["express-plain"],
  },
  {
    name: "node-idempotency-redis",
    protects: true,
    title: "@node-idempotency/core, Redis",
    server: "nodeIdempotencyRedis",
    needs: "redis",
    keys: "v7",
    against: ["express-plain"],
  },
  {
    name: "express-idempotency-memory",
    protects: true,
    title: "express-idempotency, memory",
    server: "expressIdempotencyMemory",
    keys: "v7",
    against: ["express-plain"],
  },
  {
    name: "express-idempotency-redis",
    protects: true,
    title: "express-idempotency, Redis",
    server: "expressIdempotencyRedis",
    needs: "redis",
    keys: "v7",
    against: ["express-plain"],
  },
  {
    name: "powertools-redis",
    protects: true,
    title: "@aws-lambda-powertools/idempotency, Redis",
    server: "powertoolsRedis",
    needs: "redis",
    keys: "v7",
    against: ["express-plain"],
  },
  {
    name: "dbos",
    protects: true,
    title: "@dbos-inc/dbos-sdk, PostgreSQL",
    server: "dbos",
    needs: "postgres",
    keys: "v7",
    against: ["express-plain"],
  },
];

/** Apollo Server standalone on PostgreSQL; the drivers are node-postgres and postgres.js. @type {Trial[]} */
export const postgresTrials = [
  {
    name: "postgres-plain",
    title: "plain transaction",
    server: "postgresPlain",
    keys: "v7",
    against: [],
  },
  {
    name: "postgres-protected",
    protects: true,
    title: "@idempotent, first calls",
    server: "postgresIdempotent",
    keys: "v7",
    against: ["postgres-plain"],
  },
  {
    name: "postgres-replay",
    protects: true,
    title: "@idempotent, replays",
    server: "postgresIdempotent",
    keys: "replay",
    against: ["postgres-protected"],
  },
  {
    name: "postgres-three",
    protects: true,
    title: "@idempotent, first calls, three processes",
    server: "postgresIdempotent",
    processes: 3,
    keys: "v7",
    against: ["postgres-protected"],
  },
  {
    name: "postgres-js-plain",
    title: "plain transaction, postgres.js",
    server: "postgresJsPlain",
    keys: "v7",
    against: ["postgres-plain"],
  },
  {
    name: "postgres-js-protected",
    protects: true,
    title: "@idempotent, first calls, postgres.js",
    server: "postgresJsIdempotent",
    keys: "v7",
    against: ["postgres-js-plain"],
  },
  {
    name: "postgres-insert-first",
    protects: true,
    title: "the other design: insert first, complete at the end",
    server: "postgresInsertFirst",
    keys: "v7",
    against: ["postgres-plain", "postgres-protected"],
  },
  {
    name: "postgres-dbos",
    protects: true,
    title: "@dbos-inc/dbos-sdk, the transaction as a step",
    server: "postgresDbos",
    keys: "v7",
    against: ["postgres-plain", "postgres-protected"],
  },
];
