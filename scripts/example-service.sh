# Sourced: starts the example service of e2e/services/example on a free port of this machine. Sets $service, its process,
# $service_port, and the call to make: $method, $request and $expected, which the answer contains.
scripts/ensure-node-modules.sh
service_port=$(node -e 's=require("net").createServer().listen(0,()=>{console.log(s.address().port);s.close()})')
# Of its output only what the handler says is shown: the SDK tells at length how it starts, and when the runtime is gone.
PORT=$service_port RESTATE_DEBUG_LOGGING=OFF node e2e/services/example/trip.js 2>/dev/null \
	> >(grep --line-buffered '^booking' | sed -u 's/^/   the service is /') &
service=$!
method=trip/book
request='{"request": {"pause": 2000}}'
expected='"hotel":"hotel-'
for _ in $(seq 100); do
	node -e "require('net').connect($service_port).on('connect',()=>process.exit()).on('error',()=>process.exit(1))" && break
	sleep 0.1
done
