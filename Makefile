# SPDX-License-Identifier: GPL-2.0-or-later
# The front door: every target works alone on a fresh machine and pulls in the
# steps it needs. The work itself is done by meson, kernel/build and qemu-patches/build.

SUITE ?=
export TIER ?= cram
MESON := build/meson

.PHONY: all help deps build kernel qemu check stress bench demo deb shell clean distclean

all: build

help:
	@echo "make demo            the whole thing, running: an emulated host with real VMs in it (TIER=node: on a plain slow node)"
	@echo "make check           build everything and run every test   (SUITE=unit|fuzz|lint|mutants|qemu|host|kernel|e2e)"
	@echo "make stress          the long tests   (SUITE=, and debug|series)"
	@echo "make bench           measure, and write docs/reference/benchmarks.md"
	@echo "make build           build the kernel, QEMU and our own programs"
	@echo "make deb             build Debian packages of the agent, exporter and hook into build/deb   (of our kernel: kernel/deb)"
	@echo "make deps            install the packages of build-aux/packages"
	@echo "make shell           a shell inside the emulated host; docs/README.md goes on from there"
	@echo "make clean           remove build/   (distclean: the download and compiler cache too)"

deps:
	@build-aux/deps

# Their own makes and ninjas count their jobs themselves.
kernel: deps
	@MAKEFLAGS= kernel/build
	@MAKEFLAGS= kernel/build guest

qemu: deps
	@MAKEFLAGS= qemu-patches/build

$(MESON)/build.ninja:
	@meson setup $(MESON) >build/meson-setup.log || { cat build/meson-setup.log >&2; exit 1; }

.PHONY: programs
programs: deps
	@mkdir -p build
	@$(MAKE) --no-print-directory $(MESON)/build.ninja
	@ninja -C $(MESON) --quiet

# Side by side: while one unpacks, configures or links, the other compiles.
build:
	@$(MAKE) --no-print-directory --jobs=3 qemu kernel programs

check: build
	@build-aux/check $(SUITE)

stress: build
	@build-aux/check --stress $(SUITE)

bench: build
	@tests/bench/run docs/reference/benchmarks.md

demo: build
	@tests/demo/run

deb: deps
	@build-aux/deb

shell: build
	@tests/host/shell

clean:
	@rm -rf build

distclean: clean
	@rm -rf "$${CRAM_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/cram}"
