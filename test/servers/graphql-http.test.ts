import { auditServer } from "graphql-http";
import { expect, it } from "vitest";
import { startServer } from "../start-server.ts";

// Apollo Server refuses GET requests that a browser would send without a preflight (csrfPrevention), and
// answers a bad document with 400 in either media type. Neither has to do with this package.
const notFollowed = [
  "MAY accept application/x-www-form-urlencoded formatted GET requests",
  "MAY allow URL-encoded JSON string {variables} parameter in GETs when accepting application/graphql-response+json",
  "MAY allow URL-encoded JSON string {variables} parameter in GETs when accepting application/json",
  "SHOULD use 200 status code on document parsing failure when accepting application/json",
  "SHOULD use 200 status code on document validation failure when accepting application/json",
  "SHOULD use a status code of 200 on variable coercion failure when accepting application/json",
];

it("passes the audit of GraphQL over HTTP: no required item fails, and of the others only Apollo Server's own", async () => {
  await using server = await startServer();
  const audits = await auditServer({ url: server.url, fetchFn: fetch });
  expect(audits.length).toBeGreaterThan(50);
  expect(audits.filter(({ name, status }) => name.startsWith("MUST") && status !== "ok")).toEqual([]);
  expect(audits.filter(({ status }) => status !== "ok").map(({ name }) => name)).toEqual(notFollowed);
});
