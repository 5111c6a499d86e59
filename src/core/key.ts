import { parseItem } from "structured-headers";
import { validate, version } from "uuid";
import { IdempotencyError } from "../errors.ts";

/** What each source of keys holds for one field of one operation; null and undefined mean nothing. */
export interface KeySources {
  /** `@idempotent(key:)` on the field of the client's operation. */
  readonly directive?: unknown;
  /** The argument that the schema names. */
  readonly argument?: unknown;
  /** The `Idempotency-Key` request header. */
  readonly header?: unknown;
}

export interface Key {
  /** The key as the client sent it, to name in answers. */
  readonly sent: string;
  /** The key that the record is found by. */
  readonly stored: string;
}

/**
 * The key of a call: the first source that has one wins, and sources with different keys are an error.
 *
 * A header is one for all root fields of an operation, so each of them gets a key of its own out of it: the
 * header's and the field's response name, held apart by a character that no valid key contains.
 *
 * @throws {IdempotencyError} IDEMPOTENCY_KEY_INVALID
 */
export function readKey({ directive, argument, header }: KeySources, responseName: string): Key | undefined {
  const fromField = validKey(directive, "@idempotent(key:)") ?? validKey(argument, "the key argument");
  if (directive != null && argument != null && directive !== argument) {
    throw differing("@idempotent(key:)", "the key argument");
  }
  const fromHeader = header == null ? undefined : validKey(headerKey(header), "the Idempotency-Key header");
  if (fromField === undefined) {
    return fromHeader === undefined
      ? undefined
      : { sent: fromHeader, stored: `${fromHeader}\u001f${responseName}` };
  }
  if (fromHeader !== undefined && fromHeader !== fromField) {
    throw differing("the Idempotency-Key header", "the field's own key");
  }
  return { sent: fromField, stored: fromField };
}

/**
 * A valid key has 1 to 255 characters, none of them a control character, and no white space at either end.
 * It is never trimmed or changed: two keys are the same when they are equal, character by character.
 */
export function validKey(key: unknown, source: string): string | undefined {
  if (key === undefined || key === null) return undefined;
  const fault = faultOf(key);
  if (fault === undefined) return key as string; // `as`: a value without a fault is a string
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_INVALID",
    `The idempotency key in ${source} must be a string of 1 to 255 characters without control characters and without white space at either end, but it ${fault}. Send a UUID, the same one with every retry of this call.`,
    typeof key === "string" && key.length <= 255 ? { key } : {},
  );
}

function faultOf(key: unknown): string | undefined {
  if (typeof key !== "string") return `is of type ${typeof key}`;
  if (key === "") return "is empty";
  // Code points, counted only where they can matter.
  if (key.length > 255 && [...key].length > 255) return `has ${[...key].length} characters`;
  if (/\p{Cc}/u.test(key)) return "has a control character";
  // A lone surrogate has no UTF-8 form: two such keys would meet in one record.
  if (/\p{Cs}/u.test(key)) return "has half of a surrogate pair";
  if (key.trim() !== key) return "has white space at an end";
  return undefined;
}

/**
 * The header's key: a structured-field string in quotes (draft-ietf-httpapi-idempotency-key-header, section
 * 2.1, and RFC 9651, section 3.3.3), or bare, as clients of Stripe send it.
 */
function headerKey(sent: unknown): unknown {
  const header = Array.isArray(sent) && sent.length === 1 ? sent[0] : sent;
  if (typeof header !== "string") {
    throw invalidHeader(Array.isArray(header) ? "was sent more than once" : `is of type ${typeof header}`);
  }
  if (!header.startsWith('"')) {
    // Two headers of one name arrive joined by a comma (RFC 9110, section 5.3).
    if (header.includes(",")) throw invalidHeader("has a comma, as if it had been sent twice");
    return header;
  }
  try {
    return parseItem(header)[0];
  } catch (cause) {
    throw invalidHeader("is not one well-formed quoted string", cause);
  }
}

function invalidHeader(fault: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_KEY_INVALID",
    `The Idempotency-Key header must be one key, in double quotes or bare, but it ${fault}. Send it once, such as Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324".`,
    { cause },
  );
}

function differing(one: string, other: string): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_KEY_INVALID",
    `A call has one idempotency key, but ${one} and ${other} are different. Send the key once, or the same one in both places.`,
  );
}

/** When a UUIDv7 was made, in milliseconds since the epoch (RFC 9562, section 5.7); undefined for other keys. */
export function timeOfKey(key: string): number | undefined {
  if (!validate(key) || version(key) !== 7) return undefined;
  return Number.parseInt(key.slice(0, 8) + key.slice(9, 13), 16);
}
