//! Secrets that are in files of their own.

use std::env::VarError;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::variables::Environment;

/// What the path of a systemd credential begins with.
const CREDENTIAL: &str = "credential:";

/// The variable that names the folder of credentials (systemd.exec(5)).
const FOLDER: &str = "CREDENTIALS_DIRECTORY";

/// How large a secret may be, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Reads a secret: the whole file without the line break at its end. What is wrong is one sentence without the secret. In
/// it the file is called as it is `shown`: somebody may have put the secret itself where its file belongs.
pub(super) fn read(
    written: &str,
    shown: &str,
    folder: &Path,
    env: Environment<'_>,
) -> Result<SecretString, String> {
    let path = path(written, shown, folder, env)?;
    let cannot = |error: std::io::Error| format!("cannot read the secret in {shown}: {error}");
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(format!("{shown} is no file: give one that has the secret"));
    }
    file.take(MAX_SECRET + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_SECRET {
        return Err(format!("{shown} is larger than {} KiB: that is no secret", MAX_SECRET >> 10));
    }
    // The error would have the bytes.
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is no UTF-8 text"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.trim().is_empty() {
        return Err(format!("{shown} is empty: write the secret into it"));
    }
    Ok(text.to_owned().into())
}

fn path(written: &str, shown: &str, folder: &Path, env: Environment<'_>) -> Result<PathBuf, String> {
    let Some(name) = written.strip_prefix(CREDENTIAL) else { return Ok(folder.join(written)) };
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("{shown} cannot name a credential: write {CREDENTIAL}NAME"));
    }
    match env(FOLDER) {
        Ok(folder) if !folder.is_empty() => Ok(Path::new(&folder).join(name)),
        Ok(_) | Err(VarError::NotPresent) => Err(format!(
            "there are no credentials, as {FOLDER} is not set: let systemd start dispatch with LoadCredential=NAME:PATH"
        )),
        Err(VarError::NotUnicode(_)) => Err(format!("{FOLDER} is no UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn unset(_: &str) -> Result<String, VarError> {
        Err(VarError::NotPresent)
    }

    #[test]
    fn a_secret_is_a_file_without_the_line_break_at_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        for (written, secret) in
            [("hush", "hush"), ("hush\n", "hush"), ("hush\r\n", "hush"), (" a\nb \n", " a\nb ")]
        {
            std::fs::write(folder.path().join("s"), written).expect("written");
            let read = read("s", "s", folder.path(), &unset).expect("a secret");
            assert_eq!(read.expose_secret(), secret, "{written:?}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
        write("empty", b"");
        write("blank", b" \n");
        write("bytes", b"hush\xff");
        write("large", &vec![b'h'; 70_000]);
        for (name, words) in [
            ("empty", "is empty"),
            ("blank", "is empty"),
            ("bytes", "no UTF-8"),
            ("large", "larger than"),
            ("none", "cannot read"),
            (".", "is no file"),
            ("credential:db", "LoadCredential=NAME:PATH"),
            ("credential:../db", "cannot name a credential"),
            ("credential:", "cannot name a credential"),
        ] {
            let error = read(name, name, folder.path(), &unset).expect_err(name);
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_credential_is_in_the_folder_that_systemd_names() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("db"), "hush").expect("written");
        let credentials = folder.path().display().to_string();
        let env =
            |name: &str| if name == FOLDER { Ok(credentials.clone()) } else { Err(VarError::NotPresent) };
        let read = read("credential:db", "credential:db", Path::new("/nowhere"), &env).expect("a secret");
        assert_eq!(read.expose_secret(), "hush");
    }
}
