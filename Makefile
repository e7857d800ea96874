# SPDX-License-Identifier: Apache-2.0
#
# make                 build/kekd, build/kekctl
# make check           unit tests that need no kernel crypto (scripts/test runs everything)
# make SAN=1           the same under ASan and UBSan, in build-san/
# make bench           the benchmark, into tests/bench/out; BENCH=quick for a look at its shape
# make fuzz            libFuzzer targets (clang), in build-fuzz/
# make analyze         gcc -fanalyzer over the daemon
# make install         DESTDIR, PREFIX (/usr/local); make deb: a Debian package
# make rpm             a package for distributions with rpm
# make image           an OCI image, in build/image/oci, and what is in it, as SPDX
# make release         packages, image and checksums, in build/release; RELEASE_ARCHS are the architectures of Debian's
# make BUILD=DIR       build elsewhere; V=1 shows the commands
#
# For another machine: make CC=aarch64-linux-gnu-gcc BUILD=DIR; scripts/cross does it with a sysroot of its own.

SAN     ?=
V       ?=
BUILD   ?= $(if $(SAN),build-san,build)
CC      ?= cc
Q       := $(if $(V),,@)

# The archiver that belongs to the compiler: the host's knows no other machine's objects.
ifeq ($(origin AR),default)
AR      := $(shell $(CC) -print-prog-name=ar)
endif

VERSION := 0.1.0
# The dynamic linker looks for a symbol in this order. Of 4000 that it binds at each start 3200 are libcrypto's own uses of
# itself, and most others are for libc.
LIBS    := -lcrypto -lc -lsodium -luring -lkeyutils -lyaml -lnghttp2 -lseccomp
CTLLIBS := -ljansson -lsqlite3
OBSLIBS := -lseccomp -lmicrohttpd
NETLIBS := -lseccomp -lcurl -lcrypto

# An option if the compiler takes it, as clang 14 does not take all of gcc 12's.
cc-option = $(shell $(CC) -Werror $(1) -x c -c -o /dev/null /dev/null 2>/dev/null && echo $(1))

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
           -Wpointer-arith -Wformat=2 -Wvla -Werror
# Control flow is guarded by CET on x86, by branch protection on arm64.
HARDEN  := -fPIE -fstack-protector-strong -fstack-clash-protection \
           $(call cc-option,-fcf-protection=full) $(call cc-option,-mbranch-protection=standard) \
           -fno-strict-aliasing $(call cc-option,-ftrivial-auto-var-init=zero)
LINK    := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,--as-needed
ifeq ($(SAN),)
OPT     ?= -O2 -g
HARDEN  += -D_FORTIFY_SOURCE=$(shell echo '_FORTIFY_SOURCE' | $(CC) -E -O2 -D_FORTIFY_SOURCE=3 - >/dev/null 2>&1 && echo 3 || echo 2)
else
OPT     ?= -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LINK    += -fsanitize=address,undefined
endif

CPPFLAGS += -D_GNU_SOURCE -DKEKD_VERSION='"$(VERSION)"' -I. -Iinclude
CFLAGS   += -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(EXTRA_CFLAGS)
LDFLAGS  += $(LINK) $(EXTRA_LDFLAGS)

CLUSTER_SRC := daemon/cluster/main.c daemon/cluster/http.c daemon/cluster/cert.c
DAEMON_SRC := $(filter-out daemon/ctl/kekctl.c daemon/observer/% $(CLUSTER_SRC),$(sort $(wildcard daemon/*/*.c)))
OBJ        := $(DAEMON_SRC:%.c=$(BUILD)/%.o)
LIB        := $(BUILD)/libkekd.a

UNIT_SRC   := $(wildcard tests/unit/*.c) tests/harness/selftest.c tests/vectors/reader_test.c
UNIT       := $(UNIT_SRC:%.c=$(BUILD)/%)
TESTLIB    := $(BUILD)/libtest.a
TEST_OBJ   := $(patsubst %.c,$(BUILD)/%.o,tests/harness/ktest.c tests/harness/ktest_test.c \
                tests/vectors/reader.c $(wildcard tests/support/*.c tests/bench/ways/*.c \
                tests/bench/served/*.c))
SUPPORT_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))
HELPER_SRC := $(wildcard tests/e2e/*.c)
HELPERS    := $(HELPER_SRC:%.c=$(BUILD)/%)
PRELOAD    := $(patsubst tests/e2e/preload/%.c,$(BUILD)/tests/e2e/%.so,$(wildcard tests/e2e/preload/*.c))
POWER      := $(BUILD)/tests/vm/power
BENCH_SRC  := $(wildcard tests/bench/*.c)
BENCH_BIN  := $(BENCH_SRC:%.c=$(BUILD)/%)

PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
BINDIR  ?= $(PREFIX)/bin
UNITS   ?= yes
UNITDIR ?= $(PREFIX)/lib/systemd/system

.PHONY: install deb deb-amd64 deb-arm64 rpm image release clean-release all check unit helpers bench bench-bin fuzz analyze clean
.SECONDARY:

# The pages that are made of notes.
PAGES   := $(patsubst %,$(BUILD)/man/kekd-%.7,ceremony lifecycle migration)

all: $(BUILD)/kekd $(BUILD)/kekd-observer $(BUILD)/kekd-cluster $(BUILD)/kekctl $(PAGES)

$(BUILD)/man/kekd-%.7: kmod-notes/%.md daemon/man/from-note daemon/man/kekd.8
	@echo "  MAN   $@"
	@mkdir -p $(@D)
	$(Q)awk -f daemon/man/from-note -v name=kekd-$* -v date="$$(sed -n 's/^\.Dd //p' daemon/man/kekd.8)" $< >$@.new && mv $@.new $@

$(BUILD)/kekd: $(BUILD)/daemon/main.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/kekd-observer: $(BUILD)/daemon/observer/main.o $(BUILD)/daemon/observer/http.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(OBSLIBS)

$(BUILD)/kekd-cluster: $(CLUSTER_SRC:%.c=$(BUILD)/%.o) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NETLIBS)

$(BUILD)/kekctl: $(BUILD)/daemon/ctl/kekctl.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) $(CTLLIBS)

$(LIB): $(OBJ)
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@echo "  CC    $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c -o $@ $<

# Carry-less multiplication for GHASH; chosen at run time by what the CPU has.
CLMUL_x86_64  := -mpclmul -mssse3 -msse4.1
CLMUL_aarch64 := -march=armv8-a+crypto
CFLAGS_daemon_crypto_ghash_clmul := $(CLMUL_$(firstword $(subst -, ,$(shell $(CC) -dumpmachine))))
CPPFLAGS += -DVECTORS_DIR='"$(CURDIR)/tests/vectors"' -DBUILD_DIR='"$(abspath $(BUILD))"'

$(TESTLIB): $(TEST_OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(UNIT) $(HELPERS) $(BENCH_BIN): $(BUILD)/%: $(BUILD)/%.o $(TESTLIB) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) $(CTLLIBS) -lkcapi

# Without the sanitizers: it is loaded before them.
$(PRELOAD): $(BUILD)/tests/e2e/%.so: tests/e2e/preload/%.c
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu17 -O2 -fPIC -shared -Wall -Wextra -Werror -o $@ $< -ldl

$(POWER): $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tests/vm/power*.c))) $(TESTLIB) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# A test that stands between a service and its chain. Private: not of what has to be built first.
$(BUILD)/tests/unit/transform: private LDFLAGS += -Wl,--wrap=chain_overhead
# And one between HTTP/2 and its library.
$(BUILD)/tests/unit/wire: private LDFLAGS += -Wl,--wrap=nghttp2_submit_request
# It makes the room for a key fail.
$(BUILD)/tests/unit/keeper_keyset: private LDFLAGS += -Wl,--wrap=keyset_key_new

# Pages of another size.
$(BUILD)/tests/unit/page: private LDFLAGS += -Wl,--wrap=page_size

# The holder that some tests start is kekd itself.
$(UNIT): | $(BUILD)/kekd

unit: $(UNIT)
helpers: $(HELPERS) $(PRELOAD) $(POWER)
bench-bin: $(BENCH_BIN)

bench:
	BUILD="$(abspath $(BUILD))" tests/bench/bench $(if $(filter quick,$(BENCH)),--quick) $(BENCH_ARGS)

check: unit
	tests/harness/run $(UNIT)

# The fuzz targets are built by clang with the library's own sources, instrumented.
FUZZ_SRC := $(wildcard tests/fuzz/*.c)
FUZZ     := $(FUZZ_SRC:tests/fuzz/%.c=build-fuzz/%)
fuzz:
	$(Q)$(MAKE) --no-print-directory BUILD=build-fuzz CC=clang fuzz-bin \
	    OPT="-O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
fuzz-bin: $(FUZZ)
build-fuzz/%: build-fuzz/tests/fuzz/%.o $(SUPPORT_OBJ) $(LIB)
	@echo "  FUZZ  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS) $(CTLLIBS)

analyze:
	$(Q)$(MAKE) --no-print-directory -k BUILD=build-analyze HARDEN=-fPIE EXTRA_CFLAGS="-fanalyzer -fno-diagnostics-show-caret -fdiagnostics-path-format=none" build-analyze/libkekd.a

# UNITS= leaves systemd's files to a packager.
install: all
	install -D -m 0755 $(BUILD)/kekd $(DESTDIR)$(SBINDIR)/kekd
	install -D -m 0755 $(BUILD)/kekd-observer $(DESTDIR)$(SBINDIR)/kekd-observer
	install -D -m 0755 $(BUILD)/kekd-cluster $(DESTDIR)$(SBINDIR)/kekd-cluster
	install -D -m 0755 $(BUILD)/kekctl $(DESTDIR)$(BINDIR)/kekctl
	install -D -m 0644 daemon/dist/kekctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kekctl
	install -D -m 0644 daemon/dist/_kekctl $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_kekctl
	for page in daemon/man/*.[1578] $(PAGES); do \
	    install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit; done
	install -d $(DESTDIR)$(PREFIX)/share/selinux/packages/kekd
	install -m 0644 daemon/dist/selinux/kekd.* $(DESTDIR)$(PREFIX)/share/selinux/packages/kekd
ifneq ($(UNITS),)
	install -d $(DESTDIR)$(UNITDIR)
	for unit in kekd kekd-verify kekd-rotate; do \
	    sed 's#@SBINDIR@#$(SBINDIR)#; s#@BINDIR@#$(BINDIR)#' daemon/dist/$$unit.service.in >$(DESTDIR)$(UNITDIR)/$$unit.service && \
	    chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit.service || exit; done
	install -m 0644 daemon/dist/*.socket daemon/dist/*.timer $(DESTDIR)$(UNITDIR)
	install -D -m 0644 daemon/dist/kekd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/kekd.conf
	install -D -m 0644 daemon/dist/kekd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/kekd.conf
endif

# The package is $(BUILD)/deb/kekd_VERSION_ARCH.deb. DEB_ARCH is another architecture than this machine's, whose
# packages nobody asks for here: they are in SYSROOT.
deb:
	daemon/dist/debian/make-tree $(BUILD)/deb/kekd-$(VERSION) $(VERSION)
	cd $(BUILD)/deb/kekd-$(VERSION) && dpkg-buildpackage -b -us -uc $(if $(DEB_ARCH),-a$(DEB_ARCH) -d)

rpm:
	daemon/dist/rpm/make-rpm $(BUILD) $(VERSION)

image: all
	daemon/dist/image/make-image $(BUILD) $(VERSION)

# DEBIAN_ARCH is this machine's. arm64's package is made on other machines too, in ARM64_BUILD by CROSS; that of amd64 is not.
RELEASE_ARCHS ?= amd64 arm64
DEBIAN_ARCH   := $(shell dpkg --print-architecture 2>/dev/null)
CROSS         ?= scripts/cross
ARM64_BUILD   ?= build-arm64
DEB_amd64     := $(BUILD)/deb
DEB_arm64     := $(if $(filter arm64,$(DEBIAN_ARCH)),$(BUILD),$(ARM64_BUILD))/deb

deb-$(DEBIAN_ARCH): deb

clean-release:
	rm -rf $(BUILD)/release

ifneq ($(DEBIAN_ARCH),arm64)
deb-arm64:
	env -u MAKEFLAGS -u MAKELEVEL $(CROSS) BUILD=$(ARM64_BUILD) deb || { \
	    echo "no package for arm64, for the reason above; without it: make release RELEASE_ARCHS=$(DEBIAN_ARCH)" >&2; exit 1; }
endif
ifneq ($(DEBIAN_ARCH),amd64)
deb-amd64:
	@echo "the package for amd64 is made on amd64 only; without it: make release RELEASE_ARCHS=$(DEBIAN_ARCH)" >&2; exit 1
endif

# What people download, with the sums to compare it by: Debian's packages for RELEASE_ARCHS, and the rest for this
# machine's architecture. Whoever publishes it signs SHA256SUMS.
release: clean-release $(RELEASE_ARCHS:%=deb-%) rpm image
	install -d $(BUILD)/release
	install -m 0644 $(foreach arch,$(RELEASE_ARCHS),$(DEB_$(arch))/kekd_$(VERSION)_$(arch).deb) $(BUILD)/release
	install -m 0644 $(BUILD)/rpm/kekd-$(VERSION)-*.rpm $(BUILD)/release
	install -m 0644 $(BUILD)/image/kekd-$(VERSION).spdx.json $(BUILD)/release
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C $(BUILD)/image/oci -cf $(BUILD)/release/kekd-$(VERSION)-image.tar .
	cd $(BUILD)/release && sha256sum -- * >SHA256SUMS

clean:
	rm -rf build build-san build-fuzz build-analyze

-include $(shell find $(BUILD) \( -path '$(BUILD)/deb' -o -path '$(BUILD)/rpm' \) -prune -o -type f -name '*.d' -print 2>/dev/null)
