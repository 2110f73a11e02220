# Everything runs in environments of its own, made on first use and brought up to date when pyproject.toml or
# requirements/ changes. They hold what requirements/ says, version for version: what is released tomorrow changes nothing.
#   make demo        translate the first example, then train it for ten steps, scaled down, with the real Bridge loop
#   make test        all tests, once without torch and Bridge, once with them
#   make check       lint, format, types, generated pages
#   make docs        the site, in build/site; needs Python 3.11 or newer
#   make lock        requirements/ anew: the newest versions that pyproject.toml admits
#   make test-newest all tests with those newest versions, in environments beside the others; requirements/ stays as it is
#
# PYTHON: 3.10, 3.11 or 3.12, which Megatron Core 0.16.1 is built for. TORCH: what pip should install; which build of it
# suits a machine is not ours to say. Plain `torch` brings CUDA along, several gigabytes.

PYTHON ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || echo python3)
TORCH ?= torch==2.13.0
JOBS ?= 2

VENV := .venv
CORE := .venv-core
LOCK := .venv-lock
NEWEST := .venv-newest
INSTALL := -m pip install --quiet --disable-pip-version-check
# No resolver: the lock is complete, and every file is the one it names. What has no wheel is built with the `build` of it.
LOCKED := $(INSTALL) --no-deps --require-hashes --no-build-isolation
COMPILE := $(LOCK)/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	--no-annotate --custom-compile-command "make lock"

.PHONY: demo test check docs setup lock test-newest clean python-can

demo: $(VENV)/ready
	@mkdir -p demo-output
	$(VENV)/bin/bridge-args translate examples/01_one_command/train.sh --report text
	$(VENV)/bin/bridge-args rehearse examples/01_one_command/train.sh --shrink --steps 10 --plot demo-output/loss.png

test: $(CORE)/ready $(VENV)/ready
	@echo "== the core, without torch and Bridge =="
	$(CORE)/bin/python -m pytest -q -n $(JOBS)
	@echo "== everything =="
	$(VENV)/bin/python -m pytest -n $(JOBS)

check: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bridge-args check
	$(VENV)/bin/python -m bridge_args.dev docs --check

docs: $(VENV)/ready
	$(VENV)/bin/zensical build --strict --clean

setup: $(VENV)/ready $(CORE)/ready

# A wrong Python is told before anything is installed.
python-can:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit( \
	    f"Python {v[0]}.{v[1]} cannot have Megatron Core 0.16.1; say another one: make PYTHON=python3.12 …")'

# torch last, when all that it needs beside CUDA is there in the locked version.
$(VENV)/ready: pyproject.toml requirements/build.txt requirements/bridge.txt requirements/alone.txt | python-can
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python $(LOCKED) -r requirements/build.txt
	$(VENV)/bin/python $(LOCKED) -r requirements/bridge.txt -r requirements/alone.txt
	$(VENV)/bin/python $(INSTALL) "$(TORCH)"
	$(VENV)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(CORE)/ready: pyproject.toml requirements/build.txt requirements/core.txt
	$(PYTHON) -m venv --clear $(CORE)
	$(CORE)/bin/python $(LOCKED) -r requirements/build.txt
	$(CORE)/bin/python $(LOCKED) -r requirements/core.txt
	$(CORE)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# torch is left out of the resolution: with it, its CUDA packages would be in the lock.
lock:
	$(PYTHON) -m venv --clear $(LOCK)
	$(LOCK)/bin/python $(INSTALL) uv
	@echo "torch ; python_version < '3'" > $(LOCK)/no-torch.txt
	$(COMPILE) --upgrade --group lock --override $(LOCK)/no-torch.txt \
	    --extra bridge --extra slurm pyproject.toml -o requirements/bridge.txt
	$(COMPILE) --upgrade --constraint requirements/bridge.txt --group core pyproject.toml -o requirements/core.txt
	$(COMPILE) --upgrade --constraint requirements/bridge.txt --group build -o requirements/build.txt
	$(COMPILE) --upgrade --no-deps --group alone -o requirements/alone.txt

test-newest: python-can
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python $(INSTALL) --upgrade "pip>=25.1"
	$(NEWEST)/bin/python $(INSTALL) "$(TORCH)"
	$(NEWEST)/bin/python $(INSTALL) --editable ".[bridge,slurm]" --group lock
	$(NEWEST)/bin/python $(INSTALL) --no-deps --group alone
	$(PYTHON) -m venv --clear $(NEWEST)-core
	$(NEWEST)-core/bin/python $(INSTALL) --upgrade "pip>=25.1"
	$(NEWEST)-core/bin/python $(INSTALL) --editable . --group core
	$(NEWEST)-core/bin/python -m pytest -q -n $(JOBS)
	$(NEWEST)/bin/python -m pytest -n $(JOBS)

clean:
	rm -rf $(VENV) $(CORE) $(LOCK) $(NEWEST) $(NEWEST)-core
	rm -rf build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
	find bridge_args tests -name __pycache__ -type d -prune -exec rm -rf {} +
