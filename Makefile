# make demo | test | slicer-test | bench | evaluate | cards | train-MODEL | clean      PYTHON=python3.12 chooses the Python, VENV=folder where its environment goes.
#
# On Linux the default build of PyTorch brings several gigabytes of CUDA. Without an NVIDIA card, set PIP_EXTRA_INDEX_URL to
# PyTorch's index of CPU builds (see "Start locally" on pytorch.org) before the first make.

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && { echo $$python; break; }; done)
VENV ?= .venv
DATA ?= ../shared/data
RUNS ?= runs

# Two threads at most: the tests are many small things, which more threads only slow down.
export OMP_NUM_THREADS ?= 2

.PHONY: demo test slicer-test bench evaluate cards clean

demo: OUT ?= demo
demo: $(VENV)/.installed-pictures
	$(VENV)/bin/diffseg demo --out "$(OUT)"

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

# The module for 3D Slicer without the application: MRML from slicer-core, its window over PySide6.
slicer-test: $(VENV)/.installed-test,slicer-dev
	QT_QPA_PLATFORM=offscreen VTK_DEFAULT_OPENGL_WINDOW=vtkEGLRenderWindow $(VENV)/bin/python -m pytest $(PYTEST_OPTIONS) Testing/scene Testing/widget Testing/core/test_segnrrd.py

bench: $(VENV)/.installed-bench
	$(VENV)/bin/python -m Testing.benchmarks

# Every table of the models' cards anew, of the volumes in DATA; CASES=2 takes two of each set. Records in OUT are not computed again.
MEASURE = --data "$(DATA)" -o "$(OUT)" $(if $(CASES),--cases $(CASES))
evaluate cards: OUT ?= evaluation
evaluate: $(VENV)/.installed-pictures
	$(VENV)/bin/python -m Testing.benchmarks.evaluate_models $(MEASURE)
	$(VENV)/bin/python -m Testing.benchmarks.synthesised $(MEASURE)
	$(VENV)/bin/python -m Testing.benchmarks.robustness $(MEASURE)
	$(VENV)/bin/python -m Testing.benchmarks.click_curves $(MEASURE)
	$(VENV)/bin/python -m Testing.benchmarks.coordinates --model body-ct --data "$(DATA)/ct_hn_openkbp" --split test $(if $(CASES),--cases $(CASES)) \
	  --cache "$(OUT)/body-ct/cache" --out "$(OUT)/body-ct/coordinates.json" --picture "$(OUT)/body-ct/body.png"

# What `make evaluate` measured, into the models' files, the catalogue and docs/Models.md.
cards: $(VENV)/.installed-train
	for model in Resources/Models/*.safetensors; do \
	  $(VENV)/bin/python -m Testing.benchmarks.card "$$model" --records "$(OUT)/$$(basename "$$model" .safetensors)" -o "$$model" || exit 1; done
	$(VENV)/bin/python -m Testing.benchmarks.catalogue
	$(VENV)/bin/python -m Testing.benchmarks.card_markdown > docs/Models.md.part
	mv docs/Models.md.part docs/Models.md

# From data to file: make train-head-neck-ct, train-abdomen-ct, train-abdomen-mr, train-click or train-body-ct, each with its recipe, in RUNS; a stopped one goes on.
# RUNS/NAME/shipped/NAME.safetensors is the file of half-precision weights that would go into Resources/Models.
TRAINED := head-neck-ct abdomen-ct abdomen-mr click body-ct
KIND_click := click
KIND_body-ct := body
train-head-neck-ct: SOURCES = --data "$(DATA)/ct_hn_openkbp"
# abdomen-ct learns twice: from what is labelled, then also from an unlabelled scan, as the first network labels it.
ABDOMENS = --label-maps "$(DATA)"/label_maps/s032[78]_ts117.nii.gz --mr "$(DATA)/mr_abdomen_chaos_t2" --leave-out '3?'
FIRST = $(RUNS)/abdomen-ct/first
train-abdomen-ct: SOURCES = --data "$(RUNS)/abdomen-ct/data" $(ABDOMENS) --start "$(FIRST)/abdomen-ct.safetensors" --steps 3200
train-abdomen-ct: $(FIRST)/abdomen-ct.safetensors
LISTED_abdomen-ct = --teacher "$(FIRST)/abdomen-ct.safetensors"
train-abdomen-mr: SOURCES = --data "$(DATA)/mr_abdomen_chaos_t2" --leave-out '3?'
train-click: SOURCES = --data $(foreach set,ct_hn_openkbp ct_lesion_sts mr_abdomen_chaos_t2 ct_abdomen tests_small,"$(DATA)/$(set)") \
  --label-maps "$(DATA)"/label_maps/s032[78]_ts117.nii.gz --leave-out 'STS_02[89]' 'STS_03?' '3?' 'amos_*' ts_example --last
train-body-ct: SOURCES = --data "$(DATA)/ct_hn_openkbp" --unlabelled $(foreach set,ct_lesion_sts ct_abdomen/ts_dicom_slab tests_small/acil_ct64,"$(DATA)/$(set)") \
  --leave-out 'STS_02[89]' 'STS_03?'
RESUMED = $(if $(wildcard $(RUNS)/$*/last.ckpt $(RUNS)/$*/sides/last.ckpt),--resume)

$(TRAINED:%=train-%): train-%: $(VENV)/.installed-train
	$(if $(LISTED_$*),$(VENV)/bin/python -m Testing.benchmarks.training_lists $* --data "$(DATA)" -o "$(RUNS)/$*/data" $(LISTED_$*))
	$(VENV)/bin/diffseg train $(or $(KIND_$*),head) --recipe $* $(SOURCES) -o "$(RUNS)/$*" $(RESUMED) $(TRAIN_OPTIONS)
	mkdir -p "$(RUNS)/$*/shipped"
	$(VENV)/bin/python -m Testing.benchmarks.card "$(RUNS)/$*/$*.safetensors" --trained-here -o "$(RUNS)/$*/shipped/$*.safetensors"

$(FIRST)/abdomen-ct.safetensors: | $(VENV)/.installed-train
	$(VENV)/bin/python -m Testing.benchmarks.training_lists abdomen-ct --data "$(DATA)" -o "$(FIRST)/data"
	$(VENV)/bin/diffseg train head --recipe abdomen-ct --data "$(FIRST)/data" $(ABDOMENS) --encoder Resources/Models/head-neck-ct.safetensors \
	  -o "$(FIRST)" $(if $(wildcard $(FIRST)/last.ckpt),--resume) $(TRAIN_OPTIONS)

train-%:
	@echo "There is no training of a model called $*; there are: $(TRAINED:%=train-%)." >&2; exit 2

# A stamp for each set of requirements, so that nothing is installed twice and a changed list is installed again.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable '.[$*]'
	@touch $@

# nnU-Net, a peer in the benchmarks, asks for torchvision, which breaks beside a CPU build of torch; its inference does without.
$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable '.[bench]'
	$(VENV)/bin/python -m pip install --no-deps nnunetv2==2.8.1 dynamic_network_architectures==0.4.4 \
	  acvl_utils==0.2.6 batchgenerators==0.25.5 batchgeneratorsv2==0.3.6
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "DiffSeg needs Python 3.10, 3.11, 3.12 or 3.13 and found none; name one with: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' || { echo "$(PYTHON) is not Python 3.10 to 3.13; name another with: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv "$(VENV)" || { rm -rf "$(VENV)"; \
	  echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }

clean:
	rm -rf "$(VENV)" build dist bench .pytest_cache
	find DiffSegCore Testing -name __pycache__ -type d -prune -exec rm -rf {} +
