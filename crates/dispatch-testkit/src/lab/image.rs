//! Builds boot images: unified kernel images (UKI) that bring the network up and run one script.
//!
//! A UKI is one EFI application: systemd's stub with a kernel, its command line and an initramfs as sections (UAPI
//! specification UKI.1). The initramfs has busybox, the beacon and the few modules a virtual server needs, so that it
//! boots fast where nothing but software emulation is to be had.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::LabError;
use super::cpio::Archive;
use super::packages::{EFI_STUB, Kernel};
use super::pe::Layout;
use super::process::{find_tool, run};

/// What the kernel is told if a recipe says nothing else: the serial console, and a reset ten seconds after a panic.
///
/// Options said to save time (`mitigations=off`, `nokaslr`, `tsc=reliable`, no security modules, …) were measured
/// under software emulation; what they save cannot be told from noise.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=10";

/// The modules a virtual server needs; what they depend on comes with them.
const MODULES: &[&str] = &["virtio_pci", "virtio_net", "efivarfs"];

const LIMIT: Duration = Duration::from_mins(1);

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    /// Its name, for the serial log and `/etc/os-release`; letters, digits, `.`, `_` and `-`.
    pub name: &'a str,
    /// A statically linked busybox, see [`super::packages::busybox`].
    pub busybox: &'a Path,
    /// The statically linked beacon; becomes `/usr/bin/beacon`.
    pub beacon: &'a Path,
    /// A shell script for busybox, run as root once there is a network. When it ends, the machine resets.
    pub script: &'a str,
    /// More files.
    pub extra_files: &'a [ExtraFile],
    /// The kernel's command line; [`COMMAND_LINE`] if `None`.
    pub command_line: Option<&'a str>,
}

/// A file that an image has besides.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Its path in the image.
    pub path: String,
    /// Its permissions, as `0o755`.
    pub permissions: u32,
    /// Its contents.
    pub contents: Vec<u8>,
}

/// Builds the image that `recipe` describes, and writes it to `out`, which appears only when it is complete.
///
/// # Errors
///
/// [`LabError`] if a file is missing, see [`super::packages::ensure_packages`], or the stub is not understood.
pub fn build_uki(kernel: &Kernel, recipe: &Recipe<'_>, out: &Path) -> Result<(), LabError> {
    check_name(recipe.name)?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let work = tempfile::Builder::new()
        .prefix(".image-")
        .tempdir_in(parent)
        .map_err(LabError::io("create a directory in", parent))?;
    let save = |name: &str, contents: &[u8]| {
        let path = work.path().join(name);
        fs::write(&path, contents).map_err(LabError::io("write", &path))?;
        Ok::<_, LabError>(path)
    };
    let os_release =
        format!("ID=dispatch-lab\nNAME=\"dispatch lab\"\nPRETTY_NAME=\"dispatch lab: {}\"\n", recipe.name);
    let command_line = recipe.command_line.unwrap_or(COMMAND_LINE);
    let sections = [
        (".osrel", save("osrel", os_release.as_bytes())?),
        (".cmdline", save("cmdline", command_line.as_bytes())?),
        (".initrd", save("initrd", &initramfs(kernel, recipe)?)?),
        // Last, because a kernel may use memory behind what is in the file.
        (".linux", kernel.vmlinuz.clone()),
    ];
    let image = work.path().join("image.efi");
    add_sections(Path::new(EFI_STUB), &sections, &image)?;
    fs::rename(&image, out).map_err(LabError::io("create", out))
}

fn check_name(name: &str) -> Result<(), LabError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(LabError::Image(format!(
            "its name {name:?} has other characters than letters, digits, `.`, `_` and `-`"
        )));
    }
    Ok(())
}

/// Adds sections behind those of the stub.
fn add_sections(stub: &Path, sections: &[(&str, PathBuf)], out: &Path) -> Result<(), LabError> {
    let mut layout = Layout::of(&read(stub)?)?;
    let objcopy = find_tool("objcopy")
        .ok_or_else(|| LabError::Image("objcopy is missing, see ensure_packages".to_owned()))?;
    let mut command = Command::new(objcopy);
    for (name, file) in sections {
        let size = fs::metadata(file).map_err(LabError::io("read", file))?.len();
        let address = layout.place(size)?;
        command.arg("--add-section").arg(format!("{name}={}", file.display()));
        command.arg("--set-section-flags").arg(format!("{name}=data,readonly"));
        command.arg("--change-section-vma").arg(format!("{name}={address:#x}"));
    }
    run(command.args([stub, out]), LIMIT)?;
    Ok(())
}

fn initramfs(kernel: &Kernel, recipe: &Recipe<'_>) -> Result<Vec<u8>, LabError> {
    let busybox = recipe.busybox;
    let mut archive = Archive::new();
    for directory in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin"] {
        archive.directory(directory);
    }
    // The console of the first process, until /dev is mounted.
    archive.character_device("dev/console", 5, 1);
    archive.file("bin/busybox", 0o755, &read(busybox)?);
    let applets = run(Command::new(busybox).arg("--list"), LIMIT)?;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|applet| *applet != "busybox") {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    archive.file("init", 0o755, include_bytes!("init.sh"));
    archive.file("udhcpc.sh", 0o755, include_bytes!("udhcpc.sh"));
    archive.file("usr/bin/beacon", 0o755, &read(recipe.beacon)?);
    archive.file("workload", 0o644, recipe.script.as_bytes());
    archive.file("workload.name", 0o644, recipe.name.as_bytes());
    let mut order = String::new();
    for (number, module) in modules(kernel)?.into_iter().enumerate() {
        let path = format!("modules/{number:02}.ko");
        archive.file(&path, 0o644, &read_module(&module)?);
        order.push('/');
        order.push_str(&path);
        order.push('\n');
    }
    archive.file("modules.order", 0o644, order.as_bytes());
    for extra in recipe.extra_files {
        archive.file(&extra.path, extra.permissions, &extra.contents);
    }
    // Not compressed: under software emulation unpacking takes about as long as downloading the difference.
    Ok(archive.finish())
}

/// The module files an image needs, in the order they have to be loaded.
fn modules(kernel: &Kernel) -> Result<Vec<PathBuf>, LabError> {
    let file = kernel.modules_dir.join("modules.dep");
    let text = fs::read_to_string(&file).map_err(LabError::io("read", &file))?;
    let dependencies: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let mut order: Vec<&str> = Vec::new();
    for wanted in MODULES {
        // What is not there is built in; if it is not, the image says so when it boots.
        let Some((path, needed)) = dependencies.iter().find(|(path, _)| module_name(path) == *wanted) else {
            continue;
        };
        // depmod lists what a module needs in the reverse order of loading.
        for module in needed.split_whitespace().rev().chain([*path]) {
            if !order.contains(&module) {
                order.push(module);
            }
        }
    }
    Ok(order.into_iter().map(|path| kernel.modules_dir.join(path)).collect())
}

/// `virtio_net` of `kernel/drivers/net/virtio-net.ko.xz`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// A module's contents, uncompressed: busybox's insmod cannot read every compression.
fn read_module(path: &Path) -> Result<Vec<u8>, LabError> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return read(path),
    };
    run(Command::new(tool).arg("-dc").arg(path), LIMIT)
}

fn read(path: &Path) -> Result<Vec<u8>, LabError> {
    fs::read(path).map_err(LabError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let dep = "k/virtio_net.ko: k/net_failover.ko k/virtio.ko\nk/virtio.ko:\nk/virtio-pci.ko.xz: k/virtio.ko\nk/other.ko:\n";
        fs::write(dir.path().join("modules.dep"), dep).unwrap();
        let kernel =
            Kernel { vmlinuz: PathBuf::new(), modules_dir: dir.path().to_owned(), version: String::new() };
        let names: Vec<_> =
            modules(&kernel).unwrap().iter().map(|path| module_name(path.to_str().unwrap())).collect();
        assert_eq!(names, ["virtio", "virtio_pci", "net_failover", "virtio_net"]);
    }

    #[test]
    fn a_name_that_would_break_out_of_os_release_is_refused() {
        assert!(check_name("ubuntu-24.04").is_ok());
        assert!(check_name("a\"b").is_err());
        assert!(check_name("").is_err());
    }
}
