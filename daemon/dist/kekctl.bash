# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Completion of kekctl for bash. Commands, and the options of the one that is typed, are asked of kekctl itself, so
# that this file cannot fall behind.

# _kekctl_value OPTION: what follows it, "FILE", or nothing.
_kekctl_value()
{
	kekctl --options 2>/dev/null | sed -n "s/^$1 //p"
}

_kekctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word skip='' prefix typed=()

	if [[ $prev == --* && -n $(_kekctl_value "$prev") ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [ -n "$skip" ]; then
			skip=''
		elif [[ $word == -* ]]; then
			skip=$(_kekctl_value "$word")
		else
			typed+=("$word")
		fi
	done
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(kekctl "${typed[@]}" --options 2>/dev/null | cut -d' ' -f1 | grep -- "^$cur")
		return
	fi
	prefix=${typed[*]}${typed:+ }
	mapfile -t COMPREPLY < <(kekctl --commands 2>/dev/null |
		while read -r word; do
			[[ $word == "$prefix"* ]] || continue
			word=${word#"$prefix"}
			printf '%s\n' "${word%% *}"
		done | sort -u | grep -- "^$cur")
}
complete -F _kekctl kekctl
