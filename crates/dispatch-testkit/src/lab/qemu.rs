//! One virtual server with real firmware, run by QEMU in software emulation.
//!
//! A reset of the guest is a reset; a power-off of the guest ends QEMU. The server ends when the [`Server`] is
//! dropped, and also when the process that owns it dies.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dispatch_boot::stub::{Arch, Stub, build, pe};
use serde_json::Value;

use super::LabError;
use super::load_option::{
    DISK, LoadOption, Mac, NETWORK_CARD, PAUSE_DISK, PciSlot, RETRY_DISK, disk_boot_option, http_boot_option,
    set_boot_order,
};
use super::machine::{Machine, emulate};
use super::network::Link;
use super::nvram::VariableStore;
use super::process::{last_words_of, prefixed, wait};
use super::secure_boot::{Certificate, enrol};
use super::{qmp, serial};

/// The host, as a server on the user network sees it.
pub const HOST: &str = "10.0.2.2";

/// How long a monitor command may take.
const MONITOR_LIMIT: Duration = Duration::from_secs(10);
/// How long QEMU may take to open its monitor.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long [`BootEntry::Retry`] waits.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// What [`BootEntry::Pause`] runs: `BootServices->Stall(3,000,000)`, then back with `EFI_ABORTED`.
const PAUSE_CODE: &[u8] = &[
    0x48, 0x83, 0xec, 0x28, // sub rsp, 40
    0x48, 0x8b, 0x42, 0x60, // mov rax, [rdx + 0x60]
    0xb9, 0xc0, 0xc6, 0x2d, 0x00, // mov ecx, 3_000_000
    0xff, 0x90, 0xf8, 0x00, 0x00, 0x00, // call [rax + 0xf8]
    0x48, 0xb8, 0x15, 0, 0, 0, 0, 0, 0, 0x80, // mov rax, EFI_ABORTED
    0x48, 0x83, 0xc4, 0x28, // add rsp, 40
    0xc3, // ret
];

/// Kills QEMU when the lab's process has died, which closes this script's standard input. QEMU removes its pid file
/// at an orderly end, so a number that belongs to another process by now is not hit.
const WATCHER: &str = r#"cat >/dev/null; [ -e "$1" ] || sleep 1; [ -e "$1" ] && kill -9 "$(cat "$1")""#;

/// Something the firmware boots, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEntry {
    /// This URI over HTTP, the address by DHCP; over IPv6 if the URI's host is an IPv6 address.
    Http(String),
    /// The URI that DHCP names, over HTTP.
    HttpFromDhcp,
    /// The [default program](Machine::default_program) of [`ServerConfig::disk`].
    Disk,
    /// Waits for two seconds and resets the machine, so that it begins with its first entry again. As the last entry
    /// it keeps a server asking when it was refused or given nothing; without it the firmware goes through what it
    /// finds itself, which takes two minutes, and stays in its shell. Not for Arm, nor with Secure Boot.
    Retry,
    /// Waits for three seconds and gives way to the next entry. Only for 64-bit x86.
    ///
    /// EDK2 2022.11 starts IPv6 when it is first asked to boot over it, and gives up in the same moment, because its
    /// link-local address is not certain yet (RFC 4862 §5.4). So this belongs between two entries for IPv6.
    Pause,
}

/// What a server is like.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What kind of machine it is.
    pub machine: Machine,
    /// A directory of its own for flash, logs and sockets; created if need be.
    pub dir: PathBuf,
    /// The MAC address of its network card.
    pub mac: Mac,
    /// Its SMBIOS UUID, in the usual notation.
    pub uuid: String,
    /// How it is connected.
    pub link: Link,
    /// Its memory, in MiB: 192 is enough for a lab image of 27 MB; with 128 it crashes in the firmware.
    pub memory_mib: u32,
    /// What it boots, first to last.
    pub boot: Vec<BootEntry>,
    /// Another firmware than Debian's usual one.
    pub firmware: Option<PathBuf>,
    /// Another template for its variables than the empty one.
    pub vars_template: Option<PathBuf>,
    /// Secure Boot: it starts only what this certificate vouches for.
    pub trusted: Option<Certificate>,
    /// A directory that the server sees as a disk with a FAT file system; it cannot write to it.
    pub disk: Option<PathBuf>,
}

impl ServerConfig {
    /// A server that boots this URI at every start, and tries again if that fails.
    #[must_use]
    pub fn http(dir: &Path, mac: Mac, uuid: &str, uri: &str) -> Self {
        Self {
            machine: Machine::default(),
            dir: dir.to_owned(),
            mac,
            uuid: uuid.to_owned(),
            link: Link::User,
            memory_mib: 256,
            boot: vec![BootEntry::Http(uri.to_owned()), BootEntry::Retry],
            firmware: None,
            vars_template: None,
            trusted: None,
            disk: None,
        }
    }

    fn load_options(&self) -> Result<Vec<LoadOption>, LabError> {
        let option = |(number, entry): (usize, &BootEntry)| match entry {
            BootEntry::Http(uri) => {
                Ok(http_boot_option(self.mac, Some(uri), &format!("lab {number}: HTTP"))?)
            }
            BootEntry::HttpFromDhcp => {
                let mac = self.mac.iter().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02X}");
                    text
                });
                Ok(http_boot_option(self.mac, None, &format!("UEFI HTTPv4 (MAC:{mac})"))?)
            }
            BootEntry::Disk if self.disk.is_none() => {
                Err(LabError::Config("it shall boot from a disk but has none".to_owned()))
            }
            BootEntry::Disk => Ok(disk_boot_option(DISK, &format!("lab {number}: disk"))),
            BootEntry::Pause => Ok(disk_boot_option(PAUSE_DISK, &format!("lab {number}: pause"))),
            BootEntry::Retry => Ok(disk_boot_option(RETRY_DISK, &format!("lab {number}: retry"))),
        };
        self.boot.iter().enumerate().map(option).collect()
    }

    fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    /// Keeps the directory reachable by a short path, see [`Server::monitor`].
    dir_handle: File,
    qemu: Child,
    /// Lives as long as its standard input, which this process holds.
    watcher: Child,
}

impl Server {
    /// Writes the server's variables and switches it on.
    ///
    /// # Errors
    ///
    /// [`LabError`] if the firmware is missing, the variables do not fit, or QEMU does not start.
    pub fn start(config: &ServerConfig) -> Result<Self, LabError> {
        let dir = &config.dir;
        fs::create_dir_all(dir).map_err(LabError::io("create", dir))?;
        let dir = dir.canonicalize().map_err(LabError::io("find", dir))?;
        for stale in ["qmp.sock", "qemu.pid"] {
            // Usually there is none.
            let _ = fs::remove_file(dir.join(stale));
        }
        write_variables(config, &dir.join("vars.fd"))?;
        let command = command(config, &dir)?;
        Self::spawn(dir, command)
    }

    /// Resets the machine as its reset button does.
    ///
    /// # Errors
    ///
    /// [`LabError`] if QEMU has ended or does not answer.
    pub fn reset(&mut self) -> Result<(), LabError> {
        self.command("system_reset", "a reset").map(drop)
    }

    /// The state of the machine in QEMU's words: `running`, `paused`, `internal-error`, …; `off` if QEMU has ended.
    ///
    /// # Errors
    ///
    /// [`LabError`] if QEMU does not answer.
    pub fn status(&mut self) -> Result<String, LabError> {
        if self.powered_off(Duration::ZERO)? {
            return Ok("off".to_owned());
        }
        let answer = self.command("query-status", "a question for its status")?;
        Ok(answer.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned())
    }

    /// Waits at most `limit` for the guest to power itself off; true if it did, or had done so before.
    ///
    /// # Errors
    ///
    /// [`LabError::Ended`] if QEMU ended in any other way than an orderly one.
    pub fn powered_off(&mut self, limit: Duration) -> Result<bool, LabError> {
        let Some(status) =
            wait(&mut self.qemu, limit).map_err(LabError::io("wait for QEMU in", &self.dir))?
        else {
            return Ok(false);
        };
        self.dismiss_watcher();
        if status.success() { Ok(true) } else { Err(self.ended(&status.to_string(), "running")) }
    }

    /// What the server has written to its serial console so far, as plain lines; empty before the first.
    #[must_use]
    pub fn serial(&self) -> String {
        serial::plain_text(&fs::read(self.dir.join("serial.log")).unwrap_or_default())
    }

    /// QEMU's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.qemu.id()
    }

    fn spawn(dir: PathBuf, mut command: Command) -> Result<Self, LabError> {
        let stderr = dir.join("stderr.log");
        let log = File::create(&stderr).map_err(LabError::io("create", &stderr))?;
        let dir_handle = File::open(&dir).map_err(LabError::io("open", &dir))?;
        let qemu = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir(&dir).spawn();
        let mut qemu = qemu.map_err(LabError::io("start QEMU in", &dir))?;
        // A group of its own: what ends our group from a terminal shall not end the watcher before its work.
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "sh"])
            .arg(dir.join("qemu.pid"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let watcher = watcher.map_err(|error| {
            let _ = qemu.kill();
            let _ = qemu.wait();
            LabError::io("start the watcher of QEMU in", &dir)(error)
        })?;
        let mut server = Self { dir, dir_handle, qemu, watcher };
        server.wait_for_monitor()?;
        Ok(server)
    }

    /// QEMU has started when its monitor answers; before that it may still find fault with its command line.
    fn wait_for_monitor(&mut self) -> Result<(), LabError> {
        let step = Duration::from_millis(200);
        let mut waited = Duration::ZERO;
        loop {
            match qmp::execute(&self.monitor(), "query-status", &Value::Null, step) {
                Ok(_) => return Ok(()),
                Err(error) if waited >= START_LIMIT => return Err(error),
                Err(_) => waited += step,
            }
            let ended = self.qemu.try_wait().map_err(LabError::io("wait for QEMU in", &self.dir))?;
            if let Some(status) = ended {
                return Err(self.ended(&status.to_string(), "starting"));
            }
        }
    }

    fn command(&mut self, name: &str, doing: &'static str) -> Result<Value, LabError> {
        if self.powered_off(Duration::ZERO)? {
            return Err(self.ended("the guest had powered itself off", doing));
        }
        qmp::execute(&self.monitor(), name, &Value::Null, MONITOR_LIMIT)
    }

    /// The monitor's socket, by way of the open directory: the path of a unix socket has room for 107 bytes only.
    fn monitor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/qmp.sock", self.dir_handle.as_raw_fd()))
    }

    fn ended(&self, status: &str, doing: &'static str) -> LabError {
        LabError::Ended {
            status: status.to_owned(),
            doing,
            stderr: last_words_of(&self.dir.join("stderr.log")),
        }
    }

    /// QEMU is gone, so that nobody has to watch it.
    fn dismiss_watcher(&mut self) {
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watcher first, so that it cannot aim at a process id that is free again.
        self.dismiss_watcher();
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn write_variables(config: &ServerConfig, out: &Path) -> Result<(), LabError> {
    let sibling = config.firmware.as_deref().and_then(variables_beside);
    let mut store = match config.vars_template.as_deref().or(sibling.as_deref()) {
        Some(template) => VariableStore::parse(fs::read(template).map_err(LabError::io("read", template))?)?,
        None => config.machine.empty_variables()?,
    };
    if let Some(certificate) = &config.trusted {
        enrol(&mut store, certificate)?;
    }
    set_boot_order(&mut store, &config.load_options()?)?;
    fs::write(out, store.into_bytes()).map_err(LabError::io("write", out))
}

/// The empty variables that belong to a firmware: `OVMF_VARS_4M.fd` beside `OVMF_CODE_4M.fd`.
fn variables_beside(firmware: &Path) -> Option<PathBuf> {
    let name = firmware.file_name()?.to_str()?.replace("CODE", "VARS").replace(".secboot", "");
    Some(firmware.with_file_name(name)).filter(|file| file != firmware && file.is_file())
}

fn command(config: &ServerConfig, dir: &Path) -> Result<Command, LabError> {
    let (qemu, machine) = config.machine.qemu()?;
    let (prefix, netdev) = match &config.link {
        Link::User => (&[][..], "user,id=n0,ipv6=off".to_owned()),
        Link::Tap { prefix, name } => {
            (&prefix[..], format!("tap,id=n0,ifname={name},script=no,downscript=no"))
        }
    };
    let firmware = config.firmware.as_deref().unwrap_or(config.machine.firmware());
    let firmware = firmware.canonicalize().map_err(LabError::io("find", firmware))?;
    let mut command = prefixed(prefix, &qemu);
    emulate(&mut command, machine);
    command
        .args(["-m", &format!("{}M", config.memory_mib)])
        .args(["-no-user-config", "-nodefaults", "-display", "none"])
        .args([
            "-serial",
            "file:serial.log",
            "-qmp",
            "unix:qmp.sock,server=on,wait=off",
            "-pidfile",
            "qemu.pid",
        ])
        .args(["-uuid", &config.uuid])
        .arg("-drive")
        .arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={}", escape(&firmware)?))
        .args(["-drive", "if=pflash,format=raw,unit=1,file=vars.fd"])
        .args(["-netdev", &netdev, "-device"])
        // An empty romfile: QEMU's own network boot program would take the card over.
        .arg(format!(
            "virtio-net-pci,netdev=n0,mac={},romfile=,addr={}",
            config.mac_text(),
            NETWORK_CARD.device
        ));
    // Newer EDK2 has no network without a source of random numbers.
    command.args(["-device", "virtio-rng-pci,addr=4"]);
    // Without these the firmware tries PXE before what it finds for HTTP, which takes minutes.
    for version in ["IPv4", "IPv6"] {
        command.arg("-fw_cfg").arg(format!("name=opt/org.tianocore/{version}PXESupport,string=n"));
    }
    if let Some(disk) = &config.disk {
        add_disk(&mut command, "disk", DISK, disk)?;
    }
    if config.boot.contains(&BootEntry::Retry) {
        let program = build(Stub::Reboot { after: RETRY_PAUSE }, Arch::X86_64, "lab: retry");
        add_disk(&mut command, "retry", RETRY_DISK, &program_disk(&dir.join("retry"), &program)?)?;
    }
    if config.boot.contains(&BootEntry::Pause) {
        let program = pe::write(pe::Machine::X86_64, b"lab", PAUSE_CODE);
        add_disk(&mut command, "pause", PAUSE_DISK, &program_disk(&dir.join("pause"), &program)?)?;
    }
    command.current_dir(dir);
    Ok(command)
}

/// Gives the machine a disk with a FAT file system made of this directory.
fn add_disk(command: &mut Command, id: &str, slot: PciSlot, tree: &Path) -> Result<(), LabError> {
    let tree = tree.canonicalize().map_err(LabError::io("find", tree))?;
    command
        .arg("-drive")
        .arg(format!("if=none,id={id},format=raw,readonly=on,file=fat:{}", escape(&tree)?))
        .arg("-device")
        .arg(format!("virtio-blk-pci,drive={id},addr={}", slot.device));
    Ok(())
}

/// Makes a directory that boots this program when it is a disk of an x86 machine.
fn program_disk(tree: &Path, program: &[u8]) -> Result<PathBuf, LabError> {
    let file = tree.join(Machine::X86_64.default_program());
    let boot = file.parent().unwrap_or(tree);
    fs::create_dir_all(boot).map_err(LabError::io("create", boot))?;
    fs::write(&file, program).map_err(LabError::io("write", &file))?;
    Ok(tree.to_owned())
}

/// A path as a value in an option list, where a comma is written twice.
fn escape(path: &Path) -> Result<String, LabError> {
    let text = path.to_str().ok_or_else(|| LabError::Config(format!("{} is no UTF-8", path.display())))?;
    Ok(text.replace(',', ",,"))
}
