const restate = require("@restatedev/restate-sdk");

let packed = 0; // how often this process has packed a parcel

const greeter = restate.keyedRouter({
  // What is set belongs to the key, here a name. Calls with the same key run one at a time.
  greet: async (ctx, name) => {
    const visits = ((await ctx.get("visits")) ?? 0) + 1;
    ctx.set("visits", visits);
    return `Hello ${name}, this is visit ${visits}`;
  },
  // The journal remembers what a step returned, so no step is done again.
  send: async (ctx, name) => {
    const parcel = await ctx.sideEffect(async () => {
      console.log(`packing a parcel for ${name}`);
      return `Parcel ${++packed}`;
    });
    await ctx.sleep(10_000);
    return `${parcel} has reached ${name}`;
  },
});

restate.createServer().bindKeyedRouter("greeter", greeter).listen(Number(process.env.PORT || 9080));
