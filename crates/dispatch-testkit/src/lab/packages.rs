//! What the lab needs from Debian (or a distribution that has its packages), and how it gets it.
//!
//! Programs and firmware are installed as packages, if we may. The kernel never is: to install one runs hooks that
//! rebuild the initramfs and the boot menu of the developer's own machine. It is downloaded and unpacked instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::LabError;
use super::process::{find_tool, run};

/// OVMF's code, the firmware itself.
pub const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// OVMF's empty variable store, which every server gets a copy of.
pub const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The same for Arm.
pub const AAVMF_CODE: &str = "/usr/share/AAVMF/AAVMF_CODE.fd";
/// A variable store for Arm. Not the one that is empty: Debian's is so empty that it is not even a store.
pub const AAVMF_VARS: &str = "/usr/share/AAVMF/AAVMF_VARS.snakeoil.fd";
/// systemd's EFI stub, which starts the kernel inside a unified kernel image.
pub const EFI_STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Depends on the kernel package of the day; "cloud" is the small kernel for virtual machines.
const KERNEL_METAPACKAGE: &str = "linux-image-cloud-amd64";

/// The programs in an image.
const BUSYBOX: &str = "busybox-static";

/// Longer than what the script below allows itself, so that it can tidy up.
const INSTALL_LIMIT: Duration = Duration::from_mins(20);
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(5);
const QUERY_LIMIT: Duration = Duration::from_mins(1);

/// Installs the packages given as `$@`. No daemon may start, nobody wants one; and nothing of the machine may be
/// removed in exchange.
const INSTALL: &str = r#"set -eu
# What became root by `su` may not have these, and dpkg insists on them.
export PATH="$PATH:/usr/sbin:/sbin"
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
# One repository that is down must not matter, if the packages are elsewhere.
timeout 240 apt-get update || true
DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends --no-remove "$@"
"#;

/// Something the lab uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The machine: `qemu-system-x86_64`.
    Qemu,
    /// Its firmware.
    Ovmf,
    /// systemd's EFI stub.
    EfiStub,
    /// `objcopy`, which puts an image together.
    Objcopy,
    /// `depmod`, which knows what modules depend on.
    Depmod,
    /// `ip`, for networks in namespaces of their own.
    Ip,
    /// `avahi-daemon`, its clients, and the D-Bus that they need: mDNS as others speak it.
    Avahi,
    /// `dnsmasq`, which says by DHCP what to boot, and a name server. Not the package that runs it as a service.
    Dnsmasq,
    /// The machine for Arm: `qemu-system-aarch64`.
    QemuArm,
    /// Its firmware.
    Aavmf,
    /// `xorriso`, which makes ISO images.
    Xorriso,
    /// `mformat` and `mcopy`, which make FAT file systems without mounting any.
    Mtools,
    /// `sbsign`, which signs EFI programs.
    Sbsign,
    /// `openssl`, which makes the keys for that.
    Openssl,
    /// What `cargo xtask bench` compares with; nothing else needs it.
    Nginx,
    /// The server of the database, for the store's tests.
    Postgres,
}

impl Need {
    /// Everything that a test needs.
    pub const ALL: &[Self] = &[
        Self::Qemu,
        Self::Ovmf,
        Self::EfiStub,
        Self::Objcopy,
        Self::Depmod,
        Self::Ip,
        Self::Avahi,
        Self::Dnsmasq,
        Self::QemuArm,
        Self::Aavmf,
        Self::Xorriso,
        Self::Mtools,
        Self::Sbsign,
        Self::Openssl,
        Self::Nginx,
        Self::Postgres,
    ];
    /// What the demo takes.
    pub const DEMO: &[Self] = &[Self::Qemu, Self::Ovmf, Self::EfiStub, Self::Objcopy, Self::Depmod];
    /// What the tests without a virtual server use.
    pub const QUICK: &[Self] = &[Self::Ip, Self::Avahi, Self::Dnsmasq, Self::Nginx, Self::Postgres];
    /// What it takes to build an image.
    pub const IMAGE: &[Self] = &[Self::EfiStub, Self::Objcopy, Self::Depmod];
    /// What it takes to run a server.
    pub const SERVER: &[Self] = &[Self::Qemu, Self::Ovmf];

    /// One or more packages, with a space between.
    fn packages(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86",
            Self::Ovmf => "ovmf",
            Self::EfiStub => "systemd-boot-efi",
            Self::Objcopy => "binutils",
            Self::Depmod => "kmod",
            Self::Ip => "iproute2",
            Self::Avahi => "avahi-daemon avahi-utils dbus",
            Self::Dnsmasq => "dnsmasq-base",
            Self::QemuArm => "qemu-system-arm",
            Self::Aavmf => "qemu-efi-aarch64",
            Self::Xorriso => "xorriso",
            Self::Mtools => "mtools",
            Self::Sbsign => "sbsigntool",
            Self::Openssl => "openssl",
            Self::Nginx => "nginx-light",
            Self::Postgres => "postgresql",
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::Qemu => find_tool("qemu-system-x86_64").is_some(),
            Self::Ovmf => [OVMF_CODE, OVMF_VARS].iter().all(|file| Path::new(file).is_file()),
            Self::EfiStub => Path::new(EFI_STUB).is_file(),
            Self::Objcopy => find_tool("objcopy").is_some(),
            Self::Depmod => find_tool("depmod").is_some(),
            Self::Ip => find_tool("ip").is_some(),
            Self::Avahi => ["avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon"]
                .iter()
                .all(|tool| find_tool(tool).is_some()),
            Self::Dnsmasq => find_tool("dnsmasq").is_some(),
            Self::QemuArm => find_tool("qemu-system-aarch64").is_some(),
            Self::Aavmf => [AAVMF_CODE, AAVMF_VARS].iter().all(|file| Path::new(file).is_file()),
            Self::Xorriso => find_tool("xorriso").is_some(),
            Self::Mtools => ["mformat", "mmd", "mcopy"].iter().all(|tool| find_tool(tool).is_some()),
            Self::Sbsign => find_tool("sbsign").is_some(),
            Self::Openssl => find_tool("openssl").is_some(),
            Self::Nginx => find_tool("nginx").is_some(),
            Self::Postgres => crate::postgres::is_installed(),
        }
    }
}

/// Makes sure that these are there, by installing packages if something is missing and we are root or may become it
/// without a password.
///
/// # Errors
///
/// [`LabError::MissingPackages`], with the line for a person to run, if we may not or it did not work.
pub fn ensure_packages(needs: &[Need]) -> Result<(), LabError> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let error = |why: String| LabError::MissingPackages {
        why,
        line: format!(
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            missing.join(" ")
        ),
    };
    if find_tool("apt-get").is_none() {
        return Err(error("and this machine has no apt-get, so look for its names of them".to_owned()));
    }
    let Some(mut command) = root_shell() else {
        return Err(error("and only root can install them".to_owned()));
    };
    run(command.args(["-c", INSTALL, "sh"]).args(&missing), INSTALL_LIMIT)
        .map_err(|failure| error(failure.to_string()))?;
    if self::missing(needs).is_empty() {
        return Ok(());
    }
    Err(error("they were installed, but their files are not where Debian has them".to_owned()))
}

/// The statically linked busybox: this machine's, if it has one, else Debian's, unpacked into `cache_dir`. It is not
/// installed: its package excludes the ordinary busybox, which belongs to the machine's own initramfs.
///
/// # Errors
///
/// [`LabError::Command`] if it cannot be downloaded.
pub fn busybox(cache_dir: &Path) -> Result<PathBuf, LabError> {
    let is_static = |file: &PathBuf| fs::read(file).is_ok_and(|bytes| is_static_elf(&bytes));
    let home = cache_dir.join(BUSYBOX);
    let cached =
        || ["bin/busybox", "usr/bin/busybox"].map(|name| home.join(name)).into_iter().find(is_static);
    if let Some(file) = find_tool("busybox").filter(is_static).or_else(cached) {
        return Ok(file);
    }
    fs::create_dir_all(cache_dir).map_err(LabError::io("create", cache_dir))?;
    download(BUSYBOX, &home, |_| Ok(()))?;
    cached()
        .ok_or_else(|| LabError::Image(format!("{BUSYBOX} has no static busybox; remove {}", home.display())))
}

/// The packages of what is not there.
#[must_use]
pub fn missing(needs: &[Need]) -> Vec<&'static str> {
    needs.iter().filter(|need| !need.is_there()).flat_map(|need| need.packages().split(' ')).collect()
}

/// A shell with root's rights, if that needs no password.
fn root_shell() -> Option<Command> {
    let id = run(Command::new("id").arg("-u"), QUERY_LIMIT).ok()?;
    if id.trim_ascii() == b"0" {
        return Some(Command::new("sh"));
    }
    run(Command::new("sudo").args(["-n", "true"]), QUERY_LIMIT).ok()?;
    let mut command = Command::new("sudo");
    command.args(["-n", "sh"]);
    Some(command)
}

/// Whether this is a 64-bit little-endian ELF file without an interpreter (ELF-64 object file format, version 1.5:
/// program header of type 3), so that it runs in an image that has no libraries.
pub(crate) fn is_static_elf(bytes: &[u8]) -> bool {
    let field = |at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|field| u64::from_le_bytes(*field))
    };
    let half = |at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()).map(|field| u16::from_le_bytes(*field))
    };
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01".as_slice()) {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (field(32), half(54), half(56)) else { return false };
    (0..u64::from(count)).all(|number| {
        let at = table.checked_add(number * u64::from(size)).and_then(|at| usize::try_from(at).ok());
        // The type is the lower half of the first eight bytes.
        at.and_then(field).is_some_and(|start| start & 0xffff_ffff != 3)
    })
}

/// A kernel, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bootable image.
    pub vmlinuz: PathBuf,
    /// The directory of its modules, `…/lib/modules/VERSION`, with `modules.dep` in it.
    pub modules_dir: PathBuf,
    /// Its version, as `uname -r` says it.
    pub version: String,
}

/// Gets Debian's cloud kernel into `cache_dir`; what is there already is not fetched again.
///
/// Without a package index or a network, the newest kernel in the cache does.
///
/// # Errors
///
/// [`LabError::Kernel`] if there is none in the cache and none can be downloaded.
pub fn kernel(cache_dir: &Path) -> Result<Kernel, LabError> {
    fs::create_dir_all(cache_dir).map_err(LabError::io("create", cache_dir))?;
    let fresh = concrete_package().and_then(|(package, version)| {
        let home = cache_dir.join(format!("{package}_{version}"));
        if !home.is_dir() {
            download(&package, &home, make_modules_dep)?;
        }
        Ok(home)
    });
    match fresh {
        Ok(home) => unpacked(&home),
        Err(error) => newest_cached(cache_dir).map_or(Err(error), |home| unpacked(&home)),
    }
}

/// The package that the metapackage depends on, and its version.
fn concrete_package() -> Result<(String, String), LabError> {
    let show = |package: &str| {
        let shown = run(Command::new("apt-cache").args(["show", "--no-all-versions", package]), QUERY_LIMIT);
        shown.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = show(KERNEL_METAPACKAGE).or_else(|error| {
        // The index may never have been fetched, as in a container.
        update_index().map_err(|()| error)?;
        show(KERNEL_METAPACKAGE)
    });
    let text = text.map_err(|error| {
        LabError::Kernel(format!("{error}; if the package index is missing, run: sudo apt-get update"))
    })?;
    let package = concrete_dependency(&text)
        .ok_or_else(|| LabError::Kernel(format!("{KERNEL_METAPACKAGE} depends on no kernel")))?;
    let version = control_field(&show(&package)?, "Version").map(|version| version.replace(':', "_"));
    version
        .map(|version| (package.clone(), version))
        .ok_or_else(|| LabError::Kernel(format!("{package} has no version")))
}

fn control_field(control: &str, name: &str) -> Option<String> {
    control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
}

fn concrete_dependency(control: &str) -> Option<String> {
    let depends = control_field(control, "Depends")?;
    let mut names = depends.split(',').filter_map(|dependency| dependency.split_whitespace().next());
    names.find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

/// Downloads and unpacks a package into `home`, which appears only when it is complete. `finish` is given what was
/// unpacked before it appears.
fn download(
    package: &str,
    home: &Path,
    finish: impl Fn(&Path) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let parent = home.parent().unwrap_or(Path::new("."));
    let work = tempfile::Builder::new()
        .prefix(".incomplete-")
        .tempdir_in(parent)
        .map_err(LabError::io("create a directory in", parent))?;
    let get =
        || run(Command::new("apt-get").args(["download", package]).current_dir(work.path()), DOWNLOAD_LIMIT);
    // An index that is old names a version that is gone.
    get().or_else(|error| update_index().map_err(|()| error).and_then(|()| get()))?;
    let archive = first_entry(work.path(), |name| has_extension(name, "deb"))
        .ok_or_else(|| LabError::Kernel(format!("apt-get download brought no {package}")))?;
    let tree = work.path().join("tree");
    run(Command::new("dpkg-deb").arg("-x").args([&archive, &tree]), DOWNLOAD_LIMIT)?;
    finish(&tree)?;
    match fs::rename(&tree, home) {
        Err(_) if home.is_dir() => Ok(()), // Another process was faster.
        renamed => renamed.map_err(LabError::io("create", home)),
    }
}

/// Brings the package index up to date, if we may.
fn update_index() -> Result<(), ()> {
    let mut shell = root_shell().ok_or(())?;
    run(shell.args(["-c", "apt-get update"]), DOWNLOAD_LIMIT).map(drop).map_err(drop)
}

fn make_modules_dep(tree: &Path) -> Result<(), LabError> {
    let kernel = unpacked(tree)?;
    let Some(depmod) = find_tool("depmod") else {
        return Err(LabError::Kernel("depmod is missing, see ensure_packages".to_owned()));
    };
    // Where Debian has merged /usr, the modules are below usr/.
    let base = kernel.modules_dir.ancestors().nth(3).unwrap_or(tree);
    run(Command::new(depmod).arg("-b").args([base.as_os_str(), kernel.version.as_ref()]), QUERY_LIMIT)?;
    Ok(())
}

/// Finds its way in an unpacked kernel package.
fn unpacked(tree: &Path) -> Result<Kernel, LabError> {
    let incomplete =
        || LabError::Kernel(format!("{} is no unpacked kernel package; remove it", tree.display()));
    let vmlinuz =
        first_entry(&tree.join("boot"), |name| name.starts_with("vmlinuz-")).ok_or_else(incomplete)?;
    let version = vmlinuz
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix("vmlinuz-"))
        .ok_or_else(incomplete)?
        .to_owned();
    let modules_dir = ["lib/modules", "usr/lib/modules"].map(|dir| tree.join(dir).join(&version));
    let modules_dir = modules_dir.into_iter().find(|dir| dir.is_dir()).ok_or_else(incomplete)?;
    Ok(Kernel { vmlinuz, modules_dir, version })
}

fn newest_cached(cache_dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache_dir).ok()?.filter_map(Result::ok);
    let kernels = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("linux-image-"));
    kernels
        .max_by_key(|entry| entry.metadata().and_then(|metadata| metadata.modified()).ok())
        .map(|entry| entry.path())
}

fn first_entry(dir: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    entries.find(|entry| entry.file_name().to_str().is_some_and(&wanted)).map(|entry| entry.path())
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_concrete_kernel_is_read_from_the_metapackage() {
        let control = "Package: linux-image-cloud-amd64\nVersion: 6.1.1-2\nDepends: linux-base, linux-image-6.1.0-9-cloud-amd64 (= 6.1.1-2)\n";
        assert_eq!(concrete_dependency(control).as_deref(), Some("linux-image-6.1.0-9-cloud-amd64"));
        assert_eq!(control_field(control, "Version").as_deref(), Some("6.1.1-2"));
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0);
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf.extend([1, 0, 0, 0]);
        elf.resize(64 + 56, 0);
        assert!(is_static_elf(&elf));
        elf[64] = 3;
        assert!(!is_static_elf(&elf));
        assert!(!is_static_elf(&elf[..100][..60]));
    }

    #[test]
    fn a_half_unpacked_kernel_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("boot")).unwrap();
        fs::write(dir.path().join("boot/vmlinuz-1.2"), b"").unwrap();
        assert!(matches!(unpacked(dir.path()), Err(LabError::Kernel(_))));
    }
}
