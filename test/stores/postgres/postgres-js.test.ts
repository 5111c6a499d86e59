import { connectPostgresJs } from "./connect.ts";
import { postgresSuite } from "./postgres-suite.ts";

postgresSuite(connectPostgresJs);
