# Everything runs in environments of its own, made on first use and brought up to date when pyproject.toml or
# requirements/ changes. They hold what requirements/ says, version for version: what is released tomorrow changes nothing.
#   make demo        translate the first example, then train it for ten steps, scaled down, with the real Bridge loop
#   make test        all tests without torch and Bridge, then with them all in which they could make a difference
#   make check       lint, format, types, generated pages
#   make docs        the site, in build/site; needs Python 3.11 or newer
#   make lock        requirements/ anew: the newest versions that pyproject.toml admits; first BRIDGE=0.3.1, then the others
#   make test-newest all tests with those newest versions, in environments beside the others; requirements/ stays as it is
#   make -s python   makes the environment if need be, and prints its interpreter
#
# BRIDGE: for which Megatron Bridge: make test BRIDGE=0.3.1. Each has an environment of its own, .venv-0.3.1, and files of
# its own in requirements/. Without it, it is the newest proven one that the Python can have. bridge_args/bridge/series.py
# has the facts.
#
# PYTHON: 3.11 or 3.12; for Bridge 0.3.1 3.10 too. TORCH: what pip should install; which build of it suits a machine is not
# ours to say. Plain `torch` brings CUDA along, several gigabytes. TESTS: some of the tests: make test TESTS=tests/emit

PYTHON ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || echo python3)
TORCH ?= torch==2.13.0
JOBS ?= 2
# Whoever has nothing left takes from the others: else the last long tests all wait for one process.
SPREAD := -n $(JOBS) --dist worksteal
BRIDGE ?=

# What reads scripts and knows what arguments mean has no Bridge in it: where the first run has just tried it, the second does
# not. A checkout of Megatron-LM needs torch to be asked.
AGAIN := $(if $(BRIDGE)$(TESTS)$(MEGATRON_LM_CHECKOUT),,$(addprefix --ignore=tests/,script megatron_lm explain checkout fork modernize))

# SERIES FIRST GROUP OLDEST PUBLISHED TAG IGNORE; where they cannot be told, python-can says why.
$(foreach fact,$(shell $(PYTHON) -B -m bridge_args.dev environment $(BRIDGE) 2>/dev/null),$(eval $(fact)))

VENV ?= .venv-$(SERIES)
TESTS ?=
CORE := .venv-core
LOCK := .venv-lock
NEWEST := .venv-newest
# Not compiled: Python does that at the first import, of the tenth that is imported; which must be kept, then, as tests
# start Python a thousand times (importing Bridge takes 4.7 s of a processor, and 11.5 s without).
unexport PYTHONDONTWRITEBYTECODE
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
# No resolver: the lock is complete, and every file is the one it names. What has no wheel is built with the `build` of it.
LOCKED := $(INSTALL) --no-deps --require-hashes --no-build-isolation
COMPILE = $(LOCK)/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate \
	--custom-compile-command "make lock BRIDGE=$(SERIES)"

.PHONY: demo test check docs setup python lock test-newest clean python-can

demo: $(VENV)/ready
	@mkdir -p demo-output
	$(VENV)/bin/bridge-args translate examples/01_one_command/train.sh --report text
	$(VENV)/bin/bridge-args rehearse examples/01_one_command/train.sh --shrink --steps 10 --plot demo-output/loss.png

test: $(if $(BRIDGE),,$(CORE)/ready) $(VENV)/ready
ifeq ($(BRIDGE),)
	@echo "== the core, without torch and Bridge =="
	$(CORE)/bin/python -m pytest -q $(SPREAD) $(TESTS)
endif
	@echo "== $(if $(TESTS),some,everything), with Bridge $(SERIES) =="
	$(VENV)/bin/python -m pytest $(SPREAD) $(AGAIN) $(TESTS)

check: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bridge-args check
	$(VENV)/bin/python -m bridge_args.dev docs --check

docs: $(VENV)/ready
	$(VENV)/bin/zensical build --strict --clean

setup: $(VENV)/ready $(CORE)/ready

python: $(VENV)/ready
	@echo $(CURDIR)/$(VENV)/bin/python

# A wrong Python, or a Bridge that we do not know, is told before anything is installed.
python-can:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 10) or sys.exit( \
	    f"Python {v[0]}.{v[1]} is too old; say another one: make PYTHON=python3.12 …")'
	@$(PYTHON) -B -m bridge_args.dev environment --check $(BRIDGE)

# torch last, when all that it needs beside CUDA is there in the locked version. What is tagged for a newer glibc than it
# needs is installed by its tag; and Core from 0.17 on imports from typing what Python 3.11 has only in typing_extensions.
$(VENV)/ready: pyproject.toml requirements/build.txt $(TAG) \
		$(if $(SERIES),requirements/bridge-$(SERIES).txt requirements/alone-$(SERIES).txt) | python-can
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python $(LOCKED) -r requirements/build.txt
	$(VENV)/bin/python $(LOCKED) $(IGNORE) -r requirements/bridge-$(SERIES).txt -r requirements/alone-$(SERIES).txt
	$(VENV)/bin/python $(INSTALL) "$(TORCH)"
ifneq ($(TAG),)
	$(VENV)/bin/python $(LOCKED) --upgrade --only-binary=:all: --implementation cp \
	    --python-version $$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
	    --platform manylinux_2_39_$$(uname -m) \
	    --target $$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') -r $(TAG)
endif
ifneq ($(IGNORE),)
	@echo 'import typing, typing_extensions; typing.override = typing_extensions.override' > \
	    $$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/typing_override.pth
endif
	$(VENV)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(CORE)/ready: pyproject.toml requirements/build.txt requirements/core.txt
	$(PYTHON) -m venv --clear $(CORE)
	$(CORE)/bin/python $(LOCKED) -r requirements/build.txt
	$(CORE)/bin/python $(LOCKED) -r requirements/core.txt
	$(CORE)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# torch is left out of the resolution: with it, its CUDA packages would be in the lock. The lock of another Bridge has the
# versions of the first one as far as that Bridge admits them; Core and what is installed by its tag are in files of their own.
lock: python-can
	$(PYTHON) -m venv --clear $(LOCK)
	$(LOCK)/bin/python $(INSTALL) uv
	@echo "torch ; python_version < '3'" > $(LOCK)/left-out.txt
ifeq ($(SERIES),$(FIRST))
	$(COMPILE) --python-version $(OLDEST) --upgrade --group lock --override $(LOCK)/left-out.txt \
	    --extra bridge$(GROUP) --extra slurm pyproject.toml -o requirements/bridge-$(SERIES).txt
	$(COMPILE) --python-version $(OLDEST) --upgrade --constraint requirements/bridge-$(SERIES).txt --group core \
	    pyproject.toml -o requirements/core.txt
	$(COMPILE) --python-version $(OLDEST) --upgrade --constraint requirements/bridge-$(SERIES).txt --group build \
	    -o requirements/build.txt
else
	@echo "megatron-core ; python_version < '3'" >> $(LOCK)/left-out.txt
	$(COMPILE) --python-version $(PUBLISHED) --upgrade --no-deps --group platform$(GROUP) -o $(TAG)
	cp requirements/bridge-$(FIRST).txt requirements/bridge-$(SERIES).txt
	$(COMPILE) --python-version $(OLDEST) --group lock --override $(LOCK)/left-out.txt --constraint $(TAG) \
	    $$(sed -n 's/==.*//p' $(TAG) | sed 's/^/--no-emit-package /') \
	    --extra bridge$(GROUP) --extra slurm pyproject.toml -o requirements/bridge-$(SERIES).txt
endif
	$(COMPILE) --python-version $(PUBLISHED) --upgrade --no-deps --group alone$(GROUP) -o requirements/alone-$(SERIES).txt

test-newest: python-can
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python $(INSTALL) --upgrade "pip>=25.1"
	$(NEWEST)/bin/python $(INSTALL) "$(TORCH)"
	$(NEWEST)/bin/python $(INSTALL) $(IGNORE) --editable ".[bridge$(GROUP),slurm]" --group lock
	$(NEWEST)/bin/python $(INSTALL) $(IGNORE) --no-deps --group alone$(GROUP)
	$(PYTHON) -m venv --clear $(NEWEST)-core
	$(NEWEST)-core/bin/python $(INSTALL) --upgrade "pip>=25.1"
	$(NEWEST)-core/bin/python $(INSTALL) --editable . --group core
	$(NEWEST)-core/bin/python -m pytest -q -n $(JOBS)
	$(NEWEST)/bin/python -m pytest -n $(JOBS)

clean:
	rm -rf .venv .venv-*
	rm -rf build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
	find bridge_args tests -name __pycache__ -type d -prune -exec rm -rf {} +
