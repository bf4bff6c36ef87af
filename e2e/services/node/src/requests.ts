import http2 from "http2";
import { executed } from "./log";

// With $E2E_REQUESTS, tells the test the authority of each request that a server of this program gets.
export const logRequests = () => {
  if (!process.env.E2E_REQUESTS) {
    return;
  }
  const create = http2.createServer;
  http2.createServer = ((...args: Parameters<typeof create>) => {
    const server = create(...args);
    server.on("stream", (_, headers) => executed("request", String(headers[":authority"])));
    return server;
  }) as typeof create;
};
