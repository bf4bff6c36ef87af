#!/bin/bash
# Builds the image and runs it with a real engine: alone, then with docker-compose.yaml, daemons apart and in a single
# container, and calls them. Uses the engine that is running, or starts one of Debian's; where the kernel forbids that, says why and skips.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
engine=
service=
containers=()
finish() {
	status=$?
	[ ${#containers[@]} = 0 ] || docker rm --force "${containers[@]}" >/dev/null 2>&1 || true
	docker volume rm restate-image-test >/dev/null 2>&1 || true
	if [ $status != 0 ]; then
		docker-compose --profile single logs --no-color --tail 40 2>/dev/null || true
	fi
	docker-compose --profile single down --volumes --timeout 15 >/dev/null 2>&1 || true
	[ -z "$service" ] || kill "$service" 2>/dev/null || true
	if [ -n "$engine" ]; then
		kill "$engine" 2>/dev/null || true
		wait "$engine" 2>/dev/null || true
	fi
	rm -rf "$scratch" 2>/dev/null || true
	exit $status
}
trap finish EXIT

if ! command -v docker >/dev/null || ! command -v docker-compose >/dev/null; then
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	echo "installing docker.io and docker-compose"
	$root apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends docker.io docker-compose iptables >/dev/null
fi

# start_engine OPTION...: runs dockerd in a folder of its own until this script ends.
start_engine() {
	rm -rf "$scratch/data" "$scratch/exec"
	dockerd --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/pid" \
		--host "unix://$scratch/docker.sock" "$@" >"$scratch/dockerd.log" 2>&1 &
	engine=$!
	for _ in $(seq 100); do
		docker info >/dev/null 2>&1 && return 0
		kill -0 $engine 2>/dev/null || break
		sleep 0.2
	done
	kill $engine 2>/dev/null || true
	wait $engine 2>/dev/null || true
	engine=
	return 1
}

if ! docker info >/dev/null 2>&1; then
	export DOCKER_HOST=unix://$scratch/docker.sock
	# From what an ordinary kernel gives down to what the poorest may.
	start_engine || start_engine --storage-driver=vfs || start_engine --storage-driver=vfs --iptables=false --ip6tables=false || {
		echo "skipped: this kernel runs no container engine:"
		grep -iE 'failed|error' "$scratch/dockerd.log" | tail -3
		exit 0
	}
fi
echo "engine $(docker info --format '{{.ServerVersion}}, storage {{.Driver}}')"
make image

# Free ports of this machine.
export INGRESS_PORT=0 META_PORT=0 STORAGE_PORT=0 COMPOSE_PROJECT_NAME=restate-compose-test

# address CONTAINER PORT: where the port is published.
address() { docker-compose port "$1" "$2" | sed 's/^0\.0\.0\.0/127.0.0.1/'; }

# healthy NAME ID: waits until the health check of the container passes.
healthy() {
	for _ in $(seq 120); do
		state=$(docker inspect --format '{{.State.Health.Status}}' "$2")
		[ "$state" = healthy ] && break
		sleep 0.5
	done
	[ "$state" = healthy ] || {
		echo "$1 is $state"
		docker inspect --format '{{range .State.Health.Log}}{{.Output}}{{end}}' "$2" | tail -3
		docker logs --tail 20 "$2"
		return 1
	}
	echo "$1 is healthy"
}

# await CONTAINER...: until the health check of each passes.
await() {
	for name; do
		healthy "$name" "$(docker-compose ps -q "$name")"
	done
}

# alone NAME OPTION...: the whole runtime in a container with the options starts, is healthy, and stops in order.
alone() {
	name=$1
	shift
	id=$(docker run --detach --volume restate-image-test:/target "$@" restate:latest)
	containers+=("$id")
	healthy "$name" "$id"
	docker stop --time 60 "$id" >/dev/null
	[ "$(docker inspect --format '{{.State.ExitCode}}' "$id")" = 0 ]
	docker rm "$id" >/dev/null
	if [ -w "$volumes" ]; then
		[ "$(stat --format %u "$volumes/restate-image-test/_data/nats")" = 65532 ]
	fi
	docker volume rm restate-image-test >/dev/null
}

# call INGRESS META: registers the example service, which runs on this machine, and calls it.
call() {
	curl -fsS --retry 5 --retry-connrefused "http://$(address "$2" 8081)/health" && echo
	curl -fsS -X POST "http://$(address "$2" 8081)/endpoints" -H 'content-type: application/json' \
		-d '{"uri": "http://host.docker.internal:'"$service_port"'"}' && echo
	answer=$(curl -fsS "http://$(address "$1" 9090)/$method" -H 'content-type: application/json' -d "$request")
	echo "$answer"
	[[ $answer == *"$expected"* ]]
}

# scan CONTAINER: reads what the worker has stored.
scan() {
	docker-compose exec -T "$1" /restate storage scan partition_state_machine | tee -a /dev/stderr | grep -q outbox
}

echo "== the image"
[ "$(docker inspect --format '{{.Config.User}} {{.Config.WorkingDir}}' restate:latest)" = "65532:65532 /" ]
[ "$(docker run --rm restate:latest version)" = "restate $(docker inspect \
	--format '{{index .Config.Labels "org.opencontainers.image.version"}}' restate:latest)" ]
volumes=$(docker info --format '{{.DockerRootDir}}')/volumes
alone "with a new volume and nothing that it may do" --read-only --cap-drop ALL --security-opt no-new-privileges
if [ -w "$volumes" ]; then
	# As Kubernetes mounts block storage, and with the variables that it makes of a Service named restate.
	docker volume create restate-image-test >/dev/null
	mkdir "$volumes/restate-image-test/_data/lost+found"
	alone "with a volume of root" --read-only --env RESTATE_PORT=tcp://10.0.0.1:8081 --env RESTATE_SERVICE_PORT_META=8081
else
	echo "skipped: a volume of root cannot be made in $volumes"
fi

echo "== the pods of deploy/k8s"
E2E_ENGINE=1 go test -count=1 -v -run TestPodsRun ./e2e/manifests

# The example service. Its port is chosen by the system, and said in the first line.
. scripts/example-service.sh

echo "== every daemon in its own container"
docker-compose up -d --no-build
await broker partition-worker storage-reader meta ingress
call ingress meta
scan storage-reader
docker-compose stop --timeout 60
for name in ingress meta storage-reader partition-worker broker; do
	code=$(docker inspect --format '{{.State.ExitCode}}' "$(docker-compose ps -aq "$name")")
	[ "$code" = 0 ] || { echo "$name exited with $code"; exit 1; }
done
docker-compose down --volumes

echo "== a single container"
docker-compose --profile single up -d --no-build restate
await restate
call restate restate
scan restate
echo "passed"
