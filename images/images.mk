# Images: included by the Makefile. `make images BASE=localhost/base:bookworm` builds all from a local base.
# The lock files are for Python 3.11 on linux/amd64; so are the machine and the base that build them.
VERSION     := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REGISTRY    ?= ghcr.io/arkloom
ACCELERATOR ?= cpu
TAG         ?= $(VERSION)$(if $(filter-out cpu,$(ACCELERATOR)),-$(ACCELERATOR))
BASE        ?= docker.io/library/python:3.11-slim-bookworm
TOOLS       ?= $(BASE)
# DeepSpeed's ops to compile into train, such as "cpu_adam shm_comm": minutes, and TOOLS needs g++.
OPS         ?=
DOCKER      ?= docker
# With none, Debian packages come from outside the build, too, so this machine must be of the base's release.
NETWORK     ?= none
CONTEXTS    ?= .cache/images
BUILT       ?= $(if $(filter cpu,$(ACCELERATOR)),launcher serve train,serve train)
LOCKED      := $(wildcard images/*/*.in)
SOURCES     := $(shell find components pipelines pyproject.toml README.md LICENSE -type f \
                 -not -name '*.pyc' -not -path '*.egg-info/*' 2>/dev/null)
# Debian packages that an environment needs: vLLM's CPU build links to libnuma; triton compiles with gcc as it runs.
SYSTEM_serve-cpu   := libnuma1
SYSTEM_serve-cuda  := gcc libc6-dev
SYSTEM_train-cuda  := gcc libc6-dev

.PHONY: images lock sbom wheelhouses $(BUILT:%=image-%) $(BUILT:%=sbom-%)
.SECONDARY:

images: $(BUILT:%=image-%) ## build the images: launcher, serve, train (BASE=, ACCELERATOR=cpu|cuda, OPS=, TAG=)

wheelhouses: $(BUILT:%=$(CONTEXTS)/%/$(ACCELERATOR)/wheels/.ready) $(CONTEXTS)/own/.ready ## fetch what the images need

lock: ## write every image's lock file anew (hashes of all distributions)
	$(PYTHON) images/lock.py $(LOCKED)

sbom: $(BUILT:%=sbom-%) ## print every image's bill of materials (CycloneDX), a document a line

$(BUILT:%=sbom-%): sbom-%:
	@$(DOCKER) run --rm --network=none $(REGISTRY)/arkloom-$*:$(TAG) \
	  python3 -c 'import json; print(json.dumps(json.load(open("/opt/arkloom/sbom.json"))))'

$(BUILT:%=image-%): image-%: $(CONTEXTS)/%/$(ACCELERATOR)/wheels/.ready $(CONTEXTS)/own/.ready
	images/context.sh $(PYTHON) $(CONTEXTS)/$*/$(ACCELERATOR) images/$*/$(ACCELERATOR).lock $(CONTEXTS)/own \
	  "$(if $(filter none,$(NETWORK)),$(SYSTEM_$*-$(ACCELERATOR)))" "$(if $(filter train,$*),$(OPS))"
	$(DOCKER) build --network=$(NETWORK) --tag $(REGISTRY)/arkloom-$*:$(TAG) \
	  --build-arg BASE=$(BASE) --build-arg TOOLS=$(TOOLS) --build-arg SYSTEM="$(SYSTEM_$*-$(ACCELERATOR))" \
	  --build-arg OPS="$(if $(filter train,$*),$(OPS))" --build-arg IMAGE=arkloom-$* --build-arg TAG=$(TAG) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION="$(shell git rev-parse HEAD 2>/dev/null)" \
	  --file images/Containerfile $(CONTEXTS)/$*/$(ACCELERATOR)

# pip checks each file against its hash; what exists only as source is built to a wheel here, not in the image.
$(CONTEXTS)/%/wheels/.ready: images/%.lock
	rm -rf $(@D) && mkdir -p $(@D)
	DS_BUILD_OPS=0 $(PYTHON) -m pip wheel --quiet --require-hashes --no-deps --wheel-dir $(@D) --requirement $<
	touch $@

$(CONTEXTS)/own/.ready: $(SOURCES)
	rm -rf $(@D) build/lib && mkdir -p $(@D)
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir $(@D) .
	rm -rf build/lib
	touch $@
