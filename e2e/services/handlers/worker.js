import * as restate from "@restatedev/restate-sdk";
import { note } from "./log.js";

const counter = { name: "Counter" };
const attempts = new Map();

/** Counts the attempts at something that is not in the journal. */
export function attempt(id) {
  const n = (attempts.get(id) ?? 0) + 1;
  attempts.set(id, n);
  return n;
}

/** What crashes is back soon, and crashes more often than elsewhere. */
export const retryPolicy = { initialInterval: 100, maxInterval: 500, maxAttempts: 1000 };

/** Worker is a service that does a bit of everything. */
export const worker = restate.service({
  name: "Worker",
  options: { inactivityTimeout: 50, retryPolicy, journalRetention: { hours: 1 } },
  handlers: {
    hello: async (_, name) => `Hello ${name}`,

    fail: async (_, { message, code, metadata }) => {
      throw new restate.TerminalError(message, { errorCode: code, metadata });
    },

    /** Fails as often as told, without the failure being terminal. */
    flaky: async (_, { id, failures }) => {
      const n = attempt(id);
      if (n <= failures) throw new Error("fails on purpose");
      return n;
    },

    steps: async (ctx, { id, count }) => {
      let sum = 0;
      for (let i = 1; i <= count; i++) {
        sum += await ctx.run(`step ${i}`, () => {
          note("step", id, { i });
          return i;
        });
      }
      return sum;
    },

    /** Does two steps, with a random number between them. */
    draw: async (ctx, id) => {
      await ctx.run("first", () => note("first", id));
      const drawn = ctx.rand.uuidv4();
      await ctx.run("second", () => note("second", id));
      return drawn;
    },

    flakyStep: async (ctx, { id, failures, most }) =>
      ctx.run(
        "flaky",
        () => {
          note("attempt", id);
          const n = attempt(id);
          if (n <= failures) throw new Error("fails on purpose");
          return n;
        },
        { initialRetryInterval: 10, maxRetryAttempts: most },
      ),

    failStep: async (ctx) => {
      try {
        await ctx.run("fails", () => {
          throw new restate.TerminalError("not so", { errorCode: 412 });
        });
      } catch (e) {
        return { code: e.code, message: e.message };
      }
    },

    call: async (ctx, { key, amount }) => {
      const value = await ctx.objectClient(counter, key).add(amount);
      const greeting = await ctx.serviceClient({ name: "Worker" }).hello(key);
      return { value, greeting };
    },

    callFailing: async (ctx, failure) => {
      try {
        await ctx.serviceClient({ name: "Worker" }).fail(failure);
      } catch (e) {
        return { code: e.code, message: e.message, metadata: e.metadata };
      }
    },

    /** Calls twice with one idempotency key. */
    callOnce: async (ctx, { key, idempotencyKey }) => {
      const add = () => ctx.objectClient(counter, key).add(1, restate.rpc.opts({ idempotencyKey }));
      return [await add(), await add()];
    },

    send: async (ctx, { key, amount, delay }) => {
      const handle = ctx.objectSendClient(counter, key).add(amount, restate.rpc.sendOpts({ delay }));
      return await handle.invocationId;
    },

    sleep: async (ctx, { id, millis, key }) => {
      await ctx.run("started", () => note("started", id));
      await ctx.sleep(millis);
      if (key) await ctx.objectClient(counter, key).add(1);
      return "awake";
    },

    awaitAwakeable: async (ctx, id) => {
      const { id: awakeable, promise } = ctx.awakeable();
      await ctx.run("tell", () => note("awakeable", id, { awakeable }));
      try {
        return { resolved: await promise };
      } catch (e) {
        if (e instanceof restate.CancelledError) throw e;
        return { rejected: e.message };
      }
    },

    settle: async (ctx, { awakeable, value, reason }) => {
      if (reason) ctx.rejectAwakeable(awakeable, reason);
      else ctx.resolveAwakeable(awakeable, value);
    },

    /** Waits for whichever comes first. */
    race: async (ctx) =>
      restate.RestatePromise.race([ctx.sleep(3600_000), ctx.serviceClient({ name: "Worker" }).hello("first")]),

    timeout: async (ctx) => {
      try {
        await ctx.awakeable().promise.orTimeout(100);
      } catch (e) {
        return e instanceof restate.TimeoutError;
      }
    },

    /** Is cancelled while it waits, and undoes what it did. */
    compensate: async (ctx, { id, key }) => {
      await ctx.objectClient(counter, key).add(5);
      try {
        await ctx.run("begun", () => note("begun", id));
        await ctx.sleep(3600_000);
      } catch (e) {
        await ctx.objectClient(counter, key).add(-5);
        throw new restate.TerminalError("undone", { errorCode: e.code });
      }
    },

    /** Waits for a call that does not end. */
    callHold: async (ctx, { id, key }) => ctx.objectClient(counter, key).hold(id),

    cancel: async (ctx, id) => ctx.invocation(id).cancel(),

    attach: async (ctx, id) => ctx.invocation(id).attach(),

    awaitSignal: async (ctx, name) => {
      try {
        return { resolved: await ctx.signal(name) };
      } catch (e) {
        return { rejected: e.message };
      }
    },

    signal: async (ctx, { id, name, value, reason }) => {
      const signal = ctx.invocation(id).signal(name);
      if (reason) signal.reject(reason);
      else signal.resolve(value);
    },
  },
});
