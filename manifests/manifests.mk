# Manifests: included by the Makefile.
POLICY      ?= .venv-policy
MANIFESTS   ?= dist/manifests
DIGESTS     ?=

.PHONY: lint-manifests release-manifests

$(POLICY)/.ready: manifests/policy/requirements.txt
	test -x $(POLICY)/bin/python || $(PYTHON) -m venv $(POLICY)
	$(POLICY)/bin/pip install --quiet --requirement $<
	touch $@

lint-manifests: setup $(POLICY)/.ready ## every overlay and example: schemas of Kubernetes 1.32 and 1.37, checkov, policies
	OMP_NUM_THREADS=1 ARKLOOM_TEST_POLICY=$(POLICY)/bin $(BIN)/python -m pytest tests/unit/test_manifests_*.py $(ARGS)

release-manifests: setup ## every overlay and example with all images pinned (DIGESTS=file: `name:version sha256:...` a line)
	$(BIN)/python manifests/release.py --digests "$(DIGESTS)" --out $(MANIFESTS)
