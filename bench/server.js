// The process of one server: starts what the trial names, and measures itself when asked to.
import Sqlite from "better-sqlite3";
import { parameters, serveParent } from "./child.js";
import { countCommits, readMeters, readPragmas, startMeters } from "./meters.js";
import { readProfile, startProfile } from "./profile.js";
import { servers } from "./servers/index.js";

const { server, ...settings } = parameters();
countCommits();
const { url, connections, purge, close } = await servers[server](settings);

/** How many records wait for the purge, as another connection sees it. */
function countExpired() {
  const connection = new Sqlite(settings.file, { readonly: true });
  const count = connection.prepare("SELECT count(*) FROM idempotency_records WHERE expires_at <= ?").pluck();
  const left = count.get(Date.now());
  connection.close();
  return left;
}

serveParent(
  { url, pragmas: readPragmas(connections) },
  { startMeters, readMeters, purge, countExpired, startProfile, readProfile },
  close,
);
