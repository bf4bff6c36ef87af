import * as restate from "@restatedev/restate-sdk";
import { retryPolicy, worker } from "./worker.js";
import { lazy, options } from "./options.js";
import { note } from "./log.js";

const counter = restate.object({
  name: "Counter",
  options: { inactivityTimeout: 50, retryPolicy },
  handlers: {
    add: async (ctx, amount) => {
      const value = ((await ctx.get("value")) ?? 0) + amount;
      ctx.set("value", value);
      return value;
    },
    append: async (ctx, item) => {
      const items = [...((await ctx.get("items")) ?? []), item];
      ctx.set("items", items);
      return items;
    },
    set: async (ctx, { name, value }) => ctx.set(name, value),
    clear: async (ctx, name) => ctx.clear(name),
    clearAll: async (ctx) => ctx.clearAll(),
    /** Holds the key until it is told to let go. */
    hold: async (ctx, id) => {
      const { id: awakeable, promise } = ctx.awakeable();
      await ctx.run("tell", () => note("awakeable", id, { awakeable }));
      await promise;
    },
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("value")) ?? 0),
    keys: restate.handlers.object.shared(async (ctx) => (await ctx.stateKeys()).sort()),
    /** A header of the attempt, which the runtime sets. */
    attemptHeader: restate.handlers.object.shared(async (ctx, name) => ctx.request().attemptHeaders.get(name) ?? null),
  },
});

const order = restate.workflow({
  name: "Order",
  options: { inactivityTimeout: 50, retryPolicy, workflowRetention: { hours: 1 } },
  handlers: {
    run: async (ctx, item) => {
      ctx.set("status", "waits");
      const by = await ctx.promise("approved");
      ctx.set("status", "done");
      await ctx.objectClient({ name: "Counter" }, item).add(1);
      return `${ctx.key}: ${item} approved by ${by}`;
    },
    approve: async (ctx, by) => ctx.promise("approved").resolve(by),
    refuse: async (ctx, why) => ctx.promise("approved").reject(why),
    status: async (ctx) => ({
      status: (await ctx.get("status")) ?? null,
      approved: (await ctx.promise("approved").peek()) ?? null,
    }),
  },
});

const large = restate.service({
  name: "Large",
  options: { retryPolicy },
  handlers: {
    give: async (ctx, length) => "x".repeat(length),
    take: async (ctx, text) => text.length,
  },
});

/** services are all of them, whichever way they are served. */
export const services = [worker, counter, order, options, lazy, large];
