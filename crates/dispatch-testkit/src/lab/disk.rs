//! Disks to boot from: a FAT file system with an EFI program as the one that firmware starts by itself, alone, in a
//! partition (GPT), or as the boot image of an ISO.
//!
//! Follows UEFI 2.10 §5.2.3 (protective MBR), §5.3 (GPT), §13.3.2 (El Torito). Nothing is mounted, so that nobody has
//! to be root.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::LabError;
use super::machine::Machine;
use super::process::{find_tool, run};

const SECTOR: usize = 512;

/// Where the one partition begins, in sectors: at a mebibyte, as everybody's do.
const PARTITION: usize = 2048;

/// Entries of a partition table, and their size in bytes.
const ENTRIES: usize = 128;
const ENTRY: usize = 128;
/// Sectors that a table takes.
const TABLE: usize = ENTRIES * ENTRY / SECTOR;

/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B: an EFI system partition.
const EFI_SYSTEM_PARTITION: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

const LIMIT: Duration = Duration::from_mins(1);

/// Writes a FAT file system from which `machine` boots this program.
///
/// # Errors
///
/// [`LabError`] if mtools is missing, see [`super::packages::ensure_packages`], or a file cannot be read or written.
pub fn fat(machine: Machine, program: &Path, out: &Path) -> Result<(), LabError> {
    let size = fs::metadata(program).map_err(LabError::io("read", program))?.len();
    // Room for the tables; a multiple of a track, so that mtools can express it.
    let sectors = (size / 512 + size / 10_000 + 2048).next_multiple_of(63);
    let tool = |name: &str| {
        let mut command = Command::new(find_tool(name).unwrap_or_else(|| name.into()));
        command.arg("-i").arg(out);
        command
    };
    let _ = fs::remove_file(out);
    run(tool("mformat").args(["-C", "-T", &sectors.to_string(), "::"]), LIMIT)?;
    run(tool("mmd").args(["::/EFI", "::/EFI/BOOT"]), LIMIT)?;
    run(tool("mcopy").arg(program).arg(format!("::/{}", machine.default_program())), LIMIT)?;
    Ok(())
}

/// Writes a disk with one partition, and in it what [`fat`] makes.
///
/// # Errors
///
/// As [`fat`].
pub fn gpt(machine: Machine, program: &Path, out: &Path) -> Result<(), LabError> {
    fat(machine, program, out)?;
    let partition = fs::read(out).map_err(LabError::io("read", out))?;
    fs::write(out, with_table(&partition)).map_err(LabError::io("write", out))
}

/// Writes an ISO whose boot image is what [`fat`] makes.
///
/// # Errors
///
/// As [`fat`], or if xorriso is missing.
pub fn iso(machine: Machine, program: &Path, out: &Path) -> Result<(), LabError> {
    let parent = out.parent().unwrap_or(Path::new("."));
    let tree = tempfile::Builder::new()
        .prefix(".iso-")
        .tempdir_in(parent)
        .map_err(LabError::io("create a directory in", parent))?;
    fat(machine, program, &tree.path().join("efiboot.img"))?;
    let xorriso = find_tool("xorriso").unwrap_or_else(|| "xorriso".into());
    let mut command = Command::new(xorriso);
    command.args(["-as", "mkisofs", "-quiet", "-V", "LAB", "-o"]).arg(out);
    run(command.args(["-e", "efiboot.img", "-no-emul-boot"]).arg(tree.path()), LIMIT)?;
    Ok(())
}

/// Puts a partition table before and behind these sectors.
fn with_table(partition: &[u8]) -> Vec<u8> {
    let sectors = partition.len().div_ceil(SECTOR);
    let last_used = PARTITION + sectors - 1;
    let total = last_used + 1 + TABLE + 1;
    let mut entries = EFI_SYSTEM_PARTITION.to_vec();
    entries.extend(*b"dispatch-lab-esp");
    entries.extend(number(PARTITION));
    entries.extend(number(last_used));
    entries.resize(ENTRIES * ENTRY, 0);
    let header = |own: usize, other: usize, table: usize| {
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        // Itself, its copy, and from where to where partitions may lie.
        for place in [own, other, 2 + TABLE, total - 2 - TABLE] {
            header.extend(number(place));
        }
        header.extend(*b"dispatch-labdisk");
        header.extend(number(table));
        for count in [ENTRIES, ENTRY] {
            header.extend(&number(count)[..4]);
        }
        header.extend(crc32(&entries).to_le_bytes());
        let sum = crc32(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header.resize(SECTOR, 0);
        header
    };
    let mut disk = vec![0; total * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| {
        disk[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    };
    put(0, &protective_mbr(total));
    put(1, &header(1, total - 1, 2));
    put(2, &entries);
    put(PARTITION, partition);
    put(total - 1 - TABLE, &entries);
    put(total - 1, &header(total - 1, 1, total - 1 - TABLE));
    disk
}

/// A first sector that shows those who know no GPT that all is taken.
fn protective_mbr(sectors: usize) -> [u8; SECTOR] {
    let mut mbr = [0; SECTOR];
    // Starting CHS 0/0/2, type 0xee, ending CHS the most there is, first sector 1, count.
    mbr[446..458].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    mbr[458..462].copy_from_slice(&u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

/// As GPT writes numbers.
fn number(value: usize) -> [u8; 8] {
    (value as u64).to_le_bytes()
}

/// The CRC-32 of Ethernet and GPT (ISO 3309, reflected, polynomial 0xedb88320).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_table_and_its_copy_agree_about_the_partition() {
        let disk = with_table(&[9; 10_000]);
        let place = |at: usize| u64::from_le_bytes(*disk[at..].first_chunk().unwrap());
        let total = (disk.len() / SECTOR) as u64;
        assert_eq!((place(SECTOR + 24), place(SECTOR + 32)), (1, total - 1));
        let copy = disk.len() - SECTOR;
        assert_eq!((place(copy + 24), place(copy + 32)), (total - 1, 1));
        assert_eq!(disk[2 * SECTOR..][..TABLE * SECTOR], disk[copy - TABLE * SECTOR..copy]);
        let (first, last) = (place(2 * SECTOR + 32), place(2 * SECTOR + 40));
        assert_eq!((first, last - first + 1), (2048, 20));
        assert_eq!(disk[2048 * SECTOR..][..10_000], [9; 10_000]);
    }

    #[test]
    fn a_file_system_holds_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let (program, out) = (folder.path().join("p.efi"), folder.path().join("p.img"));
        fs::write(&program, vec![5; 3_000_000]).unwrap();
        if find_tool("mformat").is_none() {
            return;
        }
        fat(Machine::X86_64, &program, &out).unwrap();
        let mut copy = Command::new("mtype");
        let back = run(copy.arg("-i").arg(&out).arg("::/EFI/BOOT/BOOTX64.EFI"), LIMIT).unwrap();
        assert_eq!(back, vec![5; 3_000_000]);
    }
}
