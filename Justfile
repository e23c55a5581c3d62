# Shoal's commands. `just --list` shows them; `.ci/setup just NAME` first installs what is missing.

set shell := ["bash", "-euo", "pipefail", "-c"]

profile := env("SHOAL_PROFILE", "ci")
shoal := "target" / profile / "shoal"

# What a recipe needs of the workspace; all of it with its tests where SHOAL_BUILD_ALL is set, as CI does: cargo chooses the
# features of shared crates by what is built together, and would build most of them once a step.
cargo_build := "cargo build --locked --profile " + profile + if env("SHOAL_BUILD_ALL", "") == "" { "" } else { " --workspace --bins --tests" }

# What this file offers.
default:
    @just --list --unsorted

# Installs what building and testing need (apt, pip; nothing outside target/ but the distribution's packages).
setup:
    SHOAL_SETUP=test .ci/setup true

# Builds `shoal` once, in the profile that tests and demo share.
build:
    {{cargo_build}} -p node-agent

# A local grid to put real files into: prints endpoint, keys and a line to copy. Options go on: `just demo --drives 6`.
demo *options: build
    {{shoal}} demo {{options}}

# Serves with a configuration file: `just run --config shoal.toml`.
run *options: build
    {{shoal}} serve {{options}}

# Reads only: formatting, lints, the repository's own rules.
check:
    cargo fmt --all --check
    cargo clippy --locked --profile {{profile}} --workspace --all-targets -- -D warnings

# Writes: formatting and what clippy can mend by itself.
fix:
    cargo fmt --all
    cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged

# Everything that CI runs, each step with its minutes.
test:
    .ci/steps

# Examples are linted only.
# Unit, property, power-cut and conformance tests alone. Names of tests go on: `just unit pack`.
unit *options:
    cargo test --locked --profile {{profile}} --workspace --tests {{options}}

# Real S3 clients (awscli, boto3, the AWS SDK for JavaScript, s3cmd, rclone, restic, minio-js) against a demo grid.
clients *options: build
    SHOAL_BIN={{shoal}} node-agent/tests/clients/run {{options}}

# The status page in a real browser, wide and as on a phone. Screenshots land in target/page.
page *options: build
    SHOAL_BIN={{shoal}} node-agent/tests/page/run {{options}}

# `just release aarch64` for the agent of one target; smaller than what `just cross` builds.
# What is published, with fat link-time optimisation: this host's binary, and the agents that image, deb and oci take.
release *targets="aarch64 armv7 x86_64":
    cargo build --locked --release -p node-agent
    ls -l target/release/shoal
    for target in {{targets}}; do CARGO_PROFILE_BOARD_LTO=fat cross-toolchains/build "$target"; done

# The static agent for boards: `just cross aarch64`, `armv7` or `x86_64`. Lands in target/cross.
cross target profile="board":
    cross-toolchains/build {{target}} {{profile}}

# Tests of crates on a board's processor, under qemu-user: `just cross-test armv7 -p codec`.
cross-test target *options:
    cross-toolchains/build {{target}} emulated test --tests {{options}}

# The image of a board, out of pinned packages and what `just cross` built: `just image qemu-virt-arm64`. Lands in target/image.
image board *options:
    {{cargo_build}} -p image
    target/{{profile}}/shoal-image build {{board}} {{options}}

# Pins the newest packages of the images' Debian release.
image-lock:
    {{cargo_build}} -p image
    target/{{profile}}/shoal-image lock

# Runs a board's image in QEMU: its console here, S3 at a port of this computer.
boot board:
    {{cargo_build}} -p image
    SHOAL_IMAGE_BIN=target/{{profile}}/shoal-image hil-tests/run boot {{board}}

# A Debian package of the static agent: `just deb arm64`, amd64 or armhf, of what `just cross` built. Lands in target/image.
deb architecture *options:
    {{cargo_build}} -p image
    target/{{profile}}/shoal-image deb {{architecture}} {{options}}

# A container image of the static agents, without an engine: `just oci amd64 arm64 armhf`. Lands in target/image.
oci +architectures:
    {{cargo_build}} -p image
    target/{{profile}}/shoal-image oci {{architectures}}

# Boards from the card to S3, in QEMU with the images that were built, and real ones where SHOAL_HIL_BOARDS describes them.
hil *options: build
    {{cargo_build}} -p image
    SHOAL_BIN={{shoal}} SHOAL_IMAGE_BIN=target/{{profile}}/shoal-image hil-tests/run {{options}}

# Instructions a byte of PUT and GET, by stage, on a board's processor: `just instructions armv7`. Minutes; docs/bench.md has the results.
instructions target: (cross target)
    cross-toolchains/build {{target}} board -p codec --example stages
    hil-tests/run instructions {{target}}

# PUT and GET of 4 KiB, 1 MiB and 64 MiB at 1, 8 and 32 in flight, with CPU, memory and the disk's own rate. Another server:
# `just bench --endpoint http://HOST:PORT --access-key … --secret-key … --pid PID`.
bench *options:
    cargo build --locked --release -p node-agent -p load-generator
    target/release/shoal-load {{options}}

# The same on a grid of several nodes, through one of them and through all: `just bench-grid 3 copies:3`.
bench-grid nodes="3" profile="copies:3" *options:
    cargo build --locked --release -p node-agent -p load-generator
    target/release/shoal-load --nodes {{nodes}} --profile {{profile}} {{options}}
    target/release/shoal-load --nodes {{nodes}} --profile {{profile}} --through 0 {{options}}

# A bucket of KEYS keys: memory while it grows, and listings at its start, middle and end.
scale keys="1000000":
    cargo bench --locked --profile {{profile}} -p meta-store --bench scale -- {{keys}}

# What SHARDS metadata shards on NODES nodes cost while nothing happens.
shards shards="100" nodes="3":
    cargo bench --locked --profile {{profile}} -p meta-store --bench shards -- {{shards}} {{nodes}}

# Rot, lost and cloned drives, kill -9 under load, memory under load: against the real binary.
faults *options: build
    {{cargo_build}} -p load-generator
    SHOAL_BIN={{shoal}} SHOAL_LOAD_BIN=target/{{profile}}/shoal-load node-agent/tests/faults/run {{options}}

# Nodes on hosts of their own (network namespaces): growth, kills, partitions, slow links, doors; every history is checked.
# Another seed, a longer run, some tests: `just grid --seed 7 --long -k partition`.
grid *options: build
    SHOAL_BIN={{shoal}} node-agent/tests/grid/run {{options}}

# Figures of a grid of four hosts: joining, fail-over, rebuild, idle CPU; rows for docs/bench.md.
grid-figures: build
    node-agent/tests/grid/run --version >/dev/null
    cd node-agent/tests/grid && SHOAL_BIN=../../../{{shoal}} ../../../target/tools/grid/bin/python figures.py

# The long work: 200 kills under load, and the grid's faults for longer.
torture: build
    SHOAL_BIN={{shoal}} SHOAL_KILLS=200 node-agent/tests/faults/run -k kill
    SHOAL_BIN={{shoal}} node-agent/tests/grid/run --long

# Searches one fuzz target for SECONDS with libFuzzer, starting from its committed corpus. New finds stay in target/fuzz.
fuzz target seconds="300":
    command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
    mkdir -p target/fuzz/{{target}}
    cd node-agent && RUSTC_BOOTSTRAP=1 SHOAL_FUZZ_TARGET={{target}} cargo fuzz run --target-dir ../target/fuzz/build any \
        ../target/fuzz/{{target}} crates/fuzz-targets/corpus/{{target}} -- -max_total_time={{seconds}}
