//! A `dispatch` process and a virtual server with real firmware, and the person beside them: who resets a server
//! that hangs, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lab::LabError;
use crate::lab::deadline::Deadline;
use crate::lab::image::{Recipe, build_uki};
use crate::lab::packages::{Kernel, Need, ensure_packages, kernel};
use crate::lab::process::run;
use crate::lab::qemu::{HOST, Server, ServerConfig};
use crate::program::{Program, ProgramError, Setup};

/// The virtual server's network card.
pub const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0xd1, 0x59, 0x01];

/// The virtual server's SMBIOS UUID.
pub const UUID: &str = "d15ba7c4-0000-4000-8000-000000000001";

/// How long cargo may take to build beacon.
const BUILD_LIMIT: Duration = Duration::from_mins(20);

/// How often the server is looked at while the log is silent.
const GLANCE: Duration = Duration::from_millis(250);

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// It did not come to an end.
    #[error("the virtual server was not powered off within {} s; its console:\n{console}", limit.as_secs())]
    Endless {
        /// How long it had.
        limit: Duration,
        /// What the server said last.
        console: String,
    },
}

/// One of the demo's workloads.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its file name without the extension.
    pub name: &'static str,
    /// What it does when its image is up.
    pub script: &'static str,
}

/// Boots, reports `passed`.
pub const HELLO: Workload = Workload {
    name: "hello",
    script: "beacon boot\n\
             uname -a | beacon report --title 'hello from a virtual server' --body - --verdict passed\n",
};

/// Sends three reports, as the certification images do.
pub const CERTIFICATES: Workload = Workload {
    name: "certificates",
    script: "beacon boot\n\
             for level in 1 2 3; do\n\
             echo \"level $level of SEV: certified\" >/run/cert-$level.md\n\
             beacon report -t \"certificate level $level\" -b /run/cert-$level.md -l os:demo -m \"c$level\" \\\n\
             --verdict passed\n\
             done\n",
};

/// Boots, says so, and hangs.
pub const STUCK: Workload = Workload { name: "stuck", script: "beacon boot\nwhile :; do sleep 3600; done\n" };

/// The demo's workloads, in the order of the demo.
pub const DEMO: [Workload; 3] = [CERTIFICATES, HELLO, STUCK];

/// How long a workload of the demo may take from its call to its report.
pub const DEMO_RUN: Duration = Duration::from_secs(12);

/// Gets what the lab needs, and builds beacon and the images. `cache` keeps kernels and beacon.
pub fn prepare(cache: &Path, images: &Path, workloads: &[Workload]) -> Result<(), LabError> {
    ensure_packages(Need::ALL)?;
    let beacon = static_beacon()?;
    let kernel = kernel(cache)?;
    std::fs::create_dir_all(images).map_err(LabError::io("create", images))?;
    for workload in workloads {
        build_image(&kernel, &beacon, *workload, images)?;
    }
    Ok(())
}

fn build_image(kernel: &Kernel, beacon: &Path, workload: Workload, images: &Path) -> Result<(), LabError> {
    let recipe =
        Recipe { name: workload.name, beacon, script: workload.script, extra_files: &[], command_line: None };
    build_uki(kernel, &recipe, &images.join(format!("{}.efi", workload.name)))
}

/// Builds the static beacon as `cargo xtask dist` does, and returns its path.
pub fn static_beacon() -> Result<PathBuf, LabError> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let workspace = workspace();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&workspace)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "beacon",
            "--profile",
            "dist",
            "--target",
            TARGET,
        ])
        // With `--target`, so that procedural macros, which are for this machine, are built without it.
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut cargo, BUILD_LIMIT)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("dist/beacon"))
}

/// The root of the source tree.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// A place for what is worth keeping between two runs: kernels of the lab.
#[must_use]
pub fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("dispatch/lab")
}

/// The configuration of a virtual server that boots from this program.
#[must_use]
pub fn server_config(folder: &Path, program: &Program) -> ServerConfig {
    let url = format!("http://{HOST}:{}{}", program.address.port(), program.path);
    ServerConfig::http(&folder.join("server"), MAC, UUID, &url)
}

/// What became of a virtual server's day.
#[derive(Debug, Default)]
pub struct Summary {
    /// How often a person had to reset it.
    pub resets: u32,
    /// How often the program was killed and started again.
    pub kills: u32,
}

/// What to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    GoOn,
    /// Kill the program and start it again.
    Kill,
}

/// Watches until the server is powered off. `each` sees every line of the log as it comes.
pub fn watch(
    setup: &mut Setup,
    mut program: Program,
    server: &mut Server,
    limit: Duration,
    mut each: impl FnMut(&Value) -> Then,
) -> Result<(Program, Summary), RigError> {
    let deadline = Deadline::after(limit);
    let mut summary = Summary::default();
    loop {
        if let Some(line) = program.next(GLANCE) {
            let mut lines = vec![line];
            if each(&lines[0]) == Then::Kill {
                let unread = program.kill().map_err(LabError::io("kill", &setup.binary))?;
                for line in &unread {
                    each(line);
                }
                lines.extend(unread);
                program = setup.start()?;
                summary.kills += 1;
            }
            for _ in lines.iter().filter(|line| hangs(line)) {
                server.reset()?;
                summary.resets += 1;
            }
            continue;
        }
        if server.powered_off(Duration::ZERO)? {
            return Ok((program, summary));
        }
        if deadline.left().is_zero() {
            return Err(RigError::Endless { limit, console: server.serial() });
        }
    }
}

/// Whether a run errored in a way that leaves its server hanging: a deadline, not a reboot of its own.
#[must_use]
pub fn hangs(line: &Value) -> bool {
    line["reason"]
        .as_str()
        .is_some_and(|reason| reason.starts_with("no report within") || reason.starts_with("no call"))
}
