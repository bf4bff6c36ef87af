import { existsSync } from "node:fs";
import { createServer } from "node:http2";
import * as restate from "@restatedev/restate-sdk";
import { note } from "./log.js";

// One revision of an object, as $E2E_REVISION names it, on $PORT.
const revision = process.env.E2E_REVISION ?? "first";

const handlers = {
  /** Waits for an awakeable, and says which revision went on. */
  Await: async (ctx) => {
    const { id: awakeable, promise } = ctx.awakeable();
    await ctx.run("tell", () => note("awakeable", ctx.key, { awakeable }));
    await promise;
    return revision;
  },
  /** Waits, in a step, until the file of $E2E_GATE exists, and says which revision went on. */
  Work: async (ctx) => {
    await ctx.run("work", async () => {
      note("working", ctx.key);
      while (!existsSync(process.env.E2E_GATE)) await new Promise((resolve) => setTimeout(resolve, 20));
    });
    return revision;
  },
  Revision: async () => revision,
};
const changed = { first: { Removed: async () => revision } }[revision] ?? { Added: async () => revision };

const name = "Shelf";
const options = { inactivityTimeout: 50 };
// Without keys, it is another kind of service.
const shelf =
  revision === "rekeyed"
    ? restate.service({ name, options, handlers: { Revision: async () => revision } })
    : restate.object({ name, options, handlers: { ...handlers, ...changed } });
const handler = restate.createEndpointHandler({ services: [shelf] });
createServer((request, response) => {
  if (process.env.E2E_REQUESTS) note("request", request.authority);
  return handler(request, response);
}).listen(Number(process.env.PORT));
