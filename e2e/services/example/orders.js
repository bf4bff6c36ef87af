// Places orders that somebody has to approve: the service of docs/api.md.
const restate = require("@restatedev/restate-sdk");

const orders = restate.router({
  // Waits, suspended, until somebody outside completes the awakeable.
  place: async (ctx, item) => {
    const { id, promise } = ctx.awakeable();
    await ctx.sideEffect(async () => console.log(`to approve ${item}: ${id}`));
    const approver = await promise;
    return `${item} ordered, approved by ${approver}`;
  },
  // Fails for good: a terminal error is the result of the call, and is not tried again. 5 is "not found" in gRPC.
  cancel: async (_, item) => {
    throw new restate.TerminalError(`nobody has ordered ${item}`, { errorCode: 5 });
  },
});

restate.createServer().bindRouter("orders", orders).listen(Number(process.env.PORT || 9081));
