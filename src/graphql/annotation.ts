import { type ConstDirectiveNode, valueFromASTUntyped } from "graphql";

/** The directive's arguments as they were written, without defaults. */
export type DirectiveArguments = Readonly<Record<string, unknown>>;

/** Something in a schema that bears directives: from SDL, or from code by `extensions.directives`. */
interface Annotated {
  readonly astNode?: { readonly directives?: readonly ConstDirectiveNode[] } | null | undefined;
  readonly extensionASTNodes?:
    | readonly { readonly directives?: readonly ConstDirectiveNode[] }[]
    | null
    | undefined;
  readonly extensions: Readonly<Record<string, unknown>>;
}

/** Reads the directive from a type or field, or undefined where it isn't. */
export function directiveOn(annotated: Annotated, name: string): DirectiveArguments | undefined {
  const fromCode = directiveInCode(annotated.extensions.directives, name);
  if (fromCode !== undefined) return fromCode ?? {};
  for (const node of [annotated.astNode, ...(annotated.extensionASTNodes ?? [])]) {
    const directive = node?.directives?.find((candidate) => candidate.name.value === name);
    if (directive) {
      return Object.fromEntries(
        (directive.arguments ?? []).map(({ name, value }) => [name.value, valueFromASTUntyped(value)]),
      );
    }
  }
  return undefined;
}

/**
 * Code-first builders write a record of arguments by the directive's name, or of lists of them as if it were
 * repeatable; or, as Pothos does, one list of `{ name, args }`.
 */
// biome-ignore lint/suspicious/noExplicitAny: anybody may have written the extensions
function directiveInCode(directives: any, name: string): DirectiveArguments | null | undefined {
  if (Array.isArray(directives)) {
    const found = directives.find((directive) => directive?.name === name);
    return found && (found.args ?? null);
  }
  const written = directives?.[name];
  return Array.isArray(written) ? written[0] : written;
}
