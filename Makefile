# The one toolbox. `make help` says what there is. Needs a Rust toolchain, Python >= 3.11 with venv and a C compiler;
# everything else is set up here, below .venvs/ and target/, and nothing outside of this directory is touched.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

TOOLS := .venvs/tools/bin/python
WHEEL_STAMP := target/wheel.stamp
# Whatever the wheel is made of; tests, docs and the like do not rebuild it.
WHEEL_SOURCES := $(shell find Cargo.toml Cargo.lock pyproject.toml README.md LICENSE.md build_backend python crates \
    -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.lock' -o -name '*.md' -o -name '*.py' -o -name '*.pyi' -o -name py.typed \) \
    -not -path '*/tests/*' 2>/dev/null)
# The first Python that will do; names what is missing otherwise. Empty (and told) where a prerequisite is missing.
PYTHON_FOUND = $(shell tools/prerequisites.sh)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## says what there is
	@printf 'make <target>, from a fresh clone, with nothing set up before:\n\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
	@printf '\nNeeds Rust, Python >= 3.11 with venv, and cc: tools/prerequisites.sh names what is missing.\n'

.PHONY: demo
demo: wheel ## 8 unrelated processes, one rotating file: the standard library, then logserv; ends in PASS or fails
	@set -- $$($(PYTHON_FOUND) tools/environments.py newest); "$$2" examples/demo/demo.py

.PHONY: test
test: wheel ## everything that CI runs: lints, Rust and Python tests, stubs, coverage, fuzzing
	@$(TOOLS) tools/run_tests.py

.PHONY: wheel
wheel: $(WHEEL_STAMP) ## builds exactly one wheel in dist/: the extension, the Python package and the program

.PHONY: wheel-pure
wheel-pure: tools-environment ## builds the wheel without machine code, for other systems than Linux, in dist/pure/
	@rm -rf dist/pure
	@$(TOOLS) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings=pure=true --wheel-dir dist/pure .
	@ls -l dist/pure/*.whl

.PHONY: sdist
sdist: tools-environment ## builds the source distribution in dist/
	@PATH=$$PWD/.venvs/tools/bin:$$PATH $(TOOLS) -c 'import sys; sys.path.insert(0, "build_backend"); import logserv_build; print("dist/" + logserv_build.build_sdist("dist"))'

.PHONY: bench
bench: wheel ## logserv beside the standard library, on this machine and now; FULL=1 for all of it, SCALE=1 for many clients: docs/benchmarks.md
	@set -- $$($(PYTHON_FOUND) tools/environments.py newest); "$$2" bench/run.py $(if $(FULL),--all) $(if $(SCALE),--scale)

.PHONY: bench-compare
bench-compare: wheel ## the same beside other people's packages, in an environment of its own, and beside rsyslog where there is one
	@$(PYTHON_FOUND) bench/compare/run.py $(if $(FULL),--all)

.PHONY: bench-micro
bench-micro: wheel ## what one record costs in each room, and a call: nanoseconds, and instructions where there is valgrind
	@$(PYTHON_FOUND) bench/micro.py
	@set -- $$($(PYTHON_FOUND) tools/environments.py newest); "$$2" bench/calls.py

.PHONY: faults
faults: wheel ## breaks connections, disks and processes on purpose, all there is of it, and counts what survives: docs/reliability.md
	@rm -rf target/reliability
	@set -- $$($(PYTHON_FOUND) tools/environments.py newest); LOGSERV_FAULTS=all "$$2" -m pytest -m faults -v
	@cargo test --locked --package logserv --test faults
	@cargo test --locked --package logserv-server --test full_disk --test dropping
	@$(MAKE) sanitize
	@$(TOOLS) tools/reliability.py

# A stable rustc has the sanitizer, and wants to be told that it may use it. loom's fibers, in the model, are leaks to it.
# ThreadSanitizer is not here: it needs a standard library that was built for it, and reports races in ours without one.
.PHONY: sanitize
sanitize: prerequisites ## the tests of the shared memory under AddressSanitizer
	@RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 \
	    cargo test --locked --package logserv-ring --target "$$(rustc -vV | sed -n 's/^host: //p')" -- --skip model

.PHONY: fuzz
fuzz: prerequisites ## mutates the input of every decoder; FUZZ_SECONDS=30 for each, FUZZ_SEED=1 to replay
	@cargo run --profile fuzz --quiet --package logserv-fuzz -- --seconds $${FUZZ_SECONDS:-30} $${FUZZ_SEED:+--seed $$FUZZ_SEED} all

.PHONY: lint
lint: tools-environment ## formatting, clippy, rustdoc, ruff, mypy
	@$(TOOLS) tools/run_tests.py --only lint

.PHONY: clean
clean: ## removes everything that was built here
	rm -rf target dist build logserv.data .venvs

.PHONY: prerequisites
prerequisites:
	@tools/prerequisites.sh >/dev/null

.PHONY: tools-environment
tools-environment: prerequisites
	@mkdir -p dist target
	@$(PYTHON_FOUND) tools/environments.py tools >/dev/null

$(WHEEL_STAMP): $(WHEEL_SOURCES) | tools-environment
	@rm -f dist/logserv-*.whl
	@echo 'building the wheel (a first build takes some minutes; see README.md)'
	@PATH=$$PWD/.venvs/tools/bin:$$PATH $(TOOLS) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@touch $@
	@ls -l dist/*.whl
