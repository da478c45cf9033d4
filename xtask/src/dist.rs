//! `cargo xtask dist`: the static binaries.

use dispatch_testkit::rig::workspace;

use crate::Failure;
use crate::steps::{cargo_with, step, target};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The largest beacon that images should have to carry, in bytes.
const MAX_BEACON: u64 = 3 << 20;

/// Builds both and puts them into `target/dist`.
pub(crate) fn run() -> Result<(), Failure> {
    for package in ["beacon", "dispatch"] {
        let words = ["build", "--locked", "--package", package, "--profile", "dist", "--target", TARGET];
        // With `--target`, so that procedural macros, which are for this machine, are built without the flag.
        let mut build = cargo_with(&words);
        build.env("RUSTFLAGS", "-C target-feature=+crt-static");
        step(&format!("{package}, static"), &mut build)?;
    }
    let out = workspace().join("target/dist");
    std::fs::create_dir_all(&out).map_err(|error| Failure::File(out.clone(), error))?;
    println!();
    for package in ["beacon", "dispatch"] {
        let (from, to) = (target().join(TARGET).join("dist").join(package), out.join(package));
        let size = std::fs::copy(&from, &to).map_err(|error| Failure::File(from, error))?;
        println!("{}  {}", to.display(), dispatch_core::text::bytes(size));
        if package == "beacon" && size > MAX_BEACON {
            return Err(Failure::Words(format!(
                "beacon is larger than {}",
                dispatch_core::text::bytes(MAX_BEACON)
            )));
        }
    }
    Ok(())
}
