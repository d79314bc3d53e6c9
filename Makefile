# `make demo` and `make test` do all their set-up by themselves; see README.md.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
LEP_VENV := .venv-lepton-0.47.1
export HOMEPORT_LEP := $(CURDIR)/$(LEP_VENV)/bin/lep

.PHONY: demo test check venv clients clean
demo: venv clients
	$(BIN)/homeport demo

test: venv clients
	$(BIN)/python -m pytest tests
	@docker version >/dev/null 2>&1 || echo "LEFT OUT: Docker does not answer here, so no test ran on real containers (see the skips above)."

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

venv: .venv/.stamp
clients: $(LEP_VENV)/.stamp

.venv/.stamp: requirements.lock pyproject.toml
ifneq ($(UV),)
	$(UV) venv -q --allow-existing --python $(PYTHON) .venv
	$(UV) pip install -q --python $(BIN)/python -r requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps -e .
else
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
endif
	touch $@

$(LEP_VENV)/.stamp: tests/clients/leptonai-0.47.1.txt
ifneq ($(UV),)
	$(UV) venv -q --allow-existing --python $(PYTHON) $(LEP_VENV)
	$(UV) pip install -q --python $(LEP_VENV)/bin/python -r $<
else
	$(PYTHON) -m venv $(LEP_VENV)
	$(LEP_VENV)/bin/python -m pip install -q -r $<
endif
	touch $@

clean:
	rm -rf .venv .venv-lepton-*
