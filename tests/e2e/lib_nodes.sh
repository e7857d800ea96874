# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Words for tests of several nodes with one root key, whose keyset goes between them by hand. A node has a name;
# its files are $dir/NAME.yaml, .sock, .admin and .keys.

# The nodes there are, and the process of each.
nodes=()
declare -A pids=()

# on NODE ARG...: kekctl there.
on()
{
	local node=$1

	shift
	"$BUILD/kekctl" --admin "$dir/$node.admin" "$@"
}

# node_config NODE: from the test's configuration as it is now.
node_config()
{
	sed "s|$dir/kms.sock|$dir/$1.sock|; s|$dir/admin.sock|$dir/$1.admin|; s|$dir/keys|$dir/$1.keys|
		1i node: \"$1\"" "$dir/kekd.yaml" >"$dir/$1.yaml"
}

# node_exec NODE COMMAND...: this shell becomes that, on the node. A test that has machines has its own.
node_exec()
{
	shift
	exec "$@"
}

# node_launch NODE: starts it and does not wait.
node_launch()
{
	[ -e "$dir/$1.yaml" ] || node_config "$1"
	(node_exec "$1" "$BUILD/kekd" --config "$dir/$1.yaml" </dev/null >/dev/null 2>>"$dir/log") &
	pids[$1]=$!
}

# Serves: it has its keys and its servers, whether or not it may write.
node_serves()
{
	alive "${pids[$1]}" || fail "node $1 ended: $(cat "$dir/log")"
	on "$1" key list >"$dir/$1.list" 2>&1 && [ -S "$dir/$1.sock" ]
}

node_start()
{
	node_launch "$1"
	await node_serves "$1"
}

# As node_start, of one that does not serve.
node_start_sealed()
{
	node_launch "$1"
	await node_is_sealed "$1"
}

node_is_sealed()
{
	[ "$({ on "$1" --json status 2>/dev/null || true; } | fields sealed)" = true ]
}

# node_stop NODE [SIGNAL]
node_stop()
{
	kill "-${2:-TERM}" "${pids[$1]}"
	wait "${pids[$1]}" || [ -n "${2:-}" ] || fail "node $1 did not end well: $(cat "$dir/log")"
}

all_stop()
{
	local node

	for node; do
		node_stop "$node"
	done
}

# bring FROM TO: the keyset goes there and the acknowledgement comes back, as operators type it.
bring()
{
	on "$1" keyset export | on "$2" keyset apply | on "$1" keyset ack
}

# bring_to FROM NODE...
bring_to()
{
	local from=$1 node

	shift
	for node; do
		[ "$node" = "$from" ] || exits 0 bring "$from" "$node"
	done
}

# join FROM NODE: an empty node becomes a member and knows it.
join()
{
	on "$1" keyset export >"$dir/keyset.$2"
	on "$2" keyset apply <"$dir/keyset.$2" >"$dir/ack.$2"
	exits 0 on "$1" keyset ack --join <"$dir/ack.$2"
	says "node $2 is a member now"
	exits 0 bring "$1" "$2"
}

# cluster NODE...: the first one makes changes. Nothing that was retired has to be kept.
cluster()
{
	local node

	stable_root
	printf 'rotation:\n  keepRetired: 0s\n' >>"$dir/kekd.yaml"
	nodes=("$@")
	for node in "${nodes[@]}"; do
		node_start "$node"
	done
	exits 0 on "$1" key create primary
	for node in "${nodes[@]:1}"; do
		join "$1" "$node"
	done
	bring_to "$1" "${nodes[@]}"
}

# rotate NODE...: as its documentation says it, by the first one, over all of them.
rotate()
{
	exits 1 on "$1" key rotate primary
	says "the new key is staged and not active yet"
	bring_to "$@"
	exits 0 on "$1" key rotate primary
	bring_to "$@"
}

# key_in NODE STATE: ids of the keys in this state, without their numbers, a line each.
key_in()
{
	on "$1" key list | while read -r _ state _ _ id; do
		[ "$state" != "$2" ] || echo "${id%.*}"
	done
}

# What a node writes with.
key_id()
{
	on "$1" --json status 2>/dev/null | fields keyId
}

one_key_id()
{
	local node

	for node; do
		same "$(key_id "$1")" "$(key_id "$node")" "key_id of node $node"
	done
}

# write NODE TEXT: into $dir/values.
write()
{
	mkdir -p "$dir/values"
	printf '%s' "$2" | on "$1" encrypt >"$dir/values/$2" || fail "node $1 does not write $2"
}

# reads_all NODE: every value that was ever written.
reads_all()
{
	local value

	for value in "$dir"/values/*; do
		same "${value##*/}" "$(on "$1" decrypt <"$value" 2>&1)" "what node $1 reads"
	done
}

# exchange_values WHEN NODE...: each writes, and each reads all that was ever written.
exchange_values()
{
	local when=$1 node

	shift
	for node; do
		write "$node" "$node-$when"
	done
	for node; do
		reads_all "$node"
	done
}
