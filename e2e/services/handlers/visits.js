import * as restate from "@restatedev/restate-sdk";

const visits = restate.object({
  name: "Visits",
  handlers: {
    // State belongs to the key, here a name. Calls with the same key run one at a time.
    greet: async (ctx) => {
      const count = ((await ctx.get("count")) ?? 0) + 1;
      ctx.set("count", count);
      // The journal remembers what a step returned, so no step is done again.
      const badge = await ctx.run("print the badge", () => `badge ${count}`);
      await ctx.sleep({ seconds: 1 });
      return `Hello ${ctx.key}, here is ${badge}`;
    },
  },
});

restate.serve({ services: [visits], port: Number(process.env.PORT || 9080) });
