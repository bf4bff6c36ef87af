import { existsSync } from "fs";
import * as restate from "@restatedev/restate-sdk";
import {
  AddRequest, AppendRequest, AwaitRequest, Board, ChainRequest, Count, Counter, CounterClientImpl, CounterRequest,
  DelayedRequest, FailRequest, FanRequest, FlakyRequest, Greeter, GreeterClientImpl, HelloReply, HelloRequest, Items,
  MarkRequest, PutRequest, Registry, ResolveRequest, SleepRequest, StepsRequest, TransferRequest, Workflow,
  WorkflowClientImpl,
} from "../generated/e2e";
import { Empty } from "../generated/google/protobuf/empty";
import { executed } from "./log";

const revision = `revision ${process.env.E2E_REVISION}`;

const attempts = new Map<string, number>();

const countAttempt = (id: string) => {
  const n = (attempts.get(id) ?? 0) + 1;
  attempts.set(id, n);
  executed("attempt", id, { n });
  return n;
};

export class GreeterImpl implements Greeter {
  async Hello(request: HelloRequest): Promise<HelloReply> {
    return { message: `Hello ${request.name}` };
  }

  async Fail(request: FailRequest): Promise<HelloReply> {
    throw new restate.TerminalError(request.message, { errorCode: request.code });
  }

  async Flaky(request: FlakyRequest): Promise<HelloReply> {
    const n = countAttempt(request.id);
    if (n <= request.failures && !existsSync(process.env.E2E_GATE ?? "")) {
      throw new Error(`attempt ${n} fails on purpose`);
    }
    return { message: `succeeded in attempt ${n}` };
  }

  async Revision(_: Empty): Promise<HelloReply> {
    return { message: revision };
  }
}

export class CounterImpl implements Counter {
  async Add(request: AddRequest): Promise<Count> {
    const ctx = restate.useContext(this);
    const value = ((await ctx.get<number>("value")) ?? 0) + request.amount;
    ctx.set("value", value);
    return { value };
  }

  async Get(_: CounterRequest): Promise<Count> {
    const ctx = restate.useContext(this);
    return { value: (await ctx.get<number>("value")) ?? 0 };
  }

  async Clear(_: CounterRequest): Promise<Empty> {
    restate.useContext(this).clear("value");
    return {};
  }

  async Append(request: AppendRequest): Promise<Items> {
    const ctx = restate.useContext(this);
    const items = (await ctx.get<string[]>("items")) ?? [];
    items.push(request.item);
    ctx.set("items", items);
    return { items };
  }
}

export class RegistryImpl implements Registry {
  async Put(request: PutRequest): Promise<Items> {
    const ctx = restate.useContext(this);
    const items = (await ctx.get<string[]>("items")) ?? [];
    items.push(request.item);
    ctx.set("items", items);
    return { items };
  }
}

export class BoardImpl implements Board {
  async Mark(request: MarkRequest): Promise<HelloReply> {
    const ctx = restate.useContext(this);
    const before = (await ctx.get<string>("by")) ?? "nobody";
    ctx.set("by", request.by);
    return { message: before };
  }
}

export class WorkflowImpl implements Workflow {
  async Steps(request: StepsRequest): Promise<Count> {
    const ctx = restate.useContext(this);
    let value = 0;
    for (let i = 0; i < request.count; i++) {
      value += await ctx.sideEffect(async () => {
        executed("step", request.id, { i });
        return i + 1;
      });
    }
    return { value };
  }

  async Sleep(request: SleepRequest): Promise<HelloReply> {
    await restate.useContext(this).sleep(request.millis);
    return { message: "awake" };
  }

  async Call(request: AddRequest): Promise<Count> {
    return new CounterClientImpl(restate.useContext(this)).Add(request);
  }

  async OneWay(request: AddRequest): Promise<Empty> {
    const ctx = restate.useContext(this);
    await ctx.oneWayCall(() => new CounterClientImpl(ctx).Add(request));
    return {};
  }

  async Delayed(request: DelayedRequest): Promise<Empty> {
    const ctx = restate.useContext(this);
    await ctx.delayedCall(() => new CounterClientImpl(ctx).Add(request.add!), request.millis);
    return {};
  }

  async Chain(request: ChainRequest): Promise<Count> {
    if (request.depth === 0) {
      return { value: 0 };
    }
    const below = await new WorkflowClientImpl(restate.useContext(this)).Chain({ depth: request.depth - 1 });
    return { value: below.value + 1 };
  }

  async CallFail(request: FailRequest): Promise<HelloReply> {
    return new GreeterClientImpl(restate.useContext(this)).Fail(request);
  }

  async Await(request: AwaitRequest): Promise<HelloReply> {
    const { id, promise } = restate.useContext(this).awakeable<string>();
    executed("awakeable", request.id, { awakeable: id });
    return { message: await promise };
  }

  async Resolve(request: ResolveRequest): Promise<Empty> {
    restate.useContext(this).resolveAwakeable(request.awakeableId, request.value);
    return {};
  }

  async Reject(request: ResolveRequest): Promise<Empty> {
    restate.useContext(this).rejectAwakeable(request.awakeableId, request.value);
    return {};
  }

  async FlakyStep(request: FlakyRequest): Promise<Count> {
    const ctx = restate.useContext(this);
    const value = await ctx.sideEffect(async () => {
      const n = countAttempt(request.id);
      if (n <= request.failures) {
        throw new Error(`step ${n} fails on purpose`);
      }
      return n;
    });
    return { value };
  }

  async GiveUp(request: FlakyRequest): Promise<Count> {
    const fail = async () => {
      throw new Error(`failure ${countAttempt(request.id)} is on purpose`);
    };
    await restate.useContext(this).sideEffect(fail, { maxRetries: request.failures - 1, initialDelayMs: 1 });
    return { value: 0 };
  }

  async FailStep(request: FailRequest): Promise<Count> {
    await restate.useContext(this).sideEffect(async () => {
      throw new restate.TerminalError(request.message, { errorCode: request.code });
    });
    return { value: 0 };
  }

  async Fan(request: FanRequest): Promise<Count> {
    const counters = new CounterClientImpl(restate.useContext(this));
    const add = (i: number) => counters.Add({ counterId: `${request.prefix}${i}`, amount: 1 });
    const counts = await Promise.all(Array.from({ length: request.count }, (_, i) => add(i)));
    return { value: counts.reduce((sum, count) => sum + count.value, 0) };
  }

  async WaitForAll(request: SleepRequest): Promise<HelloReply> {
    const ctx = restate.useContext(this);
    const { id, promise } = ctx.awakeable<string>();
    const called = new GreeterClientImpl(ctx).Hello({ name: "everybody" });
    const slept = ctx.sleep(request.millis);
    executed("awakeable", request.id, { awakeable: id });
    const [woken, hello] = await Promise.all([promise, called, slept]);
    return { message: `${woken}: ${hello.message}` };
  }

  async AwaitRevision(request: AwaitRequest): Promise<HelloReply> {
    await this.Await(request);
    return { message: revision };
  }

  async Transfer(request: TransferRequest): Promise<Count> {
    const ctx = restate.useContext(this);
    const counters = new CounterClientImpl(ctx);
    await ctx.sideEffect(async () => executed("taken", request.id));
    await ctx.oneWayCall(() => counters.Add({ counterId: request.from, amount: -request.amount }));
    await ctx.sleep(request.millis);
    await ctx.sideEffect(async () => executed("given", request.id));
    return counters.Add({ counterId: request.to, amount: request.amount });
  }
}

export const echo = restate.router({
  echo: async (_: restate.RpcContext, value: unknown) => value,
  fail: async () => {
    throw new restate.TerminalError("no", { errorCode: 5 });
  },
  // Stores by the keyed router and returns what it answers.
  store: async (ctx: restate.RpcContext, value: { key: string; item: string }) =>
    ctx.rpc<typeof storeApi>(storeApi).put(value.key, value.item),
});

const store = restate.keyedRouter({
  put: async (ctx: restate.RpcContext, _key: string, item: string) => {
    const items = (await ctx.get<string[]>("items")) ?? [];
    items.push(item);
    ctx.set("items", items);
    return items;
  },
});
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const storeApi: any = { path: "e2e.routers.Store" };

// Binds the services that $E2E_SERVICES names, all of them without it, to a server or a Lambda handler.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export const bindAll = <T extends { bindService: any; bindRouter: any; bindKeyedRouter: any }>(to: T, descriptor: any): T => {
  const wanted = process.env.E2E_SERVICES?.split(",");
  const services: Record<string, () => object> = {
    Greeter: () => new GreeterImpl(),
    Counter: () => new CounterImpl(),
    Registry: () => new RegistryImpl(),
    Board: () => new BoardImpl(),
    Workflow: () => new WorkflowImpl(),
  };
  for (const [service, make] of Object.entries(services)) {
    if (!wanted || wanted.includes(service)) {
      to.bindService({ service, instance: make(), descriptor });
    }
  }
  if (!wanted || wanted.includes("routers")) {
    to.bindRouter("echo", echo);
    to.bindKeyedRouter("e2e.routers.Store", store);
  }
  return to;
};
