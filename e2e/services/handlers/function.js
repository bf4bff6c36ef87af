import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { createEndpointHandler } from "@restatedev/restate-sdk/lambda";
import { services } from "./services.js";

// The handlers of server.js as a function. Whoever has the events posts them to $PORT, and gets the results.
const handle = createEndpointHandler({ services });

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = JSON.parse(Buffer.concat(chunks).toString());
    response.end(JSON.stringify(await handle(event, { awsRequestId: randomUUID() })));
  } catch (e) {
    response.writeHead(500).end(String(e));
  }
}).listen(Number(process.env.PORT));
