# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# An etcd and API servers for a test on tests/e2e/lib.sh, in the test's directory. They are children
# of the test and end with it. etcd listens on a Unix socket, an API server on a port that is free.
#
# shellcheck disable=SC2154 # dir is lib.sh's

MIGRATE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Asked once and before any test: the programs may have to be built. A guest, where looking whether they
# are good takes half a minute, is told by the environment.
CLUSTER_BIN=${CLUSTER_BIN:-$("$MIGRATE/build" --cluster)} || exit 1
CLUSTER_PROGRAMS=${CLUSTER_PROGRAMS:-$("$MIGRATE/build")} || exit 1
APISERVER=${CLUSTER_PROGRAMS%$'\n'*} OBJECTS=${CLUSTER_PROGRAMS##*$'\n'}
PATH=$CLUSTER_BIN:$PATH

etcd_pid='' apiservers=()

# --- etcd ------------------------------------------------------------------------------------

etcd_answers()
{
	alive "$etcd_pid" || fail "etcd ended: $(tail -n 5 "$dir/etcd.log")"
	etcd_ctl endpoint health >/dev/null 2>&1
}

# etcd names a socket like a host and a port, in its working directory.
etcd_start()
{
	etcd_start_on "$dir/etcd"
}

# etcd_start_on DATA-DIR
etcd_start_on()
{
	local data=$1

	(cd "$dir" && exec etcd --data-dir "$data" --unsafe-no-fsync --log-level warn \
		--listen-client-urls unix://etcd:0 --advertise-client-urls unix://etcd:0 \
		--listen-peer-urls unix://etcd:1 --initial-advertise-peer-urls unix://etcd:1 \
		--initial-cluster default=unix://etcd:1) </dev/null >>"$dir/etcd.log" 2>&1 &
	etcd_pid=$!
	await etcd_answers
}

etcd_ctl()
{
	etcdctl --endpoints "unix://$dir/etcd:0" "$@"
}

etcd_stop()
{
	kill -TERM "$etcd_pid"
	await gone "$etcd_pid"
	wait "$etcd_pid" || true
	etcd_pid=''
}

# --- API servers -----------------------------------------------------------------------------

apiserver_serves()
{
	alive "${apiservers[$1]}" || fail "API server $1 ended: $(tail -n 5 "$dir/api$1/log")"
	grep -qx serving "$dir/api$1/log"
}

# apiserver_launch NUMBER CONFIG: does not wait. Its file CONFIG is an EncryptionConfiguration.
apiserver_launch()
{
	mkdir -p "$dir/api$1"
	: >"$dir/api$1/log"
	"$APISERVER" --dir "$dir/api$1" --etcd-servers "unix://$dir/etcd:0" \
		--encryption-provider-config "$2" --rbac "$dir/rbac.yaml" </dev/null >>"$dir/api$1/log" 2>&1 &
	apiservers[$1]=$!
}

apiserver_start()
{
	apiserver_launch "$@"
	await apiserver_serves "$1"
}

apiserver_stop()
{
	kill -TERM "${apiservers[$1]}"
	await gone "${apiservers[$1]}"
	wait "${apiservers[$1]}" || true
}

# apiserver_use NUMBER CONFIG: a restart with that configuration, as a change of the manifest gives.
apiserver_use()
{
	apiserver_stop "$1"
	apiserver_start "$@"
}

# kube NUMBER ARG...: kubectl against that server.
kube()
{
	local number=$1

	shift
	KUBECONFIG=$dir/api$number/kubeconfig kubectl "$@"
}

# role RESOURCE GROUP: what the user kekd-rotate may do from now on is what the role says that kekd ships, of that resource.
# Its kubeconfig is rotate.kubeconfig.
role()
{
	sed "s/apiGroups: \\[\"\"\\]/apiGroups: [$2]/; s/resources: \\[secrets\\]/resources: [$1]/" \
		"$MIGRATE/../../daemon/dist/rbac.yaml" >"$dir/rbac.yaml"
	grep -q "resources: \\[$1\\]" "$dir/rbac.yaml" || fail "the role is another one"
}

# objects NUMBER COMMAND RESOURCE ARGUMENT
objects()
{
	local number=$1

	shift
	"$OBJECTS" "$dir/api$number/kubeconfig" "$@"
}

# reencrypt NUMBER ARG...: kekctl through that server.
reencrypt()
{
	local number=$1

	shift
	KUBECONFIG=$dir/api$number/kubeconfig ctl reencrypt --rate 0 "$@"
}

# --- what is stored --------------------------------------------------------------------------

# All values of a resource; each begins on a line of its own.
values()
{
	etcd_ctl get --prefix "/registry/kekd.test/$1/" --print-value-only
}

# stored RESOURCE TEXT: how many of its values begin with TEXT.
stored()
{
	values "$1" | LC_ALL=C grep -ac "^$2" || true
}

# holding RESOURCE KEY-ID: how many of its values were written with that key.
holding()
{
	values "$1" | LC_ALL=C grep -acF "$2" || true
}

# An API server knows of the key with this key_id. Asking /readyz makes it look.
knows_key()
{
	local hash

	hash=$(printf %s "$2" | sha256sum | cut -d' ' -f1)
	kube "$1" get --raw /readyz >/dev/null 2>&1 || return 1
	grep -qF "sha256:$hash" <<<"$(kube "$1" get --raw /metrics | grep -F key_id_hash_status_last_timestamp_seconds)"
}
