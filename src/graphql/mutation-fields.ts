import {
  type GraphQLFieldConfig,
  GraphQLInterfaceType,
  GraphQLList,
  type GraphQLNamedType,
  GraphQLNonNull,
  GraphQLObjectType,
  type GraphQLOutputType,
  GraphQLSchema,
  GraphQLUnionType,
  getNamedType,
  isInterfaceType,
  isListType,
  isNonNullType,
  isObjectType,
  isUnionType,
  validateSchema,
} from "graphql";

type FieldConfig = GraphQLFieldConfig<unknown, unknown>;
/** The types that can lead to the mutation type. */
type CompositeType = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType;

/**
 * A schema whose mutation fields are what `change` makes of them. The given schema stays as it is, and so does
 * every type: the new schema has the same objects, with the same default values, resolvers and extensions. Only the
 * mutation type is another, and with it the rare types that lead back to it.
 *
 * Tools that rebuild a whole schema write default values out as SDL and read them back, which changes those that a
 * scalar doesn't take through unharmed.
 */
export function withMutationFields(
  schema: GraphQLSchema,
  change: (config: FieldConfig, name: string) => FieldConfig,
): GraphQLSchema {
  const mutation = schema.getMutationType();
  if (!mutation) return schema;
  const copies = new Map<GraphQLNamedType, GraphQLNamedType>();
  for (const type of typesLeadingTo(mutation, schema)) {
    copies.set(type, copyOf(type, type === mutation ? change : (config) => config, current));
  }

  function current<Type extends GraphQLNamedType>(type: Type): Type {
    return (copies.get(type) ?? type) as Type; // `as`: a copy is of the same kind
  }

  const config = schema.toConfig();
  return new GraphQLSchema({
    ...config,
    query: config.query && current(config.query),
    mutation: current(mutation),
    subscription: config.subscription && current(config.subscription),
    types: config.types.map(current),
    // `toConfig` says this of every schema that was validated, also of one that was found invalid.
    assumeValid: config.assumeValid && validateSchema(schema).length === 0,
  });
}

function typesLeadingTo(mutation: GraphQLObjectType, schema: GraphQLSchema): Set<CompositeType> {
  const found = new Set<CompositeType>([mutation]);
  const candidates = Object.values(schema.getTypeMap()).filter(isComposite);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const type of candidates) {
      // `has` may be asked for any type
      const isFound = (other: GraphQLNamedType) => (found as Set<GraphQLNamedType>).has(other);
      if (referencesOf(type).some(isFound)) found.add(type);
    }
  }
  return found;
}

function isComposite(type: GraphQLNamedType): type is CompositeType {
  return isObjectType(type) || isInterfaceType(type) || isUnionType(type);
}

function referencesOf(type: CompositeType): readonly GraphQLNamedType[] {
  if (isUnionType(type)) return type.getTypes();
  const fields = Object.values(type.getFields());
  return [...type.getInterfaces(), ...fields.map((field) => getNamedType(field.type))];
}

function copyOf(
  type: CompositeType,
  change: (config: FieldConfig, name: string) => FieldConfig,
  current: <Type extends GraphQLNamedType>(type: Type) => Type,
): CompositeType {
  if (isUnionType(type)) {
    const config = type.toConfig();
    return new GraphQLUnionType({ ...config, types: () => config.types.map(current) });
  }
  const config = type.toConfig();
  // Changed at once, so that a mistake is an error of the transformation.
  const changed = Object.entries(config.fields).map(([name, field]) => [name, change(field, name)] as const);
  const interfaces = () => config.interfaces.map(current);
  const fields = () =>
    Object.fromEntries(
      changed.map(([name, field]) => [name, { ...field, type: wrapped(field.type, current) }]),
    );
  return isObjectType(type)
    ? new GraphQLObjectType({ ...type.toConfig(), interfaces, fields })
    : new GraphQLInterfaceType({ ...type.toConfig(), interfaces, fields });
}

/** The type with its lists and non-nulls, around the current form of its named type. */
function wrapped(
  type: GraphQLOutputType,
  current: <Type extends GraphQLNamedType>(type: Type) => Type,
): GraphQLOutputType {
  if (current(getNamedType(type)) === getNamedType(type)) return type;
  if (isNonNullType(type)) return new GraphQLNonNull(wrapped(type.ofType, current));
  if (isListType(type)) return new GraphQLList(wrapped(type.ofType, current));
  return current(type);
}
