// Runs quotes.js as a cloud would: who has an event posts it to $PORT, and gets the result.
const http = require("http");
const { handler } = require("./quotes");

http
  .createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    response.end(JSON.stringify(await handler(JSON.parse(Buffer.concat(chunks).toString()))));
  })
  .listen(Number(process.env.PORT || 9080));
