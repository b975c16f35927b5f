# make demo | test | slicer-test | bench | clean      PYTHON=python3.12 chooses the Python, VENV=folder where its environment goes.
#
# On Linux the default build of PyTorch brings several gigabytes of CUDA. Without an NVIDIA card, set PIP_EXTRA_INDEX_URL to
# PyTorch's index of CPU builds (see "Start locally" on pytorch.org) before the first make.

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && { echo $$python; break; }; done)
VENV ?= .venv
OUT ?= demo

# Two threads at most: the tests are many small things, which more threads only slow down.
export OMP_NUM_THREADS ?= 2

.PHONY: demo test slicer-test bench clean

demo: $(VENV)/.installed-pictures
	$(VENV)/bin/diffseg demo --out "$(OUT)"

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

# The module for 3D Slicer without the application: MRML from slicer-core, its window over PySide6.
slicer-test: $(VENV)/.installed-test,slicer-dev
	QT_QPA_PLATFORM=offscreen VTK_DEFAULT_OPENGL_WINDOW=vtkEGLRenderWindow $(VENV)/bin/python -m pytest $(PYTEST_OPTIONS) Testing/scene Testing/widget Testing/core/test_segnrrd.py

bench: $(VENV)/.installed-bench
	$(VENV)/bin/python -m Testing.benchmarks

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
