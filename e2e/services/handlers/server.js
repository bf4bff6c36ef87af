import * as restate from "@restatedev/restate-sdk";
import { services } from "./services.js";

// A long-running service endpoint on $PORT. Requests have to be signed with $E2E_IDENTITY, where that is set.
const identityKeys = process.env.E2E_IDENTITY ? [process.env.E2E_IDENTITY] : undefined;
restate.serve({ services, identityKeys, port: Number(process.env.PORT) });
