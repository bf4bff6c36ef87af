import { appendFileSync } from "fs";

// Tells the test what was executed, whatever becomes of the invocation: one line of JSON each.
export const executed = (what: string, id: string, more: object = {}) => {
  const file = process.env.E2E_LOG;
  if (file) {
    appendFileSync(file, JSON.stringify({ what, id, pid: process.pid, ...more }) + "\n");
  }
};
