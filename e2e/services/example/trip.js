// Books a trip in steps that each must happen once, however often the runtime dies meanwhile.
const restate = require("@restatedev/restate-sdk");

const steps = ["flight", "hotel", "car"];

const trip = restate.router({
  // book takes {pause}, the milliseconds to wait after each step, and returns the reference of each booking.
  book: async (ctx, { pause = 0 } = {}) => {
    const booked = {};
    for (const step of steps) {
      booked[step] = await ctx.sideEffect(async () => {
        console.log(`booking the ${step}`);
        return `${step}-${Math.random().toString(36).slice(2, 8)}`;
      });
      await ctx.sleep(pause);
    }
    return booked;
  },
});

restate.createServer().bindRouter("trip", trip).listen(Number(process.env.PORT || 9080));
