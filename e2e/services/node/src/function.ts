import * as http from "http";
import * as restate from "@restatedev/restate-sdk";
import { protoMetadata } from "../generated/e2e";
import { bindAll } from "./services";

// The same services as a function. Whoever has the events posts them to $PORT, and gets the results.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const handle: any = bindAll(restate.createLambdaApiGatewayHandler(), protoMetadata).handle();

http
  .createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    try {
      response.end(JSON.stringify(await handle(JSON.parse(Buffer.concat(chunks).toString()))));
    } catch (e) {
      response.writeHead(500).end(String(e));
    }
  })
  .listen(Number(process.env.PORT ?? 9080));
