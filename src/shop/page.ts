import { validate } from "uuid";
import { badUserInput } from "./errors.ts";

export interface PageArguments {
  readonly first?: number | null;
  readonly after?: string | null;
}

export interface Page {
  readonly limit: number;
  /** The page begins after this ID; the empty string sorts before every ID. */
  readonly after: string;
}

export function pageOf({ first, after }: PageArguments): Page {
  const limit = first ?? 50;
  if (limit < 1 || limit > 100) {
    throw badUserInput(`\`first\` must be a number from 1 to 100, but it is ${limit}.`);
  }
  if (after != null && !validate(after)) {
    throw badUserInput("`after` must be the ID of the last item of the page before, and that is a UUID.");
  }
  return { limit, after: after?.toLowerCase() ?? "" };
}
