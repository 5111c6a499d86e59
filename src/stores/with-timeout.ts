/** The value of a promise, or a rejection when it takes longer; what comes later goes nowhere. */
export async function within<Value>(
  promise: Promise<Value>,
  ms: number,
  tooLate: () => Error,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooLate()), ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
