import { existsSync } from "fs";
import * as restate from "@restatedev/restate-sdk";
import * as first from "../generated/versions/first";
import * as rekeyed from "../generated/versions/rekeyed";
import * as second from "../generated/versions/second";
import { executed } from "./log";
import { logRequests } from "./requests";

// One revision of a service, as $E2E_REVISION names it, on $PORT: all have the same implementation.
const revision = process.env.E2E_REVISION ?? "first";
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const descriptor: any = { first, second, rekeyed }[revision]?.protoMetadata;
const reply = { message: revision };

class Shelf implements first.Shelf, second.Shelf, rekeyed.Shelf {
  async Await(request: first.ShelfRequest): Promise<first.ShelfReply> {
    const { id, promise } = restate.useContext(this).awakeable<string>();
    executed("awakeable", request.name, { awakeable: id });
    await promise;
    return reply;
  }

  async Work(request: first.ShelfRequest): Promise<first.ShelfReply> {
    await restate.useContext(this).sideEffect(async () => {
      executed("working", request.name);
      while (!existsSync(process.env.E2E_GATE ?? "")) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    return reply;
  }

  async Revision(_: first.ShelfRequest): Promise<first.ShelfReply> {
    return reply;
  }

  async Added(_: first.ShelfRequest): Promise<first.ShelfReply> {
    return reply;
  }

  async Removed(_: first.ShelfRequest): Promise<first.ShelfReply> {
    return reply;
  }
}

logRequests();
restate
  .createServer()
  .bindService({ service: "Shelf", instance: new Shelf(), descriptor })
  .listen(Number(process.env.PORT ?? 9080));
