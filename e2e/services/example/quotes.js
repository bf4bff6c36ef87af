// A function: the service of docs/deploy/functions.md.
const restate = require("@restatedev/restate-sdk");

const quotes = restate.router({
  // The step is done once, and the function does not run while it sleeps.
  ask: async (ctx, item) => {
    const price = await ctx.sideEffect(async () => item.length * 100);
    await ctx.sleep(500);
    return `${item} costs ${price}`;
  },
});

exports.handler = restate.createLambdaApiGatewayHandler().bindRouter("quotes", quotes).handle();
