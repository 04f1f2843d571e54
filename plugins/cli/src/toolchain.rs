//! Which Rust compiler makes WebAssembly here: rustup's target where it is installed, else
//! Debian's packages. Nothing is ever downloaded.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Target that plugins in Rust are built for.
pub(crate) const RUST_TARGET: &str = "wasm32-unknown-unknown";
/// Compiler of Debian's package `rustc-web`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Library sources of Debian's package `rust-web-src`.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library";

/// What `cargo build` needs beside its own arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Arguments to add.
    pub(crate) arguments: Vec<&'static str>,
    /// Environment to add.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Toolchain {
    /// Finds the compiler for a command of a project; a command that is not a plain build for
    /// [`RUST_TARGET`], or that names its standard library itself, is left as it is.
    pub(crate) fn find(command: &str) -> Self {
        let plain = command.starts_with("cargo build")
            && command.contains(RUST_TARGET)
            && !command.contains("-Zbuild-std");
        let sysroot = || ask("rustc", &["--print", "sysroot"]).map(PathBuf::from);
        if !plain || std::env::var_os("RUSTC").is_some() {
            return Self::default();
        }
        let sysroot = sysroot();
        let has = |root: &PathBuf| root.join("lib/rustlib").join(RUST_TARGET).is_dir();
        let debian = Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_SOURCES).is_dir();
        if sysroot.as_ref().is_some_and(has) || !debian {
            return Self::default();
        }
        let mut environment =
            vec![("RUSTC", DEBIAN_RUSTC.to_owned()), ("RUSTC_BOOTSTRAP", "1".to_owned())];
        if let Some(linker) = linker(sysroot.as_deref()) {
            environment.push(("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker));
        }
        Self { arguments: vec!["-Zbuild-std=std,panic_abort"], environment }
    }
}

/// Returns the linker that comes with a toolchain, else one in `PATH`.
fn linker(sysroot: Option<&Path>) -> Option<String> {
    let host = ask("rustc", &["-vV"])?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
    let shipped = sysroot.map(|root| root.join("lib/rustlib").join(host).join("bin/rust-lld"));
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("wasm-ld")).find(|file| file.is_file())
    });
    let linker = shipped.filter(|file| file.is_file()).or(found)?;
    Some(linker.display().to_string())
}

/// Returns what a program writes, without its last line's end.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a plain build for the target is changed: whoever names more, decides more.
    #[test]
    fn other_commands_are_left_as_they_are() {
        for command in [
            "make",
            "cargo build --release",
            "cargo +nightly build --target wasm32-unknown-unknown",
            "cargo build --target wasm32-unknown-unknown -Zbuild-std=std",
        ] {
            assert_eq!(Toolchain::find(command), Toolchain::default(), "{command}");
        }
    }
}
