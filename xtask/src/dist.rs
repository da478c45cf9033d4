//! `cargo xtask dist`: the static binaries.

use dispatch_testkit::rig::{static_build, target};

use crate::Failure;

/// Builds both and puts them into `target/dist`.
pub(crate) fn run() -> Result<(), Failure> {
    println!("\n── static binaries");
    let out = target()?.join("dist");
    std::fs::create_dir_all(&out).map_err(|error| Failure::File(out.clone(), error))?;
    for package in ["beacon", "dispatch"] {
        let (from, to) = (static_build(package)?, out.join(package));
        let size = std::fs::copy(&from, &to).map_err(|error| Failure::File(from, error))?;
        println!("{}  {}", to.display(), dispatch_core::text::bytes(size));
    }
    Ok(())
}
