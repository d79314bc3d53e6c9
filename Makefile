# `make demo` and `make test` do all their set-up by themselves; see README.md.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
CLIENTS := 0.47.1 0.27.3 0.26.4
LEP_VENV := .venv-lepton-0.47.1
export HOMEPORT_LEP := $(CURDIR)/$(LEP_VENV)/bin/lep

.PHONY: demo test check venv lep clients clean
demo: venv lep
	$(BIN)/homeport demo

test: venv clients
	$(BIN)/python -m pytest tests -n 3 --dist worksteal
	@docker version >/dev/null 2>&1 || echo "LEFT OUT: Docker does not answer here, so no test ran on real containers (see the skips above)."

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

venv: .venv/.stamp
lep: $(LEP_VENV)/.stamp
clients: $(CLIENTS:%=.venv-lepton-%/.stamp) .venv-openai-3.54.0/.stamp .venv-runapy-1.224.0/.stamp

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

# Each file is `pip freeze` of an environment that had nothing but that client.
.venv-openai-%/.stamp: tests/clients/openai-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	touch $@

.venv-runapy-%/.stamp: tests/clients/runapy-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	touch $@

.venv-lepton-%/.stamp: tests/clients/leptonai-%.txt
ifneq ($(UV),)
	$(UV) venv -q --allow-existing --python $(PYTHON) $(@D)
	$(UV) pip install -q --python $(@D)/bin/python -r $<
else
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
endif
	touch $@

clean:
	rm -rf .venv .venv-lepton-* .venv-openai-* .venv-runapy-*
