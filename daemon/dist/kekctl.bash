# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Completion of kekctl for bash. Commands and options are asked of kekctl itself, so that this file cannot
# fall behind.

# What follows these options is a file or a socket.
_kekctl_takes_file=' --admin --socket --output --config --uses --proof '
# And these, some other word.
_kekctl_takes_word=' --path --resource --peers --yes-destroy --prefix '

_kekctl_options()
{
	kekctl --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u
}

_kekctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word typed='' skip=''

	if [[ $_kekctl_takes_file == *" $prev "* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(_kekctl_options | grep -- "^$cur")
		return
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [ -n "$skip" ]; then
			skip=''
		elif [[ $_kekctl_takes_file$_kekctl_takes_word == *" $word "* ]]; then
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
