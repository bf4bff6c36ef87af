// Uses the services of server.js through the client library, at the ingress whose URL is the argument, and prints what
// it got. The second argument is the id of an awakeable to resolve.
import * as clients from "@restatedev/restate-sdk-clients";

const [url, awakeable] = process.argv.slice(2);
const ingress = clients.connect({ url });
const worker = ingress.serviceClient({ name: "Worker" });
const order = ingress.workflowClient({ name: "Order" }, "of the client");
const got = {};

got.called = await worker.hello("client");
got.added = await ingress.objectClient({ name: "Counter" }, "client").add(4);
got.failed = await worker
  .fail({ message: "no", code: 418, metadata: { why: "tea" } })
  .catch((e) => ({ status: e.status, text: e.responseText }));

const once = clients.rpc.sendOpts({ idempotencyKey: "client" });
const sent = await ingress.serviceSendClient({ name: "Worker" }).hello("sent", once);
const again = await ingress.serviceSendClient({ name: "Worker" }).hello("sent", once);
got.sent = [sent.status, again.status, sent.invocationId === again.invocationId, await ingress.result(sent)];

await ingress.resolveAwakeable(awakeable, "by the client");

const submitted = await order.workflowSubmit("client item");
got.submitted = [submitted.status, (await order.workflowSubmit("other")).status];
got.ready = (await order.workflowOutput()).ready;
await order.approve("the client");
got.attached = await order.workflowAttach();
got.output = (await order.workflowOutput()).result;

console.log(JSON.stringify(got));
