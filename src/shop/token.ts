import { hash } from "node:crypto";

/** Tokens are long and random outside of the demo, so a fast hash is enough. */
export function tokenHash(token: string): string {
  return hash("sha256", token, "base64url");
}
