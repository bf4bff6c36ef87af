import * as restate from "@restatedev/restate-sdk";
import { protoMetadata } from "../generated/e2e";
import { bindAll } from "./services";

// A long-running service endpoint on $PORT.
bindAll(restate.createServer(), protoMetadata).listen(Number(process.env.PORT ?? 9080));
