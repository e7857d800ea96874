# SPDX-License-Identifier: Apache-2.0
#
# make                 build/kekd, build/kekctl
# make check           unit tests that need no kernel crypto (scripts/test runs everything)
# make SAN=1           the same under ASan and UBSan, in build-san/
# make bench           the benchmark, into tests/bench/out; BENCH=quick for a look at its shape
# make fuzz            libFuzzer targets (clang), in build-fuzz/
# make analyze         gcc -fanalyzer over the daemon
# make install         DESTDIR, PREFIX (/usr/local); make deb: a Debian package
# make BUILD=DIR       build elsewhere; V=1 shows the commands

SAN     ?=
V       ?=
BUILD   ?= $(if $(SAN),build-san,build)
CC      ?= cc
# nanopb's headers are in /usr/include on Debian 12, in a folder of their own on Debian 13.
NANOPB  ?= $(shell command -v nanopb_generator || command -v nanopb_generator.py)
Q       := $(if $(V),,@)

VERSION := 0.1.0
LIBS    := -luring -lkeyutils -lyaml -lnghttp2 -lprotobuf-nanopb -lcrypto -lsodium -lseccomp
CTLLIBS := -ljansson
OBSLIBS := -lseccomp -lmicrohttpd

# An option if the compiler takes it, as clang 14 does not take all of gcc 12's.
cc-option = $(shell $(CC) -Werror $(1) -x c -c -o /dev/null /dev/null 2>/dev/null && echo $(1))

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
           -Wpointer-arith -Wformat=2 -Wvla -Werror
HARDEN  := -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
           -fno-strict-aliasing $(call cc-option,-ftrivial-auto-var-init=zero)
LINK    := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,--as-needed
ifeq ($(SAN),)
OPT     ?= -O2 -g
HARDEN  += -D_FORTIFY_SOURCE=$(shell echo '_FORTIFY_SOURCE' | $(CC) -E -O2 -D_FORTIFY_SOURCE=3 - >/dev/null 2>&1 && echo 3 || echo 2)
else
OPT     ?= -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LINK    += -fsanitize=address,undefined
endif

CPPFLAGS += -D_GNU_SOURCE -DKEKD_VERSION='"$(VERSION)"' -I. -Iinclude -I$(BUILD)/gen \
           $(addprefix -isystem ,$(wildcard /usr/include/nanopb))
CFLAGS   += -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(EXTRA_CFLAGS)
LDFLAGS  += $(LINK) $(EXTRA_LDFLAGS)

DAEMON_SRC := $(filter-out daemon/ctl/kekctl.c daemon/observer/%,$(sort $(wildcard daemon/*/*.c)))
PROTO_SRC  := $(sort $(wildcard daemon/*/*.proto))
GEN_C      := $(PROTO_SRC:%.proto=$(BUILD)/gen/%.pb.c)
GEN_H      := $(GEN_C:.c=.h)
OBJ        := $(DAEMON_SRC:%.c=$(BUILD)/%.o) $(GEN_C:$(BUILD)/gen/%.c=$(BUILD)/gen/%.o)
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
PRELOAD    := $(BUILD)/tests/e2e/ahead.so
POWER      := $(BUILD)/tests/vm/power
BENCH_SRC  := $(wildcard tests/bench/*.c)
BENCH_BIN  := $(BENCH_SRC:%.c=$(BUILD)/%)

PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
BINDIR  ?= $(PREFIX)/bin
UNITS   ?= yes
UNITDIR ?= $(PREFIX)/lib/systemd/system

.PHONY: install deb all check unit helpers bench bench-bin fuzz analyze clean gen
.SECONDARY:

all: $(BUILD)/kekd $(BUILD)/kekd-observer $(BUILD)/kekctl

$(BUILD)/kekd: $(BUILD)/daemon/main.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/kekd-observer: $(BUILD)/daemon/observer/main.o $(BUILD)/daemon/observer/http.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(OBSLIBS)

$(BUILD)/kekctl: $(BUILD)/daemon/ctl/kekctl.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) $(CTLLIBS)

$(LIB): $(OBJ)
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

gen: $(GEN_H)
$(OBJ): | $(GEN_H)

$(BUILD)/gen/%.pb.c $(BUILD)/gen/%.pb.h: %.proto $(wildcard daemon/kms/*.options)
	@echo "  PB    $<"
	@mkdir -p $(@D)
	$(Q)$(NANOPB) -q -D $(BUILD)/gen $<

# Generated code is not ours to format: it is compiled without -Wconversion.
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-conversion -MMD -MP -c -o $@ $<

$(BUILD)/%.o: %.c
	@echo "  CC    $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c -o $@ $<

# Carry-less multiplication for GHASH; chosen at run time by CPUID.
CFLAGS_daemon_crypto_ghash_clmul := -mpclmul -mssse3 -msse4.1
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

# A test that stands between a service and its chain.
$(BUILD)/tests/unit/transform: LDFLAGS += -Wl,--wrap=chain_overhead
# And one between HTTP/2 and its library.
$(BUILD)/tests/unit/wire: LDFLAGS += -Wl,--wrap=nghttp2_submit_request
# It makes the room for a key fail.
$(BUILD)/tests/unit/keeper_keyset: LDFLAGS += -Wl,--wrap=keyset_key_new

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
	install -D -m 0755 $(BUILD)/kekctl $(DESTDIR)$(BINDIR)/kekctl
	install -D -m 0644 daemon/dist/kekctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kekctl
	install -D -m 0644 daemon/dist/_kekctl $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_kekctl
	for page in daemon/man/*.[1578]; do \
	    install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit; done
ifneq ($(UNITS),)
	install -d $(DESTDIR)$(UNITDIR)
	sed 's#@SBINDIR@#$(SBINDIR)#' daemon/dist/kekd.service.in >$(DESTDIR)$(UNITDIR)/kekd.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/kekd.service
	install -m 0644 daemon/dist/*.socket $(DESTDIR)$(UNITDIR)
	install -D -m 0644 daemon/dist/kekd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/kekd.conf
	install -D -m 0644 daemon/dist/kekd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/kekd.conf
endif

# The package is $(BUILD)/deb/kekd_VERSION_ARCH.deb.
deb:
	daemon/dist/debian/make-tree $(BUILD)/deb/kekd-$(VERSION) $(VERSION)
	cd $(BUILD)/deb/kekd-$(VERSION) && dpkg-buildpackage -b -us -uc

clean:
	rm -rf build build-san build-fuzz build-analyze

-include $(shell find $(BUILD) -path '$(BUILD)/deb' -prune -o -type f -name '*.d' -print 2>/dev/null)
