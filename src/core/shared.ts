/**
 * A value that all copies of this package in a process have in common. Two copies are a common accident: a package and
 * its dependency bring one each, or a bundle and `node_modules`. They must not run a call side by side.
 */
export function shared<Value>(name: string, make: () => Value): Value {
  const place = Symbol.for(name);
  const global = globalThis as { [place]?: Value }; // `as`: the name is this package's own
  global[place] ??= make();
  return global[place];
}
