# Every target creates the environment in .venv when it is missing or older than pyproject.toml.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: demo test lint bench accuracy active-learning basemodel numbers finetuning stability card frames clean

demo: $(STAMP)
	$(BIN)/spin-dp demo -o demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A quarter of an hour; nothing else should run. Table and plot of MD steps in bench/.
bench: $(STAMP)
	mkdir -p bench
	$(BIN)/python -m pytest benchmarks --timeout 0 -rs --benchmark-only --benchmark-columns=median,iqr,rounds --benchmark-json=bench/results.json
	$(BIN)/python -m benchmarks.speed bench/results.json -o bench

# Three to four hours on two cores; goes on where it was stopped.
accuracy: $(STAMP)
	$(BIN)/python -m benchmarks.accuracy run -o accuracy

# About an hour on two cores; goes on where it was stopped.
active-learning: $(STAMP)
	$(BIN)/python -m benchmarks.active_learning -o active-learning

# The shipped model lixmo2 from the shipped frames; hours; goes on where it was stopped.
basemodel: $(STAMP)
	$(BIN)/python -m examples.base_model build examples/gpaw -o basemodel

# Tables of the pages that speak of the shipped model, after basemodel; an hour.
numbers: $(STAMP)
	$(BIN)/python -m examples.base_model numbers examples/gpaw -o numbers

# Frames that fine-tuning needs; an hour or two; goes on where it was stopped.
finetuning: $(STAMP)
	$(BIN)/python -m benchmarks.fine_tuning examples/gpaw -o finetuning

# 5 ps a run, an hour or two; MODEL=path or paths, PS=100 for the real thing.
stability: $(STAMP)
	$(BIN)/python -m benchmarks.stability run $(or $(MODEL),demo/spin_aware.pth) -o stability --ps $(or $(PS),5)

# Tables of examples/gpaw/README.md, after frames were added.
card: $(STAMP)
	$(BIN)/python -m examples.gpaw.card

# Finished runs of the DFT workers, where there are any, into examples/gpaw.
GATHER := ../shared/tools/dft/gather
DFT_OUT ?= $(HOME)/.cache/spin-dp-dft/out
frames: $(STAMP)
	@if [ ! -x $(GATHER) ]; then echo "frames: no $(GATHER) here, nothing to gather"; \
	elif [ ! -d "$(DFT_OUT)" ]; then echo "frames: no worker ran here ($(DFT_OUT)), nothing to gather"; \
	else DFT_OUT="$(DFT_OUT)" $(GATHER) examples/gpaw && $(BIN)/python -m examples.gpaw.card; fi

clean:
	rm -rf $(VENV) build dist *.egg-info demo accuracy active-learning bench basemodel numbers finetuning stability

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@
