# make demo    the main job on a recorded cluster
# make test    everything CI runs: checks, the lab's programs (built once per version), then tests
# make lab     what `plimsoll lab`, and charts of `plimsoll apply`, need beside what make demo installs
# make check   only the checks: ruff, mypy --strict, layers
# make fix     what a failing check asks for
# make bench   the performance bars, each figure printed
# make record  the practised platform recorded from the lab, healthy and with each fault
# make golden  what render makes of each example, written anew for review
# make focus   a generated month as FOCUS data, judged by the FinOps Foundation's validator (needs Python 3.12)
# make soak    what takes too long for make test: every fault given live, 500 nodes with 5,000 pods, 120 kills of apply, 200 of the meter
# make docs    generate docs/reference anew
# make lock    compile requirements/*.lock anew

SHELL := /bin/sh
BIN := .venv/bin

.PHONY: demo lab test check fix bench record golden focus soak docs lock clean

demo: .venv/core.stamp
	@mkdir -p build/demo
	@$(BIN)/plimsoll check examples/lab/device-plugin-crash.json.gz -f examples/lab/platform.yaml \
	    --fail-on never -o table -o html=build/demo/report.html
	@echo "Open build/demo/report.html in a browser for the same with pictures."

lab: .venv/dev.stamp
	$(BIN)/plimsoll lab build

test: check
	$(BIN)/plimsoll lab build
	$(BIN)/pytest -n auto --dist loadgroup

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check . || { echo 'make fix formats these' >&2; exit 1; }
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/docs.py --check

fix: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/docs.py

bench: .venv/dev.stamp
	$(BIN)/plimsoll lab build
	$(BIN)/python bench/run.py

record: .venv/dev.stamp
	$(BIN)/plimsoll lab build
	$(BIN)/python tools/record.py

golden: .venv/dev.stamp
	$(BIN)/python tools/golden.py

focus: .venv/dev.stamp
	$(BIN)/python tools/focus_check.py

soak: .venv/dev.stamp
	$(BIN)/plimsoll lab build
	PLIMSOLL_FAULTS=all $(BIN)/pytest -n0 tests/lab/test_faults.py
	$(BIN)/python bench/lab_scale.py
	$(BIN)/python bench/apply_kills.py
	$(BIN)/python bench/meter_kills.py

docs: .venv/dev.stamp
	$(BIN)/python tools/docs.py

lock: .venv/dev.stamp
	tools/lock

# Each stamp is newer than what it was made from, so nothing is installed or downloaded twice.
.venv/core.stamp: requirements/core.lock pyproject.toml tools/bootstrap
	tools/bootstrap core
.venv/dev.stamp: requirements/dev.lock requirements/go.lock pyproject.toml tools/bootstrap
	tools/bootstrap dev

clean:
	rm -rf .venv build dist
