# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# cipher.c with words on how far it is, for here and for a guest. Sourced after scripts/lib/common.sh.

# Seconds between two of them.
MESSAGES_SECONDS=30

# Standard input to TABLES; sets messages_last to the title of the last one.
messages_follow()
{
	local line count=0 next=$((SECONDS + MESSAGES_SECONDS))

	while IFS= read -r line; do
		printf '%s\n' "$line" >&3
		[[ $line =~ ^\|\ ((gcm|cbc)\ [^|]*in\ flight) ]] || continue
		messages_last=${BASH_REMATCH[1]}
		count=$((count + 1))
		[ "$SECONDS" -ge "$next" ] || continue
		next=$((SECONDS + MESSAGES_SECONDS))
		note "messages: $count tables, the last one $messages_last"
	done 3>"$1"
}

# messages FILE TABLES ARGUMENT...: where there is no AF_ALG libkcapi says so once a load; what else it
# and cipher said is shown when that fails.
messages()
{
	local file=$1 tables=$2 messages_last='' pid

	shift 2
	note "messages"
	exec {messages_fd}< <("${BUILD:?}/tests/bench/cipher" "$@" --out "$file" 2>"$tables.said")
	pid=$!
	messages_follow "$tables" <&"$messages_fd"
	exec {messages_fd}<&-
	wait "$pid" || die "messages: failed after ${messages_last:-none}: $(grep -v '^libkcapi' "$tables.said" | tail -n 3)"
	rm -f "$tables.said"
}
