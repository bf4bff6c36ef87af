import * as restate from "@restatedev/restate-sdk";
import { executed } from "./log";

// Runs a handler inside this program that uses everything such handlers may: node steps.js <ingress> <operation> <count>.
// It waits for an awakeable between the steps and the calls. Prints the result as JSON. With $E2E_STEPS, it crashes instead of
// doing more steps than that.
const [ingress, operation, count] = process.argv.slice(2);
const most = Number(process.env.E2E_STEPS ?? Infinity);
let done = 0;
// Node ends when it has nothing to wait for, and the connection of the SDK does not count.
setTimeout(() => {
  console.error("no result in time");
  process.exit(1);
}, 600_000);

interface Store {
  put: (key: string, item: string) => Promise<string[]>;
}
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const store: any = { path: "e2e.routers.Store" };

restate
  .connection(ingress)
  .invoke(operation, Number(count), async (ctx: restate.RpcContext, n: number) => {
    const before = await ctx.get<number>("steps");
    for (let i = 0; i < n; i++) {
      await ctx.sideEffect(async () => {
        if (++done > most) {
          process.exit(1);
        }
        executed("step", operation, { i });
        return i;
      });
      ctx.set("steps", i + 1);
    }
    const awakeable = ctx.awakeable<string>();
    await ctx.sideEffect(async () => executed("awakeable", operation, { awakeable: awakeable.id }));
    const woken = await awakeable.promise;
    ctx.send<Store>(store).put(`${operation} sent`, woken);
    let items: string[] = [];
    for (let i = 0; i < n; i++) {
      items = await ctx.rpc<Store>(store).put(operation, String(i));
    }
    const steps = await ctx.get<number>("steps");
    ctx.clear("steps");
    const refused = await ctx
      .rpc<{ fail: () => Promise<void> }>({ path: "echo" } as never)
      .fail()
      .then(() => "nothing")
      .catch((e: Error) => e.message);
    return { before, woken, items, steps, after: await ctx.get<number>("steps"), refused };
  })
  .then((result: unknown) => {
    console.log(JSON.stringify(result));
    process.exit(0);
  })
  .catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
