import { DBOS } from "@dbos-inc/dbos-sdk";

/** DBOS: the key is the workflow's ID, the work its only step. Its records are in PostgreSQL. */
export function asWorkflow(createOrder) {
  const workflow = DBOS.registerWorkflow(
    (input) => DBOS.runStep(async () => createOrder(input), { name: "createOrder" }),
    { name: "createOrder" },
  );
  return async (_root, { input, idempotencyKey }) => {
    const handle = await DBOS.startWorkflow(workflow, { workflowID: idempotencyKey })(input);
    return handle.getResult();
  };
}

/** After all workflows have been registered. */
export async function launchDbos({ postgresUrl, postgresConnections }) {
  DBOS.setConfig({
    name: "bench",
    systemDatabaseUrl: postgresUrl,
    ...(postgresConnections && { systemDatabasePoolSize: postgresConnections }),
    logLevel: "error",
  });
  await DBOS.launch();
  return () => DBOS.shutdown();
}
