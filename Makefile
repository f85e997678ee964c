# SPDX-License-Identifier: Apache-2.0
# The front door.  CMake presets do the work; each build is a folder of build/.

DATA ?= $(CURDIR)/build/data
HTTP ?= 127.0.0.1:3100
TIME ?= 60
SEED ?= $(shell date +%s)

help:
	@echo 'make run                 build, start the server, this machine'"'"'s logs flowing in'
	@echo 'make test                everything that must pass'
	@echo 'make build               the release binary: build/release/sawlog'
	@echo 'make bench [CORPUS=DIR] [MB=512] [ONLY=ingest,tail,search,latency]   measure'
	@echo 'make fuzz  [TIME=60] [SEED=n]     each fuzz target for TIME seconds'
	@echo 'make fault [TIME=60] [SEED=n]     every damage of a store; its model, then kills and resends for TIME seconds each, and of a cluster'
	@echo 'make format              let clang-format decide the layout'

build/release/build.ninja: CMakeLists.txt CMakePresets.json
	@packaging/install build
	cmake --preset release >/dev/null

build: build/release/build.ninja
	@cmake --build build/release --target sawlog

run: build
	build/release/sawlog serve -c examples/host.yaml --data $(DATA) --http $(HTTP)

test:
	@tests/run

fuzz:
	@packaging/install build && packaging/install test
	tests/fuzz $(TIME) $(SEED)

fault: build
	@packaging/install test
	cmake --build build/release --target model_test damage_test
	build/release/src/store/damage_test all
	build/release/src/store/model_test $(SEED) $(TIME)
	tests/scenario/fault.py --time $(TIME) --seed $(SEED)

bench: build
	@packaging/install test
	bench/run $(if $(CORPUS),--corpus $(CORPUS)) $(if $(MB),--mb $(MB)) $(if $(ONLY),--only $(ONLY))

format:
	git ls-files -- '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build

.PHONY: help build run test fuzz fault bench format clean
