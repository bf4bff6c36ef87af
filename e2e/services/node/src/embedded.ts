import * as restate from "@restatedev/restate-sdk";
import { executed } from "./log";

// Runs a handler inside this program: node embedded.js <ingress> <operation> <input>. Prints the result as JSON.
const [ingress, operation, input] = process.argv.slice(2);
// Node ends when it has nothing to wait for, and the connection of the SDK does not count.
setTimeout(() => {
  console.error("no result in time");
  process.exit(1);
}, 600_000);
restate
  .connection(ingress)
  .invoke(operation, input, async (ctx: restate.RpcContext, text: string) => {
    const step = await ctx.sideEffect(async () => {
      executed("embedded", operation);
      return `${text}!`;
    });
    const answer = await ctx.rpc<{ echo: (value: string) => Promise<string> }>({ path: "echo" } as never).echo(step);
    return { answer };
  })
  .then((result: unknown) => {
    console.log(JSON.stringify(result));
    process.exit(0);
  })
  .catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
