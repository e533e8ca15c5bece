# pith: `make demo` and `make test` set up, build and run; see `make help`.
PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)

.PHONY: all setup configure build demo test mpi check lint bench fuzz install help clean
all: build

setup: ## install the Debian packages that are missing
	@tools/setup.sh

configure: setup
	@mkdir -p build
	@cmake --preset $(PRESET) > build/configure.log 2>&1 || { cat build/configure.log; exit 1; }

build: configure ## configure and build (PRESET=release|dev|asan|clang)
	@cmake --build $(BUILD) -j $(JOBS)

demo: configure ## compress a real prompt with the built-in model
	@cmake --build $(BUILD) -j $(JOBS) --target pith_cli
	@tools/demo.sh $(BUILD)

test: build ## build and run every test
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

mpi: ## test training in two processes, with Open MPI
	@tools/setup.sh lint
	@$(MAKE) --no-print-directory configure PRESET=mpi
	@cmake --build build/mpi -j $(JOBS) --target test_ranks test_run_mpi
	@ctest --test-dir build/mpi -L mpi --output-on-failure

check: ## quick checks before a commit: warnings are errors, fast tests, format, layers
	@$(MAKE) --no-print-directory build PRESET=dev
	@ctest --test-dir build/dev -LE slow --output-on-failure -j $(JOBS)
	@tools/lint.sh quick

lint: ## formatting, layers, banned calls, exported symbols, clang-tidy
	@tools/setup.sh lint
	@$(MAKE) --no-print-directory build PRESET=clang
	@tools/lint.sh all

bench: build ## speed as a share of oneDNN, memory, start-up, int8 against f32
	@tools/bench.sh $(BUILD)

fuzz: ## 60 seconds of libFuzzer for every target
	@tools/setup.sh lint
	@$(MAKE) --no-print-directory build PRESET=fuzz
	@tools/fuzz.sh build/fuzz

install: build ## install program, library, header, man page (DESTDIR, PREFIX)
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix '$(PREFIX)')

clean: ## remove the build folder
	@rm -rf build

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12
