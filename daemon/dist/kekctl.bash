# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Completion of kekctl for bash. The commands are asked of kekctl itself, so that this file cannot
# fall behind.
_kekctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word typed='' skip=''

	case $prev in
	--admin | --socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--admin --socket --json --version --help' -- "$cur")
		return
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [ -n "$skip" ]; then
			skip=''
		elif [[ $word == --admin || $word == --socket ]]; then
			skip=yes
		elif [[ $word != -* ]]; then
			typed+="$word "
		fi
	done
	mapfile -t COMPREPLY < <(kekctl --commands 2>/dev/null |
		while read -r word; do
			[[ $word == "$typed"* ]] || continue
			word=${word#"$typed"}
			printf '%s\n' "${word%% *}"
		done | sort -u | grep -- "^$cur")
}
complete -F _kekctl kekctl
