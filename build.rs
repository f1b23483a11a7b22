//! Builds the programs of the embedded images (`images/`): freestanding, static, a few kilobytes each.

use std::{env, path::Path, process::Command};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let rustc = env::var("RUSTC").expect("cargo sets RUSTC");
    println!("cargo:rerun-if-changed=images");
    for program in ["pause", "hello"] {
        let status = Command::new(&rustc)
            .args(["--edition", "2024", "--crate-type", "bin", "--target", &target, "-A", "dead_code"])
            .args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "strip=symbols", "-C", "relocation-model=static"])
            .args(["-C", "linker=rust-lld", "-C", "linker-flavor=ld.lld", "-C", "link-args=-static"])
            .arg(format!("images/{program}.rs"))
            .arg("-o")
            .arg(Path::new(&out).join(program))
            .status()
            .expect("rustc can be started");
        assert!(status.success(), "images/{program}.rs does not build for {target}");
    }
}
