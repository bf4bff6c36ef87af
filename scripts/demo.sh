#!/bin/bash
# Shows a call that survives a kill -9 of the runtime: an example service books a trip in three steps, the runtime dies
# after the first, and the call goes on with the second when it is back. Everything below a folder of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
runtime=
service=
finish() {
	status=$?
	for process in $runtime $service; do kill "$process" 2>/dev/null || true; done
	wait
	rm -rf "$scratch"
	exit $status
}
trap finish EXIT INT TERM

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }

free_port() { node -e 's=require("net").createServer().listen(0,()=>{console.log(s.address().port);s.close()})'; }

export RESTATE_BASE_DIR=$scratch/target
RESTATE_INGRESS__BIND_ADDRESS=127.0.0.1:$(free_port)
RESTATE_META__BIND_ADDRESS=127.0.0.1:$(free_port)
export RESTATE_INGRESS__BIND_ADDRESS RESTATE_META__BIND_ADDRESS RESTATE_STORAGE__BIND_ADDRESS=127.0.0.1:0
ingress=http://$RESTATE_INGRESS__BIND_ADDRESS
meta=http://$RESTATE_META__BIND_ADDRESS

# start_runtime: starts it and waits until it is ready.
start_runtime() {
	bin/restate 2>>"$scratch/log" &
	runtime=$!
	for _ in $(seq 300); do
		curl -fs -o /dev/null "$meta/ready" && return
		kill -0 $runtime 2>/dev/null || break
		sleep 0.1
	done
	cat "$scratch/log"
	return 1
}

say "start the runtime, and an example service on the TypeScript SDK"
start_runtime
. scripts/example-service.sh

say "register the service: POST $meta/endpoints"
curl -fsS "$meta/endpoints" -H 'content-type: application/json' -d '{"uri": "http://127.0.0.1:'"$service_port"'"}' && echo

say "call it: POST $ingress/$method $request; the idempotency key makes it safe to ask again"
curl -fsS --retry 60 --retry-delay 1 --retry-all-errors "$ingress/$method" -H 'content-type: application/json' \
	-H 'idempotency-key: demo' -d "$request" >"$scratch/answer" 2>"$scratch/retries" &
call=$!
sleep 1

say "kill -9 of the runtime, while the service sleeps between two steps"
{ kill -9 $runtime && wait $runtime; } 2>/dev/null || true

say "start it again: the call goes on after the step that is done, no step is repeated"
start_runtime
wait $call
say "the answer to the call"
cat "$scratch/answer"
echo
