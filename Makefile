# Every target sets itself up; a second run starts at once. PYTHON is only needed to make .venv.
PYTHON ?= python3
VENV := .venv/bin
# What computes runs in this many processes. Tests wait for most of their time: twice as many.
JOBS ?= 2
TESTS := $(shell expr 2 \* $(JOBS))
# `make play` and `make deploy` run the application in this folder instead of the demo's.
APP ?=
# FORCE=1: the application is taken though it is judged to be one that could not run.
FORCE =

# A real board: PORT is a serial device, socket://HOST:PORT or rfc2217://HOST:PORT; docs/flashing.md.
PORT ?=
FIRMWARE =
CHIP =
FLASH =
SETTINGS =
FLEET =
VERSION =
SEQUENCE =
PACKAGE =
IMAGE =
THING =
OUT =
# This machine's address as a board sees it, and the Wi-Fi from which it does.
HOST =
WIFI_SSID =
WIFI_PASSWORD =
# Seconds a new image has in `make board-test`.
SELF_TEST_S =
# AGENT=lib puts the agent into /lib, where updates leave it; docs/your-application.md, Room.
AGENT =
# `make bench-size`: paths of images.
IMAGES =
# `make bench-fleet`: numbers of light boards; with certificates, with PostgreSQL; keep its price.
BOARDS =
STARTS =
TLS =
POSTGRESQL =
KEEP_PRICE =
# EXTENSIONS of the agent: none, all, or names with commas, +names beside the usual ones;
# docs/your-application.md, Extensions.
EXTENSIONS =
# KEEP="files nvs" keeps either or both; DRY_RUN=1 prints what would be done.
KEEP =
DRY_RUN =
# Seconds of each parser in `make fuzz`, and which ones.
SECONDS = 600
TARGETS =
# YES=1 answers what `make reset` and `make erase` would ask.
YES =

# What was given goes to commands letter by letter: neither make nor the shell reads $, ` or " in it.
unexport APP PORT FIRMWARE CHIP FLASH SETTINGS FLEET VERSION SEQUENCE PACKAGE IMAGE THING OUT HOST
unexport IMAGES BOARDS STARTS TLS POSTGRESQL KEEP_PRICE
unexport FORCE AGENT EXTENSIONS WIFI_SSID WIFI_PASSWORD SELF_TEST_S KEEP DRY_RUN YES
# $(call quoted,PORT): its value; $(call option,APP,app): --app=its value, if there is one;
# $(call flag,YES,yes): --yes if YES=1.
quoted = '$(subst ','\'',$(value $(1)))'
option = $(if $(value $(1)),--$(2)=$(call quoted,$(1)))
flag = $(if $(filter-out 0 1 no yes,$(value $(1))),$(error make $@: say $(1)=1, or leave it out))$(if \
	$(filter 1 yes,$(value $(1))),--$(2))

.DEFAULT_GOAL := help
define need_port
	@$(if $(value PORT),true,echo "make $@: say PORT=, the board's serial device, socket:// or rfc2217://" >&2; exit 2)
	@$(PYTHON) -m tools.setup venv natives
endef

.PHONY: help setup demo play flash broker csr deploy status logs repl reset erase board-test mip bench bench-service bench-fleet bench-size size wear troubleshooting words picture recording test test-all mutation fuzz fuzz-branches compatibility lint format doctor release lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## make .venv and find or download what else is needed
	@$(PYTHON) -m tools.setup

demo: ## seven updates of a simulated board, a minute
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m demo

play: ## broker, service and one board, until Ctrl-C; APP=dir runs your application
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m demo.play $(call option,APP,app) $(call flag,FORCE,force)

flash: ## PORT= FIRMWARE=esp32.bin [CHIP= FLASH=4MB SETTINGS= FLEET= ...]: flash a board; IMAGE=out.bin: a file
	@$(PYTHON) -m tools.setup venv natives
	@tools/flash.sh $(call option,CHIP,chip) $(call option,FLASH,flash) \
		$(call option,SETTINGS,settings) $(call option,PACKAGE,package) \
		$(call option,FLEET,fleet) $(call option,VERSION,version) \
		$(call option,SEQUENCE,sequence) $(foreach part,$(value KEEP),--keep-$(call quoted,part)) \
		$(if $(value AGENT),--agent-in-$(call quoted,AGENT)) $(call option,EXTENSIONS,extensions) \
		$(call flag,DRY_RUN,dry-run) \
		$(or $(call option,IMAGE,image-only),$(if $(value PORT),$(call quoted,PORT))) \
		$(if $(value FIRMWARE),$(call quoted,FIRMWARE))

broker: ## FLEET=: mosquitto as `fleet broker-config` set it up there, until Ctrl-C
	@$(if $(value FLEET),true,echo "make $@: say FLEET=, the folder of fleet.toml" >&2; exit 2)
	@$(PYTHON) -m tools.setup venv natives
	@$(VENV)/python -m tools.natives mosquitto -c $(call quoted,FLEET)/broker/mosquitto.conf

csr: ## PORT= THING=: the board makes its private key, and THING.csr for `fleet provision --csr`
	$(need_port)
	@$(if $(value THING),true,echo "make $@: say THING=, the board's name in the fleet" >&2; exit 2)
	@$(VENV)/fleet board csr $(call quoted,PORT) $(call quoted,THING) $(call option,OUT,out)

deploy: ## PORT= [SETTINGS= APP= EXTENSIONS=]: bring what changed onto a running board, and restart it
	$(need_port)
	@$(VENV)/fleet deploy $(call quoted,PORT) $(call option,SETTINGS,settings) \
		$(call option,APP,app) $(call flag,FORCE,force) $(call option,EXTENSIONS,extensions)

status: ## PORT=: what runs on the board, and what its last update came to
	$(need_port)
	@$(VENV)/fleet board status $(call quoted,PORT)

logs: ## PORT=: what the board prints; types nothing
	$(need_port)
	@$(VENV)/fleet board logs $(call quoted,PORT)

repl: ## PORT=: a terminal on the board
	$(need_port)
	@$(VENV)/fleet board repl $(call quoted,PORT)

reset: ## PORT= [YES=1]: restart the board
	$(need_port)
	@$(VENV)/fleet board reset $(call quoted,PORT) $(call flag,YES,yes)

erase: ## PORT= [YES=1]: erase the board's whole flash
	$(need_port)
	@$(VENV)/fleet board erase $(call quoted,PORT) $(call flag,YES,yes)

board-test: ## PORT= [WIFI_SSID= WIFI_PASSWORD= HOST=]: every kind of update on one board, with a report
	$(need_port)
	@$(VENV)/pytest board_tests -p no:cacheprovider -o timeout=3600 --port=$(call quoted,PORT) \
		--wifi-ssid=$(call quoted,WIFI_SSID) --wifi-password=$(call quoted,WIFI_PASSWORD) \
		--host=$(call quoted,HOST) $(call option,SELF_TEST_S,self-test-s)

bench: ## the agent's download beside plain ones; [PORT= HOST=this machine's address]
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m bench $(call option,PORT,port) $(call option,HOST,host)

bench-service: ## an update and the service's answers beside strangers; fails when a bound is missed
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m bench.crowd

bench-fleet: ## 10 to 3000 light boards: blocks/s, starts, price of a block; [BOARDS=10,100 STARTS= TLS=1 POSTGRESQL=1 KEEP_PRICE=1]
	@$(PYTHON) -m tools.setup venv natives
	@$(VENV)/python -m bench.fleet $(call option,BOARDS,boards) $(call option,STARTS,starts) \
		$(call flag,TLS,tls) $(call flag,POSTGRESQL,postgresql) $(call flag,KEEP_PRICE,keep)

bench-size: ## IMAGES="OLD.bin NEW.bin ...": how small the updates between them are
	@$(if $(value IMAGES),true,echo "make $@: say IMAGES=, MicroPython's downloads, older ones first" >&2; exit 2)
	@$(PYTHON) -m tools.setup venv
	@$(VENV)/python -m bench.size $(foreach one,$(value IMAGES),$(call quoted,one))

mip: ## [EXTENSIONS=] build/mip/: the agent alone, compiled, for `mpremote mip install`
	@$(PYTHON) -m tools.setup venv natives
	@$(VENV)/python -m tools.mip
	@$(VENV)/fleet mip build/mip $(call option,EXTENSIONS,extensions)

size: ## what the firmware weighs, in flash and heap, against its budgets; a minute or two
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m tools.size

wear: ## docs/flash-wear.md: erases, programs and NVS commits of each kind of update; two minutes
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m tools.wear

troubleshooting: ## docs/troubleshooting.md: what each cause of a failed update means, and what to do
	@$(PYTHON) -m tools.setup venv
	@$(VENV)/python -m tools.troubleshooting

words: ## src/twinslot/formats/bundle_words.py: what the modules of a bundle have in common
	@$(PYTHON) -m tools.setup venv natives
	@$(VENV)/python -m tools.words

picture: ## docs/push.svg: a push that is accepted and one that is rolled back, from a real run
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m tools.picture

recording: ## docs/recording.md: a push whose main.py raises, with its seconds, from a real run
	@$(PYTHON) -m tools.setup venv umqtt natives
	@$(VENV)/python -m tools.recording

test: setup ## everything but the slow tests, five minutes at most
	@$(VENV)/pytest -n $(TESTS) -m "not slow"

test-all: setup ## every test
	@$(VENV)/pytest -n $(TESTS)

mutation: setup ## [MODULES=]: docs/testing.md, whether tests notice a wrong line; an hour at most
	@$(VENV)/python -m tools.mutation -n $(JOBS) $(MODULES)

fuzz: setup ## [TARGETS= SECONDS=600]: every parser of what strangers send, ten minutes each; fuzz/README.md
	@$(VENV)/python -m fuzz run -n $(JOBS) --seconds $(SECONDS) $(TARGETS)

fuzz-branches: setup ## [TARGETS=]: the share of each parser's branches that the kept corpus reaches
	@$(VENV)/python -m fuzz branches $(TARGETS)

compatibility: setup ## docs/aws-compatibility.md, from what the tests that prove it come to
	@$(VENV)/python -m tools.compatibility -n $(JOBS)

lint: ## style, types, and that the firmware compiles and runs on the oldest chip supported
	@$(PYTHON) -m tools.setup venv stubs
	@$(VENV)/python -m tools.lint

format: setup ## lay out the code as `make lint` wants it, and the pages at its width
	@$(VENV)/ruff check --fix --select I .
	@$(VENV)/ruff format .
	@$(VENV)/python -m tools.prose

doctor: ## what was found on this machine, which version, from where
	-@$(PYTHON) -m tools.setup
	@$(PYTHON) -m tools.doctor

release: setup ## build/release/: wheel, sdist, the agent's mip packages, checksums
	@$(VENV)/python -m tools.release

lock: setup ## work out the locked versions again
	@$(VENV)/python -m tools.lock

clean: ## remove everything that setup made
	rm -rf .venv .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
