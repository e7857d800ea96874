# SPDX-License-Identifier: Apache-2.0
#
# Reads the KTAP of one test program, prints it compactly and judges the program; used by tests/harness/run.
# Variables: program, status (its exit status), label, verbose, limit and took (seconds), counts (a file to
# write "passed failed skipped" to) and errors (a file that holds its standard error).
#
# Comments come before the result they belong to, so they are held back until it is known.

function problem(text) {
	problems[++n_problems] = text
}

function reason(line) {
	sub(/^.* # (SKIP|XFAIL) ?/, "", line)
	return line == "" ? "no reason given" : line
}

function show_held(   i) {
	for (i = 1; i <= n_held; i++)
		print "    " held[i]
}

# The line is "ok N name" or "not ok N name" with an optional directive.
function result(ok, number, line) {
	n_results++
	if (number != n_results)
		problem("test number " number " where " n_results " was due")
	if (!ok) {
		n_failed++
		show_held()
		print "  " line
	} else if (line ~ / # (SKIP|XFAIL)( |$)/) {
		n_skipped++
		if (!(reason(line) in skips))
			order[++n_reasons] = reason(line)
		skips[reason(line)]++
		if (verbose)
			print "  " line
	} else {
		n_passed++
		if (verbose) {
			show_held()
			print "  " line
		}
	}
	n_held = 0
}

function expected_status() {
	if (n_failed > 0)
		return status == 1
	return status == 0 || (status == 4 && n_skipped == n_results)
}

function judge() {
	if (status == 124 || status == 137)
		problem("killed after " limit " s, or by SIGKILL (status " status ")")
	else if (status == 126 || status == 127)
		problem("cannot be run (status " status ")")
	else if (status > 128)
		problem("died of signal " status - 128)
	else if (!expected_status())
		problem("exit status " status " does not belong to its results")
	if (!planned)
		problem("announced no plan")
	else if (plan != n_results)
		problem("announced " plan " tests and gave the result of " n_results + 0)
	if (n_results == 0)
		problem("ran no test")
}

function show_problems(   i, line) {
	show_held()
	while ((getline line < errors) > 0)
		print "    stderr: " line
	for (i = 1; i <= n_problems; i++)
		print "  " program ": " problems[i]
}

BEGIN { n_passed = n_failed = n_skipped = n_results = n_held = 0 }

/^1\.\.[0-9]+( |$)/ {
	if (planned)
		problem("announced two plans")
	planned = 1
	plan = substr($1, 4) + 0
	next
}
/^ok [0-9]+( |$)/ { result(1, $2, $0); next }
/^not ok [0-9]+( |$)/ { result(0, $3, $0); next }
/^(KTAP|TAP) version / { next }
/^Bail out!/ { problem($0) }
{ held[++n_held] = $0 }

END {
	judge()
	if (n_problems > 0) {
		n_failed++
		show_problems()
	}
	printf "%s%s: %d passed, %d failed, %d skipped%s\n", label == "" ? "" : "[" label "] ", program,
		n_passed, n_failed, n_skipped, took < 5 ? "" : ", " took " s"
	for (i = 1; i <= n_reasons; i++)
		printf "  skipped %d: %s\n", skips[order[i]], order[i]
	print n_passed, n_failed, n_skipped > counts
}
