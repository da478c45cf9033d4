//! Secure Boot with keys of our own: a certificate, what is signed with it, and a firmware that believes nothing else.
//!
//! Follows UEFI 2.10 §32.3 (variables `PK`, `KEK`, `db`) and §32.4.1 (signature lists). The variables are written as
//! the firmware would store them: nobody asks for a signature on them while no machine runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::LabError;
use super::nvram::{EFI_GLOBAL_VARIABLE, Guid, NvramError, Variable, VariableStore};
use super::process::{find_tool, run};

/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, d719b2cb-3d3a-4596-a3bc-dad00e67656f: the namespace of `db`.
const SECURITY_DATABASE: Guid =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];

/// `EFI_CERT_X509_GUID`, a5c059a1-94e4-4aa7-87b5-ab155c2bf072: the kind of signature that is a certificate.
const CERT_X509: Guid =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];

/// EDK2's `gEfiSecureBootEnableDisableGuid`, f0a30bc7-af08-4556-99c4-001009c93a44: its own switch.
const SECURE_BOOT_ENABLE: Guid =
    [0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44];

/// Who has put the certificates there: the lab.
const OWNER: Guid = *b"dispatch-testkit";

/// Non-volatile, seen by boot manager and system, with time-based authentication (UEFI 2.10 §8.2).
const AUTHENTICATED: u32 = 0x27;
/// Non-volatile, seen by the boot manager only.
const BOOT_SERVICE: u32 = 0x3;

/// To make a key, or to sign with it.
const LIMIT: Duration = Duration::from_mins(1);

/// An X.509 certificate, DER-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate(pub Vec<u8>);

/// A key and its certificate.
#[derive(Debug)]
pub struct Signer {
    key: PathBuf,
    pem: PathBuf,
    certificate: Certificate,
}

impl Signer {
    /// Makes a key in this folder.
    ///
    /// # Errors
    ///
    /// [`LabError::Command`] if `openssl` is missing, see [`super::packages::ensure_packages`], or fails.
    pub fn new(folder: &Path) -> Result<Self, LabError> {
        let (key, pem) = (folder.join("key.pem"), folder.join("certificate.pem"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "3650"]);
        run(make.args(["-subj", "/CN=dispatch lab/", "-keyout"]).arg(&key).arg("-out").arg(&pem), LIMIT)?;
        let mut encode = Command::new("openssl");
        let der = run(encode.args(["x509", "-outform", "DER", "-in"]).arg(&pem), LIMIT)?;
        Ok(Self { key, pem, certificate: Certificate(der) })
    }

    /// The certificate, for [`super::qemu::ServerConfig::trusted`].
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    /// Signs an EFI program, in its place.
    ///
    /// # Errors
    ///
    /// [`LabError::Command`] if `sbsign` is missing or takes the file for no EFI program.
    pub fn sign(&self, program: &Path) -> Result<(), LabError> {
        let sbsign = find_tool("sbsign").unwrap_or_else(|| "sbsign".into());
        let signed = program.with_extension("signed");
        let mut command = Command::new(sbsign);
        command.arg("--key").arg(&self.key).arg("--cert").arg(&self.pem);
        run(command.arg("--output").args([&signed, program]), LIMIT)?;
        fs::rename(&signed, program).map_err(LabError::io("replace", program))
    }
}

/// Makes a firmware believe this certificate and nothing else, and switches its Secure Boot on.
///
/// # Errors
///
/// [`NvramError`] if the certificate does not fit.
pub fn enrol(store: &mut VariableStore, certificate: &Certificate) -> Result<(), NvramError> {
    let list = signature_list(certificate)?;
    for (name, vendor) in
        [("PK", EFI_GLOBAL_VARIABLE), ("KEK", EFI_GLOBAL_VARIABLE), ("db", SECURITY_DATABASE)]
    {
        let name = name.to_owned();
        store.set(&Variable { name, vendor, attributes: AUTHENTICATED, data: list.clone() })?;
    }
    let (name, vendor) = ("SecureBootEnable".to_owned(), SECURE_BOOT_ENABLE);
    store.set(&Variable { name, vendor, attributes: BOOT_SERVICE, data: vec![1] })
}

/// An `EFI_SIGNATURE_LIST` of one certificate.
fn signature_list(certificate: &Certificate) -> Result<Vec<u8>, NvramError> {
    const HEADER: usize = 28;
    let size = |length: usize| u32::try_from(length).map_err(|_| NvramError::TooLong("certificate"));
    let signature = OWNER.len() + certificate.0.len();
    let mut list = CERT_X509.to_vec();
    list.extend(size(HEADER + signature)?.to_le_bytes());
    // There is no header before the signatures.
    list.extend(0u32.to_le_bytes());
    list.extend(size(signature)?.to_le_bytes());
    list.extend(OWNER);
    list.extend(&certificate.0);
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_long_it_is() {
        let list = signature_list(&Certificate(vec![7; 100])).unwrap();
        assert_eq!(list.len(), 28 + 16 + 100);
        assert_eq!(list[16..20], 144u32.to_le_bytes());
        assert_eq!(list[24..28], 116u32.to_le_bytes());
        assert_eq!(list[44..], [7; 100]);
    }
}
