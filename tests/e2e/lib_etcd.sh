# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Words for tests of nodes whose keyset is in etcd, on lib_nodes.sh: a real etcd with TLS, client certificates and RBAC, on
# a loopback address that only the test's own network has.
#
# shellcheck disable=SC2154 # dir is lib.sh's

ETCD_HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
ETCD_BIN=${ETCD_BIN:-$("$ETCD_HERE/../migrate/build" --cluster)} || exit 1

# Each program has a network of its own, so that the ports are free.
if [ "${1:-}" != -l ] && [ -z "${ETCD_INSIDE:-}" ]; then
	export ETCD_INSIDE=1
	exec unshare --net --pid --fork --kill-child=KILL --mount --mount-proc "$(readlink -f "$0")" "$@"
fi
[ "${1:-}" = -l ] || ip link set lo up

etcd_pid=''
PREFIX=/kekd/test

# cert NAME DAYS [CA]: $dir/tls/NAME.crt and .key, whose common name is NAME, for the addresses $SANS.
cert()
{
	local name=$1 days=$2 ca=${3:-ca}

	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/tls/$name.key" \
		-out "$dir/tls/$name.csr" -subj "/CN=$name" 2>/dev/null
	printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "${SANS:-IP:127.0.0.1}" >"$dir/tls/$name.ext"
	openssl x509 -req -in "$dir/tls/$name.csr" -CA "$dir/tls/$ca.crt" -CAkey "$dir/tls/$ca.key" \
		-CAcreateserial -days "$days" -extfile "$dir/tls/$name.ext" -out "$dir/tls/$name.crt" 2>/dev/null
	chmod 0644 "$dir/tls/$name".*
}

# The CAs, etcd's own certificate, and clients: root of etcd, the nodes' user, and one that has no role.
certs()
{
	local ca

	mkdir -p "$dir/tls"
	chmod 0711 "$dir" "$(dirname "$dir")"
	for ca in ca otherca; do
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/tls/$ca.key" \
			-out "$dir/tls/$ca.crt" -days 100 -subj "/CN=$ca" 2>/dev/null
	done
	cert server 90
	cert root 90
	cert kekd 60
	cert stranger 60
	chmod -R go+rX "$dir/tls"
}

etcd_ctl()
{
	ETCDCTL_API=3 "$ETCD_BIN/etcdctl" --endpoints https://127.0.0.1:2379 --cacert "$dir/tls/ca.crt" \
		--cert "$dir/tls/root.crt" --key "$dir/tls/root.key" "$@"
}

etcd_answers()
{
	alive "$etcd_pid" || fail "etcd ended: $(tail -n 5 "$dir/etcd.log")"
	etcd_ctl get nothing >/dev/null 2>&1
}

# etcd_start [DATA-DIR [OPTION...]]
etcd_start()
{
	local data=${1:-$dir/etcd}

	"$ETCD_BIN/etcd" --data-dir "$data" --log-level error \
		--listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster default=http://127.0.0.1:2380 --client-cert-auth \
		--cert-file "$dir/tls/server.crt" --key-file "$dir/tls/server.key" \
		--trusted-ca-file "$dir/tls/ca.crt" "${@:2}" </dev/null >>"$dir/etcd.log" 2>&1 &
	etcd_pid=$!
	await etcd_answers
}

etcd_stop()
{
	kill -TERM "$etcd_pid"
	await gone "$etcd_pid"
	wait "$etcd_pid" || true
	etcd_pid=''
}

# The role of the nodes: their prefix and nothing else.
etcd_rbac()
{
	{
		etcd_ctl user add root --no-password
		etcd_ctl user add kekd --no-password
		etcd_ctl user add stranger --no-password
		etcd_ctl role add kekd
		etcd_ctl role grant-permission kekd readwrite --prefix=true "$PREFIX/"
		etcd_ctl user grant-role root root
		etcd_ctl user grant-role kekd kekd
		etcd_ctl auth enable
	} >>"$dir/etcd.log"
}

# with_cluster [CLIENT [ENDPOINT]]: into the test's configuration.
with_cluster()
{
	local client=${1:-kekd} endpoint=${2:-https://127.0.0.1:2379}

	cat >>"$dir/kekd.yaml" <<-END
		cluster:
		  endpoints: ["$endpoint"]
		  ca: $dir/tls/ca.crt
		  cert: $dir/tls/$client.crt
		  key: $dir/tls/$client.key
		  prefix: $PREFIX
	END
}

# An etcd with TLS and RBAC, and a configuration for nodes that use it.
etcd_ready()
{
	certs
	etcd_start
	etcd_rbac
	stable_root
	printf 'rotation:\n  keepRetired: 0s\n' >>"$dir/kekd.yaml"
	with_cluster
}

# cluster_field NODE NAME: of `kekctl cluster status --json`.
cluster_field()
{
	on "$1" --json cluster status 2>/dev/null | fields "$2" | head -n 1
}

# says_of_etcd NODE TEXT: of `kekctl cluster status`.
says_of_etcd()
{
	on "$1" cluster status >"$dir/out" 2>&1 && grep -qF -- "$2" "$dir/out"
}

# is_member NODE: it is one, has what etcd has, and writes.
is_member()
{
	on "$1" --json cluster status >"$dir/$1.status" 2>/dev/null || return 1
	[ "$(jq -r '.current and .confirmed and any(.members[]; .self and .state == "member")' "$dir/$1.status")" = true ]
}

# settled NODE...: all hold one document and each has heard of all that they have acknowledged it.
settled()
{
	local node n=$#

	for node; do
		is_member "$node" || return 1
		[ "$(jq '[.members[] | select(.self or .answered)] | length' "$dir/$node.status")" -eq "$n" ] || return 1
		[ "$(jq '.members | length' "$dir/$node.status")" -eq "$n" ] || return 1
	done
}

# etcd_cluster NODE...: the first begins, the others join by themselves.
etcd_cluster()
{
	local node

	nodes=("$@")
	node_start "$1"
	exits 0 on "$1" key create primary
	await cluster_create "$1"
	for node in "${nodes[@]:1}"; do
		node_start "$node"
	done
	await settled "${nodes[@]}"
}

cluster_create()
{
	on "$1" cluster create 2>"$dir/out"
}

one_key()
{
	local node id

	id=$(key_id "$1") # once: it may be another in a moment, and not yet for those that were compared
	for node; do
		[ -n "$id" ] && [ "$(key_id "$node")" = "$id" ] || return 1
	done
}

# waiting NODE COMMAND...: kekctl goes on asking until it is done; what it says is in $dir/waiting.
waiting()
{
	timeout "$E2E_WAIT" "$BUILD/kekctl" --admin "$dir/$1.admin" "${@:2}" >"$dir/waiting" 2>&1 &
	waiter=$!
}

waits_for()
{
	grep -qF -- "$1" "$dir/waiting"
}

waited()
{
	wait "$waiter" || fail "it has failed: $(cat "$dir/waiting")"
}

# It has waited until now, and is ended.
not_done()
{
	kill -TERM "$waiter"
	wait "$waiter" && fail "it was done"
	return 0
}
