//! Boot entries of a firmware: UEFI load options and the device paths inside them.
//!
//! Follows UEFI 2.10 §3.1.3 (load options), §10.3.2.1 (PCI), §10.3.3 (ACPI), §10.3.4.11 (MAC address), §10.3.4.12
//! (IPv4), §10.3.4.13 (IPv6), §10.3.4.23 (URI) and §24.7.3 (HTTP Boot: the device path of a boot option).

use super::nvram::{EFI_GLOBAL_VARIABLE, NvramError, Variable, VariableStore};

/// A MAC address, in the order it is written.
pub type Mac = [u8; 6];

/// Where [`super::qemu`] puts the network card: device 1, function 0 of the first PCI bus. It is part of the path.
pub const NETWORK_CARD: PciSlot = PciSlot { device: 1, function: 0 };

/// Where [`super::qemu`] puts the disk that a server is given.
pub const DISK: PciSlot = PciSlot { device: 2, function: 0 };

/// Where [`super::qemu`] puts the disk that resets the machine.
pub const RETRY_DISK: PciSlot = PciSlot { device: 3, function: 0 };

/// Where [`super::qemu`] puts the disk whose program only waits.
pub const PAUSE_DISK: PciSlot = PciSlot { device: 5, function: 0 };

/// `LOAD_OPTION_ACTIVE`: the firmware tries this option by itself.
const ACTIVE: u32 = 1;

/// Marks an option as made by EDK2's boot manager itself (`mBmAutoCreateBootOptionGuid`), so that it does not add the
/// same one again.
const AUTO_CREATED: [u8; 16] =
    [0x4e, 0xac, 0x08, 0x81, 0x11, 0x9f, 0x59, 0x4d, 0x85, 0x0e, 0xe2, 0x1a, 0x52, 0x2c, 0x59, 0xb2];

/// A place on the first PCI bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciSlot {
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

/// A boot entry: what a `Boot####` variable holds (`EFI_LOAD_OPTION`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// What the firmware shows, and writes to its console when it boots the entry.
    pub description: String,
    /// The device path, with its end node.
    pub device_path: Vec<u8>,
    /// Bytes for the one who reads the option; empty for most.
    pub optional_data: Vec<u8>,
}

impl LoadOption {
    /// The option as it is stored.
    ///
    /// # Errors
    ///
    /// [`NvramError::TooLong`] if the device path is longer than its 16-bit length can say.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NvramError> {
        let length = u16::try_from(self.device_path.len()).map_err(|_| NvramError::TooLong("device path"))?;
        let mut bytes = ACTIVE.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes.extend(&self.device_path);
        bytes.extend(&self.optional_data);
        Ok(bytes)
    }
}

/// An entry that boots over HTTP with the lab's network card.
///
/// With a `uri` the firmware gets its address by DHCP and boots that URI, whatever else DHCP says; over IPv6 if the
/// URI's host is an IPv6 address. EDK2 takes the URI
/// from the URI node of the option, and finds its HTTP driver by the nodes before it (which it compares without the
/// contents of the IPv4 and the URI node). The full path and not just a URI node (UEFI 2.10 §3.1.2, short form),
/// because for the short form it connects every device and tries IPv6 as well. Without a `uri` the entry is the one
/// that EDK2 makes by itself, and the URI comes from DHCP.
///
/// # Errors
///
/// [`NvramError::TooLong`] if the URI does not fit into a device path node.
pub fn http_boot_option(mac: Mac, uri: Option<&str>, description: &str) -> Result<LoadOption, NvramError> {
    let mut path = pci_path(NETWORK_CARD);
    // MAC address: 32 bytes, padded with zeros; interface type 1 is Ethernet.
    let mut address = [0; 33];
    address[..6].copy_from_slice(&mac);
    address[32] = 1;
    node(&mut path, 3, 11, &address)?;
    if uri.is_some_and(|uri| uri.contains("://[")) {
        // IPv6: local and remote address and port, protocol, origin of the address, prefix length, gateway. Zeros: by
        // DHCP, as EDK2's own options have it, but for the prefix length.
        let mut address = [0; 56];
        address[39] = 64;
        node(&mut path, 3, 13, &address)?;
    } else {
        // IPv4: local and remote address and port, protocol, static flag, gateway, mask. Zeros: by DHCP.
        node(&mut path, 3, 12, &[0; 23])?;
    }
    node(&mut path, 3, 24, uri.unwrap_or_default().as_bytes())?;
    end(&mut path);
    let optional_data = if uri.is_none() { AUTO_CREATED.to_vec() } else { Vec::new() };
    Ok(LoadOption { description: description.to_owned(), device_path: path, optional_data })
}

/// An entry that boots a disk of the lab, which is in this slot: the firmware looks for `\EFI\BOOT\BOOTX64.EFI` on it (UEFI 2.10 §3.5.1.1).
#[must_use]
pub fn disk_boot_option(slot: PciSlot, description: &str) -> LoadOption {
    let mut path = pci_path(slot);
    end(&mut path);
    LoadOption { description: description.to_owned(), device_path: path, optional_data: Vec::new() }
}

/// Stores the options as `Boot0000`, `Boot0001`, … and lists them, in this order, in `BootOrder`.
///
/// What the firmware finds by itself comes behind them. `Timeout` is set to zero, because nobody is there to press a
/// key.
///
/// # Errors
///
/// [`NvramError`] if there are more options than numbers, or the store is full.
pub fn set_boot_order(store: &mut VariableStore, options: &[LoadOption]) -> Result<(), NvramError> {
    let mut order = Vec::with_capacity(options.len() * 2);
    for (number, option) in options.iter().enumerate() {
        let number = u16::try_from(number).map_err(|_| NvramError::TooLong("boot order"))?;
        order.extend(number.to_le_bytes());
        store.set(&Variable::boot(&format!("Boot{number:04X}"), option.to_bytes()?))?;
    }
    store.set(&Variable::boot("BootOrder", order))?;
    store.set(&Variable::boot("Timeout", vec![0, 0]))
}

impl Variable {
    /// A variable of the specification's own namespace that lives in flash and is seen by boot manager and system.
    #[must_use]
    pub fn boot(name: &str, data: Vec<u8>) -> Self {
        // NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS (UEFI 2.10 §8.2)
        Self { name: name.to_owned(), vendor: EFI_GLOBAL_VARIABLE, attributes: 7, data }
    }
}

/// The first PCI root bridge (ACPI `PNP0A03`, UID 0) and a device on its bus.
fn pci_path(slot: PciSlot) -> Vec<u8> {
    let mut path = vec![2, 1, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0];
    path.extend([1, 1, 6, 0, slot.function, slot.device]);
    path
}

/// Appends a node: type, subtype, its whole length, its data (UEFI 2.10 §10.2).
fn node(path: &mut Vec<u8>, kind: u8, subtype: u8, data: &[u8]) -> Result<(), NvramError> {
    let length = u16::try_from(data.len() + 4).map_err(|_| NvramError::TooLong("device path node"))?;
    path.extend([kind, subtype]);
    path.extend(length.to_le_bytes());
    path.extend(data);
    Ok(())
}

/// Appends the node that ends the entire path.
fn end(path: &mut Vec<u8>) {
    path.extend([0x7f, 0xff, 4, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [0x52, 0x54, 0, 0x77, 0, 1];

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    #[test]
    fn an_option_without_a_uri_is_the_one_that_ovmf_makes() {
        let option = http_boot_option(MAC, None, "UEFI HTTPv4 (MAC:525400770001)").unwrap();
        let zeros = |count| "00".repeat(count);
        let path = format!(
            "02010c00d041030a00000000010106000001030b2500525400770001{}01030c1b00{}031804007fff0400",
            zeros(26),
            zeros(23)
        );
        assert_eq!(hex(&option.device_path), path);
        let bytes = option.to_bytes().unwrap();
        assert_eq!(hex(&bytes[..6]), "010000005a00");
        assert!(hex(&bytes).ends_with("4eac0881119f594d850ee21a522c59b2"));
    }

    #[test]
    fn the_uri_is_in_the_uri_node() {
        let option = http_boot_option(MAC, Some("http://10.0.2.2/x"), "x").unwrap();
        let path = hex(&option.device_path);
        assert!(path.ends_with(&format!("03181500{}7fff0400", hex(b"http://10.0.2.2/x"))), "{path}");
        assert!(option.optional_data.is_empty());
    }

    #[test]
    fn a_uri_that_does_not_fit_is_an_error() {
        let uri = "x".repeat(70_000);
        assert!(matches!(http_boot_option(MAC, Some(&uri), ""), Err(NvramError::TooLong(_))));
    }
}
