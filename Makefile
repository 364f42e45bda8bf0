# The two commands are `make lab` and `make test`; `make help` says the rest.

PYTHON ?= python3  # the Python to build .venv with: 3.11 or newer
TORCH  ?= torch    # what pip gets for torch; see "The size of torch" in README.md
NAME   ?=          # one lesson for `make notebooks`, such as 01_markov_chains
LAB    ?=          # arguments for JupyterLab, such as --no-browser
TESTS  ?= tests notebooks
WORKERS ?= 2

IN  := .venv/bin/
PIP := $(IN)python -m pip install --disable-pip-version-check --constraint constraints.txt

.PHONY: help lab test notebooks site doctor clean

help:
	@echo "make lab         set everything up (once) and open JupyterLab on lesson 00"
	@echo "make test        prove everything: style, code, every notebook, the browser"
	@echo "make notebooks   execute notebooks/src into notebooks; NAME=01_markov_chains for one"
	@echo "make site        build the lessons and all pages into build/site, to read without Jupyter"
	@echo "make doctor      check the set-up, and say how to mend what is wrong"
	@echo "make clean       remove the environment and what tools left behind"
	@echo "PYTHON=python3.12 chooses the Python, TORCH=... the build of torch (see README.md)"

lab: .venv/.lab
	@echo "Opening JupyterLab on lesson 00; stop it with Ctrl-C twice in this terminal."
	@$(IN)labkit lab $(LAB)

# One run of pytest for everything, two files at a time with one thread each: more would only
# make the two workers wait for each other's threads.
test: .venv/.test
	@echo "Testing style, code, notebooks and browser; the time of each part comes at the end."
	@OMP_NUM_THREADS=1 $(IN)python -m pytest $(strip $(TESTS)) --quiet -rs \
		--numprocesses=$(strip $(WORKERS)) --dist=loadfile --no-loadscope-reorder \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=300

notebooks: .venv/.test
	@$(IN)python notebooks/build.py $(NAME)

site: .venv/.site
	@$(IN)python -m docs.site.build

doctor: .venv/.lab
	@$(IN)labkit doctor

clean:
	rm -rf build .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"The course needs Python 3.11 or newer; try: make lab PYTHON=python3.12")'
	@echo "Making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Python's venv is missing; on Debian and Ubuntu: sudo apt install python3-venv"; false; }

.venv/.lab: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing torch; on Linux its default build is big, README.md names a small one"
	@$(PIP) $(TORCH)
	@echo "Installing the course and JupyterLab, and with them the kernel \"labkit (course)\""
	@$(PIP) --quiet --editable .
	@$(IN)python -c "import matplotlib.font_manager"
	@touch $@

.venv/.test: .venv/.lab
	@echo "Installing what the tests need"
	@$(PIP) --quiet --editable ".[test,site]"
	@touch $@

.venv/.site: .venv/.lab
	@echo "Installing what builds the site"
	@$(PIP) --quiet --editable ".[site]"
	@touch $@
