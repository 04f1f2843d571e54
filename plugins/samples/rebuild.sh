#!/usr/bin/env bash
# Builds the Rust plugins of this folder into built/, or with --compare builds them and compares
# each with the one that is there, byte for byte.
#
# It downloads no toolchain. It takes the wasm32 target of rustup where that is installed
# (rustup target add wasm32-unknown-unknown), else Debian's packages (apt-get install
# --no-install-recommends rustc-web rust-web-src). Another compiler makes other bytes, so that
# built/TOOLCHAIN names the one of the files that are there.
set -euo pipefail
cd "$(dirname "$0")/../.."

plugins=(tiered-pricing fraud-score item-to-item)
built=plugins/samples/built
target="${CARGO_TARGET_DIR:-target}/plugins"

say() {
    printf '%s\n' "$*" >&2
}

flags=()
if [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
    toolchain="$(rustc --version), rustup target"
    sources="$(rustc --print sysroot)/lib/rustlib/src"
elif [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust/library ]; then
    linker="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld"
    if [ ! -x "$linker" ]; then
        linker="$(command -v wasm-ld || command -v lld || true)"
    fi
    if [ -z "$linker" ]; then
        say "no linker for WebAssembly: apt-get install lld"
        exit 3
    fi
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
    flags=(-Zbuild-std=std,panic_abort)
    toolchain="$(/usr/bin/rustc --version), Debian"
    sources="$(readlink -f /usr/lib/rustlib/src/rust)"
else
    say "no compiler for wasm32-unknown-unknown; install one of:"
    say "  rustup target add wasm32-unknown-unknown"
    say "  apt-get install --no-install-recommends rustc-web rust-web-src"
    exit 3
fi

# Places of this machine are no part of a plugin.
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="\
--remap-path-prefix=$PWD=. \
--remap-path-prefix=$cargo_home=/cargo \
--remap-path-prefix=$sources=/rust \
-Clink-arg=-zstack-size=131072"

say "compiler: $toolchain"
packages=()
for plugin in "${plugins[@]}"; do
    packages+=(-p "$plugin")
done
cargo build --locked --profile plugin --target wasm32-unknown-unknown --target-dir "$target" \
    "${flags[@]}" "${packages[@]}"
# The encoder runs on this machine.
unset RUSTC RUSTC_BOOTSTRAP

different=0
for plugin in "${plugins[@]}"; do
    core="$target/wasm32-unknown-unknown/plugin/${plugin//-/_}.wasm"
    made="$target/$plugin.wasm"
    cargo run --locked --quiet -p onhand-plugin-sdk --example encode -- "$core" "$made"
    if [ "${1:-}" != --compare ]; then
        mkdir -p "$built"
        cp "$made" "$built/$plugin.wasm"
        say "$built/$plugin.wasm: $(wc -c <"$made") bytes"
    elif cmp -s "$made" "$built/$plugin.wasm"; then
        say "$plugin: the same"
    else
        say "$plugin: other bytes than $built/$plugin.wasm"
        different=1
    fi
done

if [ "${1:-}" != --compare ]; then
    printf '%s\n' "$toolchain" >"$built/TOOLCHAIN"
elif [ "$(cat "$built/TOOLCHAIN")" != "$toolchain" ]; then
    say "not compared: built/TOOLCHAIN names $(cat "$built/TOOLCHAIN")"
    exit 0
fi
exit "$different"
