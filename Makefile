# One file for people: "make demo" shows it, "make test" tests it. Both install what is missing.

PYTHON = .venv/bin/python

.PHONY: demo install test lint test-unit test-tor test-deploy bench fuzz uniform soak deb dist man release lock clean

demo: .venv/.installed
	$(PYTHON) -m onion_rdv demo

install: .venv/.installed

test: lint
	rm -f .coverage .coverage.*
	$(PYTHON) -m coverage run -m pytest -n 3 --dist loadgroup tests/unit tests/tor
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report --fail-under=90
	$(PYTHON) -m coverage report --include='onion_rdv/protocol/*,onion_rdv/smp/wire/*' --fail-under=100

# Style, types, layers; and whether a vulnerability of a locked package is known, as far as there is a network.
lint: .venv/.installed-dev
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) -m release.audit

# The fast tests alone, and those on a private Tor network alone.
test-unit test-tor: test-%: .venv/.installed-dev
	$(PYTHON) -m pytest tests/$*

# Install the Debian package in a container that boots systemd, and do with it what operators do. As root.
test-deploy: .venv/.installed-deploy
	$(PYTHON) -m pytest --exitfirst tests/deploy

# Fuzz every parser for some minutes; what shows a fault is in build/fuzz then (docs/fuzzing.md).
fuzz: .venv/.installed-dev
	$(PYTHON) -m fuzz

# Offer and accept for ten minutes while servers are killed and tors restarted: is every acknowledged link fetched?
# SOAK_SEED=… (what a soak tells first) brings the same troubles in the same order again.
soak: .venv/.installed-dev
	SOAK_SECONDS=600 $(PYTHON) -m pytest --capture=no tests/tor/test_soak.py

# Learn to tell requests apart by what passes a guard: how often does it succeed? (docs/uniform.md).
uniform: .venv/.installed-dev
	$(PYTHON) -m uniform

# Beside its peers and beside the limit, all of it or PARTS="client server" (docs/performance.md).
bench: .venv/.installed-bench
	$(PYTHON) bench/run.py $(PARTS)

# What is released, into dist/: the Debian package (on Debian 12), wheel and sdist, and the bill of materials with
# either; the man pages, into build/man/.
deb dist man: .venv/.installed
	$(PYTHON) -m release $@

# All of it as it is published, with SHA256SUMS: only what a commit has, only if it comes out the same elsewhere, and
# only if OSV was asked about the packages in it.
release: .venv/.installed-dev
	$(PYTHON) -m release.audit --strict
	$(PYTHON) -m release deb dist --again

# Rewrite the lock files from pyproject.toml and bench/requirements.in.
lock: .venv/.installed-dev
	scripts/lock

.venv/.installed: requirements.lock requirements-build.lock scripts/install
	scripts/install run

.venv/.installed-dev: requirements-dev.lock requirements-build.lock scripts/install
	scripts/install dev

.venv/.installed-deploy: .venv/.installed-dev
	scripts/install deploy

.venv/.installed-bench: bench/requirements.lock bench/requirements-build.lock .venv/.installed-dev
	scripts/install bench

clean:
	rm -rf .venv .venv-bench build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
