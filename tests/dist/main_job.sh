# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# kekd's whole work in a guest, for the tests of what a host's policy lets it do: started by its own paths with the
# configuration that `kekctl init` makes. The caller has `confined PROGRAM...`, which replaces the process by the
# program under the policy, and `is_confined PID`.

fail()
{
	echo "failed: $*"
	exit 1
}

# await COMMAND...: the bound is there for a test that is going to fail anyway.
await()
{
	local end=$((SECONDS + 100))

	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "in vain: $*"
		sleep 0.2
	done
}

job_install()
{
	install -m 0755 "$BUILD"/{kekd,kekd-observer,kekd-cluster} /usr/sbin
	install -m 0755 "$BUILD/kekctl" /usr/bin
	systemd-sysusers "$top/daemon/dist/kekd.sysusers"
	systemd-tmpfiles --create "$top/daemon/dist/kekd.tmpfiles"
	ip link set lo up
	cp "$top"/daemon/dist/{kekd.yaml,encryption.yaml} /etc/kekd
	echo 'audit: { to: /var/lib/kekd/audit.log, onFailure: block }' >>/etc/kekd/kekd.yaml
	head -c 32 /dev/urandom |
		systemd-creds encrypt --with-key=host --name=kekd-root - /etc/kekd/root.cred || fail systemd-creds
}

# With the unit's limits; its log is no file that kekd would have to be allowed.
job_start()
{
	job_log=/run/log.$BASHPID.$SECONDS
	(ulimit -l unlimited -n 65536 && confined /usr/sbin/kekd "$@" 2> >(exec cat >"$job_log")) &
	job_pid=$!
}

job_stop()
{
	kill -TERM "$job_pid"
	wait "$job_pid" || fail "exit status $?: $(cat "$job_log")"
}

job_answers()
{
	kekctl --json status >/run/status 2>&1
	grep -q '"sealed": false' /run/status || { kill -0 "$job_pid" || fail "kekd ended: $(cat "$job_log")"; return 1; }
}

# Every process of kekd's: at least @1 of them.
job_is_confined()
{
	local exe pid n=0

	for exe in /proc/[0-9]*/exe; do
		case $(readlink "$exe") in
		/usr/sbin/kekd | /usr/sbin/kekd-*)
			pid=${exe#/proc/} pid=${pid%/exe} n=$((n + 1))
			is_confined "$pid" || fail "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
			;;
		esac
	done
	[ "$n" -ge "$1" ] || fail "$n processes, not $1"
}

# What it is for, through every one of its processes.
job_whole()
{
	await job_answers
	kekctl key create primary >/dev/null || fail "key create: $(cat "$job_log")"
	printf text | kekctl encrypt >/run/wrapped || fail encrypt
	kekctl key rotate primary >/dev/null || fail rotate
	[ "$(kekctl decrypt </run/wrapped)" = text ] || fail decrypt
	kekctl reload >/dev/null || fail reload
	kekctl backup "/root/backup.$job_pid" >/dev/null || fail backup
	kekctl key verify >/dev/null || fail "key verify"
	grep -q '"what":"v2.Decrypt".*"result":"OK"' /var/lib/kekd/audit.log || fail "no audit"
}

job_observe()
{
	curl -sS --max-time 60 http://127.0.0.1:9740/metrics >/run/metrics || fail metrics
	grep -q '^kekd_serving 1$' /run/metrics || fail "$(cat /run/metrics)"
}

# One member, TLS with client certificates.
job_etcd()
{
	local name dir=/etc/kekd/etcd

	mkdir -p "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/ca.key" -out "$dir/ca.crt" \
		-days 9 -subj /CN=ca 2>/dev/null
	printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >/run/ext
	for name in server kekd; do
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/$name.key" -subj "/CN=$name" \
			2>/dev/null | openssl x509 -req -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 9 \
			-extfile /run/ext -out "$dir/$name.crt" 2>/dev/null
	done
	chmod 0644 "$dir"/*
	"$ETCD_BIN/etcd" --data-dir /run/etcd --log-level error --unsafe-no-fsync \
		--listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 \
		--client-cert-auth --cert-file "$dir/server.crt" --key-file "$dir/server.key" \
		--trusted-ca-file "$dir/ca.crt" </dev/null >/run/etcd.log 2>&1 &
	cat >>/etc/kekd/kekd.yaml <<-END
		metrics: { listen: "127.0.0.1:9740" }
		cluster:
		  endpoints: ["https://127.0.0.1:2379"]
		  ca: $dir/ca.crt
		  cert: $dir/kekd.crt
		  key: $dir/kekd.key
		  prefix: /kekd/test
	END
}

job_cluster_create()
{
	kekctl cluster create >/run/out 2>&1
}

job_run_tests()
{
	local tests test number=0 failed=0

	mapfile -t tests < <(sed -n 's/^\(test_[a-z0-9_]*\)()$/\1/p' "$0")
	echo "KTAP version 1"
	echo "1..${#tests[@]}"
	for test in "${tests[@]}"; do
		number=$((number + 1))
		if ("$test") >/run/output 2>&1; then
			echo "ok $number $1.${test#test_}"
		else
			failed=1
			sed 's/^/# /' /run/output
			tail -n 5 /run/log.* | sed 's/^/# /'
			dmesg | grep -iE 'apparmor="DENIED"|avc:' | tail -n 40 | sed 's/^/# /'
			echo "not ok $number $1.${test#test_}"
		fi
	done
	return "$failed"
}
