# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A kekd to measure, in a folder of its own. Sourced after scripts/lib/common.sh; needs $BUILD.

READY_SECONDS=60

# await COMMAND...: until it succeeds.
await()
{
	local end=$((SECONDS + READY_SECONDS))

	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || die "waited $READY_SECONDS s for: $*"
		sleep 0.02
	done
}

# kekd_config HOME CUSTODY [WORKERS]: makes HOME, with kekd.yaml and what that names.
kekd_config()
{
	local home=$1

	mkdir -m 0755 "$home"
	head -c 32 /dev/urandom >"$home/root"
	cat >"$home/encryption.yaml" <<-'END'
		apiVersion: apiserver.config.k8s.io/v1
		kind: EncryptionConfiguration
		resources:
		- resources: [secrets]
		  providers:
		  - aesgcm: { keys: [ { name: primary } ] }
	END
	cat >"$home/kekd.yaml" <<-END
		socket: $home/kms.sock
		allowedPeers: { uids: [$(id -u)] }
		admin: { socket: $home/admin.sock }
		transform: { socket: $home/transform.sock, allowedPeers: { uids: [$(id -u)] } }
		encryptionConfig: $home/encryption.yaml
		custody: $2
		keyStore: $home/keys
		rootKey: { source: command, command: [/bin/cat, $home/root] }
		server: { user: nobody }
	END
	[ -z "${3:-}" ] || echo "workers: $3" >>"$home/kekd.yaml"
}

# kekd_status HOME PROGRAM: of what `kekctl status` says; empty while nobody answers.
kekd_status()
{
	"$BUILD/kekctl" --admin "$1/admin.sock" --json status 2>/dev/null | jq -r "$2"
}

# With all its server processes.
kekd_serves()
{
	[ "$(kekd_status "$1" '.serving and ((.serverPids // [.serverPid]) | length) == (.workers // 1)')" = true ]
}

# kekd_make_key HOME: if it has none yet.
kekd_make_key()
{
	"$BUILD/kekctl" --admin "$1/admin.sock" key create primary >"$1/created" 2>&1 || true
}

# processes PID: that one, and all that have come from it and are there.
processes()
{
	local child

	echo "$1"
	for child in $(pgrep -P "$1"); do
		processes "$child"
	done
}

# Nanoseconds on a CPU so far, all threads of PID...: cpu_ns PID... Sets ret_ns.
cpu_ns()
{
	local pid file ns

	ret_ns=0
	for pid; do
		for file in "/proc/$pid/task"/*/schedstat; do
			read -r ns _ <"$file"
			ret_ns=$((ret_ns + ns))
		done
	done
}
