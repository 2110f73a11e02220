# Everything runs in environments of its own, made on first use and brought up to date when pyproject.toml changes.
#   make demo     translate the first example, then train it for ten steps, scaled down, with the real Bridge loop
#   make test     all tests, once without torch and Bridge, once with them
#   make check    lint, format, types, generated pages
#   make docs     the site, in build/site; needs Python 3.11 or newer
#
# PYTHON: 3.10, 3.11 or 3.12. TORCH: what pip should install; plain `torch` brings CUDA along, several gigabytes.

PYTHON ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || echo python3)
TORCH ?= torch==2.13.0
JOBS ?= 2

VENV := .venv
CORE := .venv-core
INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check docs setup clean

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

# torch first, so that nothing after it chooses another one; Bridge last and without its requirements, of which several
# are compiled for GPUs (the extra `bridge` holds those that are not). nemo-run likewise (the extra `slurm`).
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(INSTALL) --upgrade "pip>=25.1"
	$(VENV)/bin/python $(INSTALL) "$(TORCH)"
	$(VENV)/bin/python $(INSTALL) megatron-core==0.16.1
	$(VENV)/bin/python $(INSTALL) --editable ".[bridge,slurm]" --group dev
	$(VENV)/bin/python $(INSTALL) --no-deps megatron-bridge==0.3.1 nemo_run==0.11.1 torchx==0.7.0
	@touch $@

$(CORE)/ready: pyproject.toml
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python $(INSTALL) --upgrade "pip>=25.1"
	$(CORE)/bin/python $(INSTALL) pyyaml omegaconf "hydra-core<=1.3.2" --group test
	$(CORE)/bin/python $(INSTALL) --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) $(CORE) build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
	find bridge_args tests -name __pycache__ -type d -prune -exec rm -rf {} +
