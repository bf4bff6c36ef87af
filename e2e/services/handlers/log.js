import { appendFileSync } from "node:fs";

/** Tells the test what a handler did, whatever becomes of its invocation. */
export function note(what, id, more = {}) {
  appendFileSync(process.env.E2E_LOG, JSON.stringify({ what, id, ...more }) + "\n");
}
