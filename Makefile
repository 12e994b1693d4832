# Arkloom: `make help` lists what there is.
VENV   ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The CPU build on Linux: a plain `torch` would pull gigabytes of CUDA packages.
TORCH  ?= $(if $(filter Linux,$(shell uname -s)),torch==2.13.0+cpu,torch==2.13.0)
OUT    ?= runs/laptop
PRESET ?= laptop
JOBS   ?= 2
SERVE  ?= .venv-serve
BIN    := $(VENV)/bin
READY  := $(VENV)/.arkloom-ready

.DEFAULT_GOAL := help
.PHONY: help setup serve-cpu quickstart test test-vllm lint format benchmarks clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /:/' | awk -F: '{name = $$1; sub(/^[^:]*:/, ""); printf "  %-18s%s\n", name, $$0}'

setup: $(READY) ## make the virtual environment (CPU build of torch, tested versions)

$(READY): pyproject.toml constraints-cpu.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed; set PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)" \
	  || { echo "No CPU build of torch found: set PIP_EXTRA_INDEX_URL to PyTorch's CPU index, or TORCH=torch==2.13.0"; exit 1; }
	$(BIN)/pip install --quiet --constraint constraints-cpu.txt --editable '.[train,orchestrate,dev]'
	touch $@

# vLLM needs another transformers than training does, so it lives apart. Its wheel asks for four packages whose
# builds are for CUDA: with them `import vllm` dies. `pip check` is never clean; one answer of a model decides.
serve-cpu: $(SERVE)/.arkloom-ready ## make .venv-serve: vLLM on this machine's processors, for `arkloom serve`

$(SERVE)/.arkloom-ready: pyproject.toml
	test -x $(SERVE)/bin/python || $(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/pip install --quiet "$(TORCH)" \
	  || { echo "No CPU build of torch found: set PIP_EXTRA_INDEX_URL to PyTorch's CPU index"; exit 1; }
	$(SERVE)/bin/pip install --quiet "$(TORCH)" --editable '.[serve-cpu]'
	$(SERVE)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	$(SERVE)/bin/python -m arkloom.engines.vllm
	touch $@

quickstart: setup ## debate, distil and evaluate on this machine (laptop preset), then write a report
	$(BIN)/arkloom run --preset $(PRESET) --out $(OUT)

test: setup ## all tests that this machine can run; skips say why (S3: set ARKLOOM_TEST_S3_ENDPOINT)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-vllm: setup serve-cpu ## the tests with real vLLM, which `make test` leaves out: one server takes all cores
	$(BIN)/python -m pytest tests/with_vllm $(ARGS)

lint: setup ## ruff (format, lint) and mypy strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## ruff, in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

include images/images.mk
include manifests/manifests.mk

benchmarks: setup ## every benchmark that needs no server; each prints its figures
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean: ## remove the virtual environments, wheels of images and caches; runs/ stays
	rm -rf $(VENV) $(SERVE) $(POLICY) $(CONTEXTS) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist components/*.egg-info
