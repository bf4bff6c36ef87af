import * as restate from "@restatedev/restate-sdk";
import { attempt, retryPolicy } from "./worker.js";
import { note } from "./log.js";

const self = { name: "Options" };

/** Ends after two attempts, in whichever way. */
const brief = (onMaxAttempts) => ({ retryPolicy: { initialInterval: 10, maxAttempts: 2, onMaxAttempts } });

/** Options has what handlers may be told of a request, and may ask for beyond it. */
export const options = restate.service({
  name: "Options",
  options: { inactivityTimeout: 50, retryPolicy },
  handlers: {
    /** What a handler gets to know of its invocation. */
    request: async (ctx) => {
      const { id, headers, body, idempotencyKey, scope, limitKey } = ctx.request();
      return {
        id, idempotencyKey, scope, limitKey,
        custom: headers.get("x-custom"), path: headers.get("x-restate-ingress-path"), body: Buffer.from(body).toString(),
      };
    },

    /** Calls with every option of a call. */
    callWith: async (ctx, options) => {
      const client = (options.scope ? ctx.scope(options.scope) : ctx).serviceClient(self);
      const { idempotencyKey, headers, limitKey } = options;
      const call = client.request(restate.rpc.opts({ idempotencyKey, headers, limitKey, name: "with options" }));
      return { id: await call.invocationId, got: await call };
    },

    hidden: restate.handlers.handler({ ingressPrivate: true }, async () => "seen"),
    callHidden: async (ctx) => ctx.serviceClient(self).hidden(),

    /** Waits in each way that there is. */
    combine: async (ctx) => {
      const say = (what) => ctx.run(`say ${what}`, () => what);
      const fail = () =>
        ctx.run("fail", () => {
          throw new restate.TerminalError("no");
        });
      const { RestatePromise } = restate;
      const settled = await RestatePromise.allSettled([say("a"), fail()]);
      return {
        all: await RestatePromise.all([say("a"), ctx.sleep(100).map(() => "b"), say("c")]),
        any: await RestatePromise.any([fail(), ctx.sleep(100).map(() => "b")]),
        race: await RestatePromise.race([ctx.sleep(3600_000), say("a")]),
        settled: settled.map((s) => s.status),
        time: (await ctx.date.now()) > 0 && typeof (await ctx.date.toJSON()) === "string",
      };
    },

    /** A side effect that says itself when it is to be tried again. */
    retryLater: async (ctx, id) =>
      ctx.run("later", () => {
        const n = attempt(id);
        if (n < 3) throw new restate.RetryableError("not yet", { retryAfter: 20 });
        return n;
      }),

    /** A side effect that wants somebody to look. */
    pause: async (ctx, id) =>
      ctx.run("pause", () => {
        if (attempt(id) === 1) throw new restate.PauseError("look at this");
        return "resumed";
      }),

    /** Does in its second attempt what it did not do in the first. */
    change: restate.handlers.handler({ onJournalMismatchErrors: "fail" }, async (ctx, id) => {
      const n = attempt(id);
      await ctx.run(n === 1 ? "one" : "other", () => n);
      throw new Error("fails on purpose");
    }),

    exhaustKill: restate.handlers.handler(brief("kill"), async (_, id) => {
      note("attempt", id);
      throw new Error("fails for good");
    }),
    exhaustPause: restate.handlers.handler(brief("pause"), async (_, id) => {
      note("attempt", id);
      const n = attempt(id);
      if (n <= 2) throw new Error("fails twice");
      return n;
    }),

    /** Works in its first attempt for longer than it may. */
    hang: restate.handlers.handler({ abortTimeout: 1000 }, async (_, id) => {
      const n = attempt(id);
      if (n === 1) await new Promise((resolve) => setTimeout(resolve, 3600_000).unref());
      return n;
    }),
  },
});

/** Lazy is an object whose handlers ask for each value of its state. */
export const lazy = restate.object({
  name: "Lazy",
  options: { enableLazyState: true },
  handlers: {
    set: async (ctx, { name, value }) => ctx.set(name, value),
    read: async (ctx, name) => ({ value: await ctx.get(name), keys: (await ctx.stateKeys()).sort() }),
  },
});
