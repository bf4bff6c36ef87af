// Welcomes somebody, in a handler that this program runs itself: the embedded handler of docs/api.md.
const restate = require("@restatedev/restate-sdk");

const [ingress, name] = process.argv.slice(2);
// What the SDK waits for does not keep Node from ending.
const awake = setInterval(() => {}, 1000);

restate
  .connection(ingress)
  .invoke(`welcome ${name}`, name, async (ctx, guest) => {
    await ctx.sideEffect(async () => console.log(`opening the door to ${guest}`));
    return ctx.rpc({ path: "greeter" }).greet(guest);
  })
  .then(console.log, console.error)
  .finally(() => clearInterval(awake));
