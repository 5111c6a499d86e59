/**
 * The value of `promise`, or the rejection by `timedOut()` once `ms` have passed. What arrives later is ignored.
 */
export async function withTimeout<Value>(
  promise: Promise<Value>,
  ms: number,
  timedOut: () => Error,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(timedOut()), ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
