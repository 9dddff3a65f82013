# make demo      the whole way on made-up landscapes: a map, a page of scores (about ten minutes on two cores)
# make tables    every cell of the report's tables in tiny form, on the same (about twenty minutes)
# make study     what pre-training is worth where labels are few
# make rare      which losses help a class that is rare in training
# make transfer  what ImageNet weights are worth on aerial images, DUBAI=DIR
# make pairs     what pre-training on one's own pairs is worth on real floods, FOLDER=DIR
# make scaling   four training steps compiled for TPU slices, without a TPU: docs/scaling.md (hours on two cores)
# make test      the tests
# make soak      the long runs
# make browser   the pages of report and view in Chromium, which must be there
# make parity    the networks against those of PyTorch libraries, which it installs beside (6 GB); WRITE_ANSWERS=1 keeps
#                what they answer for `make test`
# make peers     our networks beside the same ones in PyTorch, by turns, on a machine that does nothing else
# make docs      the pages as a site, build/site; a dead link or a missing heading fails
# make release   wheel, sources and checksums of the commit in dist, the same bytes each time
# make pictures  networks and augmentations drawn anew from the code, docs/images
# make lint      style
# make venv      only .venv; EXTRAS=test,tpu chooses the extras, PYTHON=python3.12 the interpreter

PYTHON ?= python3
EXTRAS ?= demo,test
DEMO   ?= build/demo

VERSION     := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11))'),True)
$(error $(PYTHON): found $(if $(VERSION),Python $(VERSION),no Python that runs); expected 3.11 or later: say which is, e.g. make $(MAKECMDGOALS) PYTHON=/usr/bin/python3.11)
endif
CONSTRAINTS := $(wildcard constraints/python$(VERSION).txt)
STAMP       := .venv/installed-$(VERSION)-$(EXTRAS)

export JAX_PLATFORMS ?= cpu

.PHONY: venv demo tables study rare transfer pairs scaling test soak browser parity peers docs release pictures lint clean
venv: $(STAMP)

$(STAMP): setup.cfg pyproject.toml $(CONSTRAINTS)
	$(if $(CONSTRAINTS),,@echo "Python $(VERSION) has not been tried (3.11 and 3.12 have): the newest versions of all libraries are taken")
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=--constraint %) --config-settings editable_mode=compat --editable '.[$(EXTRAS)]'
	touch $@

test: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -m 'not slow' -n 3 --dist loadfile --no-loadscope-reorder

soak: venv
	.venv/bin/python -m pytest -m slow

browser:
	$(MAKE) venv EXTRAS=$(EXTRAS),browser
	LCJAX_BROWSER=needed .venv/bin/python -m pytest -m browser

.venv-parity/installed-$(VERSION): setup.cfg pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=--constraint %) \
	    --config-settings editable_mode=compat --editable '.[parity]'
	touch $@

parity: .venv-parity/installed-$(VERSION)
	.venv-parity/bin/python -m pytest tests/parity

peers: .venv-parity/installed-$(VERSION)
	.venv-parity/bin/python benchmarks/peers/compare.py --output=build/peers

docs:
	$(MAKE) venv EXTRAS=$(EXTRAS),docs
	.venv/bin/python docs/build_site.py

release: venv
	.venv/bin/python deploy/release.py

pictures: venv
	.venv/bin/python docs/draw_models.py
	.venv/bin/python docs/augmentation_pictures.py

lint: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Stopped and started again, the demo goes on where it was. Runs that compile the same program compile it once.
demo: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(DEMO)/compiled
demo: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
LCJAX    := .venv/bin/lcjax
SEGMENT  := dfc2020:data=sample,tiny=true
DATA_DIR := --config.data_dir=$(DEMO)/data
RUNS     := $(DEMO)/runs/unet,$(DEMO)/runs/swin_unet,$(DEMO)/runs/two_stream_scratch
RUNS     := $(RUNS),$(DEMO)/runs/two_stream_frozen,$(DEMO)/runs/two_stream_finetuned
demo: venv
	.venv/bin/python -m data_pipelines.datasets.sample.make $(DEMO)/sample
	$(LCJAX) prepare --dataset=sample --source=$(DEMO)/sample --data_dir=$(DEMO)/data
	.venv/bin/python benchmarks/pixel_baseline.py --data_dir=$(DEMO)/data --dataset=sample --output=$(DEMO)/runs/pixels
	$(LCJAX) train --config=pretrain:data=sample,tiny=true --workdir=$(DEMO)/runs/pretrain $(DATA_DIR)
	$(LCJAX) train --config=$(SEGMENT),model=unet --workdir=$(DEMO)/runs/unet $(DATA_DIR)
	$(LCJAX) train --config=$(SEGMENT),model=swin_unet --workdir=$(DEMO)/runs/swin_unet $(DATA_DIR)
	$(LCJAX) train --config=$(SEGMENT),model=two_stream_swin --workdir=$(DEMO)/runs/two_stream_scratch $(DATA_DIR)
	$(LCJAX) train --config=$(SEGMENT),model=two_stream_swin,init=$(DEMO)/runs/pretrain,freeze=encoder \
	    --workdir=$(DEMO)/runs/two_stream_frozen $(DATA_DIR)
	$(LCJAX) train --config=$(SEGMENT),model=two_stream_swin,init=$(DEMO)/runs/pretrain \
	    --workdir=$(DEMO)/runs/two_stream_finetuned $(DATA_DIR)
	$(LCJAX) evaluate --workdir=$(RUNS)
	$(LCJAX) predict --workdir=$(DEMO)/runs/two_stream_finetuned --output=$(DEMO)/map.tif --date=2020-07-01 \
	    --scene=s1=$(DEMO)/sample/scenes/scene_s1.tif,s2=$(DEMO)/sample/scenes/scene_s2.tif --confidence
	$(LCJAX) report --workdirs='$(DEMO)/runs/*,$(DEMO)/runs/pixels/*' --maps=$(DEMO)/map.tif --output=$(DEMO)/report
	@echo "map:  $(DEMO)/map.tif (open it in QGIS; picture: $(DEMO)/map.png)"
	@echo "next: source .venv/bin/activate, then lcjax info; your own images: docs/own_data.md"

# Every cell of the report's tables, and what the report recommends, on made-up landscapes and in tiny form. Stopped and
# started again, it goes on where it was.
TABLES ?= build/tables
tables: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(TABLES)/compiled
tables: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
CELLS := .venv/bin/python -m lcjax.configs.report2024.cells --data=sample --split=official --tiny --pretrain=$(TABLES)/runs/pretrain
tables: venv
	.venv/bin/python -m data_pipelines.datasets.sample.make $(TABLES)/sample
	for name in sample flair1; do \
	    $(LCJAX) prepare --dataset=$$name --source=$(TABLES)/sample --data_dir=$(TABLES)/data || exit; done
	$(CELLS) > $(TABLES)/cells.txt
	while read -r name config; do \
	    run=$(TABLES)/runs/$$name; \
	    case $$name in pretrain*) steps=300;; *) steps=100;; esac; \
	    $(LCJAX) train --config=$$config --workdir=$$run --config.data_dir=$(TABLES)/data \
	        --config.total="$$steps steps" </dev/null || exit; \
	    case $$name in pretrain*) continue;; esac; \
	    test -f $$run/evaluation/test/metrics.json || $(LCJAX) evaluate --workdir=$$run </dev/null || exit; \
	done < $(TABLES)/cells.txt
	$(LCJAX) report --workdirs='$(TABLES)/runs/*' --output=$(TABLES)/report

# What pre-training is worth where labels are few: docs/pretraining.md. About 40 minutes on two cores.
STUDY ?= build/study
study: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(STUDY)/compiled
study: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
study: venv
	.venv/bin/python -m data_pipelines.datasets.sample.make $(STUDY)/sample --tiles=study
	$(LCJAX) prepare --dataset=sample --source=$(STUDY)/sample --data_dir=$(STUDY)/data
	.venv/bin/python benchmarks/studies/few_labels.py --data_dir=$(STUDY)/data --output=$(STUDY)/runs

# Which losses and samplers help a class that is rare in training: docs/losses.md. Some forty minutes on two cores.
RARE ?= build/rare
rare: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(RARE)/compiled
rare: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
rare: venv
	.venv/bin/python -m data_pipelines.datasets.sample.make $(RARE)/whole --tiles=study
	.venv/bin/python benchmarks/studies/rare_classes.py --source=$(RARE)/whole --output=$(RARE)

# What pre-training is worth on real pairs: docs/pretraining.md. FOLDER is what benchmarks/studies/ombria_layout.py
# makes of OMBRIA as it is published; --plan says how long. What is to be chosen is chosen before the test is looked at.
PAIRS ?= build/pairs
pairs: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(PAIRS)/compiled
pairs: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
pairs: venv
	$(if $(FOLDER),,$(error make pairs FOLDER=DIR: which folder holds places.csv, s1_before, ...?))
	.venv/bin/python benchmarks/studies/ombria.py --source=$(FOLDER) --output=$(PAIRS)

# What ImageNet weights are worth on real aerial images: docs/transfer.md. `--plan` of the script says how long;
# DUBAI is the folder of tile_1, tile_3, tile_6, tile_7 and tile_8.
TRANSFER ?= build/transfer
transfer: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(TRANSFER)/compiled
transfer: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
transfer: venv
	$(if $(DUBAI),,$(error make transfer DUBAI=DIR: which folder holds tile_1, tile_3, ...?))
	.venv/bin/python benchmarks/studies/transfer.py --source=$(DUBAI) --output=$(TRANSFER)

# What four training steps need on TPU slices, as compiled: docs/scaling.md. Several minutes a program; stopped and
# started again, it goes on with the next one.
SCALING ?= build/scaling
scaling:
	$(MAKE) venv EXTRAS=$(EXTRAS),tpu
	.venv/bin/python benchmarks/scaling.py --output=$(SCALING) --page=docs/scaling.md

clean:
	rm -rf build
