//! A `dispatch` process and a virtual server with real firmware, and the person beside them: who resets a server
//! that hangs, and nothing else.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::lab::LabError;
use crate::lab::deadline::Deadline;
use crate::lab::image::{COMMAND_LINE, Recipe, build_uki};
use crate::lab::network::Network;
use crate::lab::packages::{Kernel, Need, busybox, ensure_packages, is_static_elf, kernel};
use crate::lab::process::{last_words, run, wait};
use crate::lab::qemu::{BootEntry, HOST, Server, ServerConfig};
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
    /// It came out otherwise than it should.
    #[error("{what}; the queue:\n{status}")]
    Wrong {
        /// What is wrong.
        what: String,
        /// How the queue stands.
        status: String,
    },
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
pub const DEMO_RUN: Duration = Duration::from_secs(15);

/// How the demo's jobs come out.
pub const DEMO_VERDICTS: [(&str, &str); 3] =
    [("certificates.efi", "passed"), ("hello.efi", "passed"), ("stuck.efi", "errored")];

/// The arguments that the demo gives to `dispatch`.
#[must_use]
pub fn demo_arguments() -> [String; 4] {
    ["--retries".into(), "1".into(), "--deadline-run".into(), format!("{}s", DEMO_RUN.as_secs())]
}

/// Checks that the demo came out as it should: every verdict, and every report's files.
pub fn check_demo(setup: &Setup) -> Result<(), RigError> {
    let status = setup.status()?;
    let wrong = |what: String| Err(RigError::Wrong { what, status: format!("{status:#}") });
    let jobs = status["jobs"].as_array().cloned().unwrap_or_default();
    for (name, verdict) in DEMO_VERDICTS {
        let Some(job) = jobs.iter().find(|job| job["name"] == name) else {
            return wrong(format!("there is no job {name}"));
        };
        if job["verdict"] != verdict {
            return wrong(format!("{name} is not {verdict}"));
        }
        let note = job["note"].as_str().unwrap_or_default();
        if verdict == "errored" && !(note.contains("attempt 1") && note.contains("attempt 2")) {
            return wrong(format!("{name} does not say what happened in its attempts"));
        }
    }
    let reports = setup.reports();
    for (name, wanted) in [("certificates", 6), ("hello", 2), ("stuck", 0)] {
        let count = reports.iter().filter(|report| report.contains(name)).count();
        if count != wanted {
            return wrong(format!("{name} has left {count} report files, not {wanted}: {reports:?}"));
        }
    }
    Ok(())
}

/// Gets what the lab needs, and builds beacon and the images. `cache` keeps what Debian's packages have.
pub fn prepare(cache: &Path, images: &Path, workloads: &[Workload]) -> Result<(), LabError> {
    let parts = Parts::get(cache)?;
    std::fs::create_dir_all(images).map_err(LabError::io("create", images))?;
    workloads
        .iter()
        .try_for_each(|workload| parts.build(*workload, None, &images.join(format!("{}.efi", workload.name))))
}

/// What all images are made of.
#[derive(Debug)]
pub struct Parts {
    kernel: Kernel,
    busybox: PathBuf,
    beacon: PathBuf,
}

impl Parts {
    /// Gets them, and builds beacon. `cache` keeps what Debian's packages have.
    pub fn get(cache: &Path) -> Result<Self, LabError> {
        ensure_packages(Need::IMAGE)?;
        Ok(Self { beacon: static_build("beacon")?, kernel: kernel(cache)?, busybox: busybox(cache)? })
    }

    /// Builds an image. Where its beacon cannot know from the firmware whom to call, it is told a `url`.
    pub fn build(&self, workload: Workload, url: Option<&str>, out: &Path) -> Result<(), LabError> {
        let command_line = url.map(|url| format!("{COMMAND_LINE} dispatch.url={url}"));
        let recipe = Recipe {
            name: workload.name,
            busybox: &self.busybox,
            beacon: &self.beacon,
            script: workload.script,
            extra_files: &[],
            command_line: command_line.as_deref(),
        };
        build_uki(&self.kernel, &recipe, out)
    }
}

/// The largest beacon that an image should have to carry, in bytes.
const MAX_BEACON: u64 = 3 << 20;

/// Builds one of the binaries so that it needs nothing of the system that it runs on, and returns its path.
pub fn static_build(package: &str) -> Result<PathBuf, LabError> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let profile = if package == "beacon" { "dist-beacon" } else { "dist" };
    let mut cargo = cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--profile",
            profile,
            "--target",
            TARGET,
        ])
        // With `--target`, so that procedural macros, which are for this machine, are built without it.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut cargo, BUILD_LIMIT)?;
    let path = target()?.join(TARGET).join(profile).join(package);
    let bytes = std::fs::read(&path).map_err(LabError::io("read", &path))?;
    if !is_static_elf(&bytes) {
        return Err(LabError::Image(format!("{} is not statically linked", path.display())));
    }
    if package == "beacon" && bytes.len() as u64 > MAX_BEACON {
        return Err(LabError::Image(format!("beacon has {} bytes, more than {MAX_BEACON}", bytes.len())));
    }
    Ok(path)
}

/// The cargo that runs us, in the root of the source tree.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    if let Some(target) =
        std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).filter(|path| path.is_relative())
    {
        // Relative to where we were called, which is not where this cargo runs.
        cargo.env("CARGO_TARGET_DIR", std::env::current_dir().unwrap_or_default().join(target));
    }
    cargo
}

/// Where cargo puts what it builds, however it was told.
pub fn target() -> Result<PathBuf, LabError> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--locked"]);
    let metadata: Value = serde_json::from_slice(&run(&mut cargo, BUILD_LIMIT)?).unwrap_or_default();
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| LabError::Image("cargo does not say where it builds".to_owned()))
}

/// The root of the source tree: of the one that cargo runs in, because two clones may share what they build.
#[must_use]
pub fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.unwrap_or(&package).to_owned()
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

/// The configuration of one of the servers on a bridge. Each has its own MAC address and UUID.
#[must_use]
pub fn bridge_config(folder: &Path, network: &Network, number: u8, boot: Vec<BootEntry>) -> ServerConfig {
    let mac = [0x52, 0x54, 0x00, 0xd1, 0x59, 0x10 + number];
    let uuid = format!("d15ba7c4-0000-4000-8000-0000000001{number:02}");
    let mut config = ServerConfig::http(&folder.join(format!("server-{number}")), mac, &uuid, "");
    config.link = network.tap(number.into());
    config.boot = boot;
    config
}

/// Watches until all servers are powered off, and returns the lines that the log had until then.
pub fn until_off(
    program: &mut Program,
    servers: &mut [Server],
    limit: Duration,
) -> Result<Vec<Value>, RigError> {
    let deadline = Deadline::after(limit);
    let mut told = Vec::new();
    loop {
        if let Some(line) = program.next(GLANCE)? {
            told.push(line);
            continue;
        }
        let mut are_off = true;
        for server in &mut *servers {
            are_off &= server.powered_off(Duration::ZERO)?;
        }
        if are_off {
            return Ok(told);
        }
        if deadline.left().is_zero() {
            let mut last =
                servers.iter().map(|server| last_words(server.serial().as_bytes())).collect::<Vec<_>>();
            last.push(told.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"));
            return Err(RigError::Endless { limit, console: last.join("\n\n") });
        }
    }
}

/// What became of a virtual server's day.
#[derive(Debug, Default)]
pub struct Summary {
    /// How often a person had to reset it.
    pub resets: u32,
    /// The lines of the log at which the program was killed and started again.
    pub killed_at: Vec<Value>,
}

/// What to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    GoOn,
    /// Kill the program and start it again.
    Kill,
}

/// Watches until the server is powered off. `each` sees every line of the log as it comes; what a killed program had
/// logged and nobody had read yet is passed over.
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
        if let Some(line) = program.next(GLANCE)? {
            let mut lines = vec![line.clone()];
            if each(&line) == Then::Kill {
                lines.extend(program.kill().map_err(LabError::io("kill", &setup.binary))?);
                program = setup.start()?;
                summary.killed_at.push(line);
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

/// How a session that a person looked at ended.
#[derive(Debug)]
pub struct Watched {
    /// How the program ended.
    pub status: ExitStatus,
    /// How often the server was reset.
    pub resets: u32,
    /// Whether the server is powered off.
    pub is_off: bool,
}

/// How long a server that was told to power off may take to do so.
const LAST_MOMENT: Duration = Duration::from_secs(20);

/// Lets a person watch the program in this terminal until it ends. The events, which tell when a server hangs, come by
/// a file that its `--on-event` appends to.
pub fn watch_in_terminal(setup: &Setup, config: &ServerConfig) -> Result<Watched, RigError> {
    let events = setup.folder.join("events");
    let failed = |error| LabError::io("run", &setup.binary)(error);
    // It asks again until the program is there.
    let mut server = Server::start(config)?;
    let hook = format!("cat >> '{}'", events.display());
    let mut program = setup.in_terminal().args(["--on-event", &hook]).spawn().map_err(failed)?;
    let (mut read, mut resets) = (0, 0);
    let status = loop {
        if let Some(status) = wait(&mut program, GLANCE).map_err(failed)? {
            break status;
        }
        let text = std::fs::read_to_string(&events).unwrap_or_default();
        // A line that is being written is read when it is whole.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let new = text.get(read..whole).unwrap_or_default();
        for _ in new.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(hangs) {
            server.reset()?;
            resets += 1;
        }
        read = whole.max(read);
    };
    // What the program has told it to do takes a moment.
    let is_off = server.powered_off(LAST_MOMENT)?;
    Ok(Watched { status, resets, is_off })
}

/// Whether a run errored in a way that leaves its server hanging: a deadline, not a reboot of its own.
#[must_use]
pub fn hangs(line: &Value) -> bool {
    line["reason"]
        .as_str()
        .is_some_and(|reason| reason.starts_with("no report within") || reason.starts_with("no call"))
}
