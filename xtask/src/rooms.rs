//! Whether every crate keeps to its room (ARCHITECTURE.md): arrows between crates point one way, a library that belongs to
//! one room is used there only, and the core does nothing but think.

use std::path::Path;

use dispatch_testkit::rig::workspace;
use serde_json::Value;

use crate::Failure;
use crate::steps::cargo_with;

/// Which of our crates each crate may use.
const ARROWS: [(&str, &[&str]); 11] = [
    ("dispatch-core", &[]),
    ("dispatch-wire", &["dispatch-core"]),
    ("dispatch-store", &["dispatch-core"]),
    ("dispatch-github", &["dispatch-core"]),
    ("dispatch-boot", &["dispatch-core", "dispatch-wire"]),
    (
        "dispatch-server",
        &["dispatch-core", "dispatch-wire", "dispatch-store", "dispatch-github", "dispatch-boot"],
    ),
    (
        "dispatch",
        // What the server's own interface is made of.
        &[
            "dispatch-server",
            "dispatch-wire",
            "dispatch-core",
            "dispatch-store",
            "dispatch-github",
            "dispatch-boot",
        ],
    ),
    ("beacon", &["dispatch-wire"]),
    ("dispatch-testkit", &["dispatch-boot"]),
    ("dispatch-fuzz", &["dispatch-boot", "dispatch-core", "dispatch-wire"]),
    ("xtask", &["dispatch-core", "dispatch-server", "dispatch-store", "dispatch-testkit"]),
];

/// Libraries that belong to one room.
const OWNERS: [(&str, &[&str]); 13] = [
    ("sqlx", &["dispatch-store"]),
    ("rtnetlink", &["dispatch-boot"]),
    ("dynasmrt", &["dispatch-boot"]),
    ("httparse", &["dispatch-boot", "dispatch-fuzz"]),
    ("mdns-sd", &["dispatch-boot"]),
    ("clap", &["dispatch", "beacon", "xtask"]),
    ("ureq", &["beacon"]),
    ("reqwest", &["dispatch-github"]),
    ("object_store", &["dispatch-server"]),
    ("jsonwebtoken", &["dispatch-github"]),
    ("axum", &["dispatch-server", "dispatch-testkit"]),
    ("ratatui", &["dispatch"]),
    ("crossterm", &["dispatch"]),
];

/// All that the core may use from elsewhere.
const CORE_MAY_USE: [&str; 5] = ["jiff", "regex", "serde", "thiserror", "uuid"];

/// What the core must not do.
const CORE_MUST_NOT: [&str; 8] =
    ["std::fs", "std::process", "std::env", "std::thread", "std::io", "TcpStream", "async fn", "tokio"];

#[derive(Debug)]
struct Dependency {
    name: String,
    is_dev: bool,
}

#[derive(Debug)]
struct Package {
    name: String,
    folder: String,
    dependencies: Vec<Dependency>,
}

/// Checks the workspace.
pub(crate) fn run() -> Result<(), Failure> {
    println!("\n── rooms");
    let output = cargo_with(&["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .map_err(|error| Failure::Words(format!("cargo metadata: {error}")))?;
    let metadata = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::Words(String::from_utf8_lossy(&output.stderr).into_owned()))?;
    let mut wrongs: Vec<String> = packages(&metadata).iter().flat_map(check).collect();
    wrongs.extend(core_sources()?);
    if wrongs.is_empty() {
        println!("every crate keeps to its room");
        return Ok(());
    }
    Err(Failure::Words(format!("rooms are broken:\n  {}", wrongs.join("\n  "))))
}

fn packages(metadata: &Value) -> Vec<Package> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            folder: Path::new(&text(&package["manifest_path"]))
                .parent()
                .and_then(Path::file_name)
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            dependencies: list(&package["dependencies"])
                .iter()
                .map(|dependency| Dependency {
                    name: text(&dependency["name"]),
                    is_dev: dependency["kind"] == "dev",
                })
                .collect(),
        })
        .collect()
}

fn check(package: &Package) -> Vec<String> {
    let mut wrongs = Vec::new();
    let name = package.name.as_str();
    if package.folder != name {
        wrongs.push(format!("{name} lives in a folder called {}", package.folder));
    }
    let Some((_, may_use)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        wrongs.push(format!("{name} has no room: add it to ARROWS and to ARCHITECTURE.md"));
        return wrongs;
    };
    for dependency in package.dependencies.iter().filter(|dependency| !dependency.is_dev) {
        let used = dependency.name.as_str();
        let is_ours = ARROWS.iter().any(|(known, _)| *known == used);
        if is_ours && !may_use.contains(&used) {
            wrongs.push(format!("{name} must not use {used}"));
        }
        if let Some((_, owners)) = OWNERS.iter().find(|(library, _)| *library == used)
            && !owners.contains(&name)
        {
            wrongs.push(format!("{name} must not use {used}: it belongs to {}", owners.join(", ")));
        }
        if name == "dispatch-core" && !is_ours && !CORE_MAY_USE.contains(&used) {
            wrongs.push(format!("{name} must not use {used}: the core only thinks"));
        }
    }
    wrongs
}

fn core_sources() -> Result<Vec<String>, Failure> {
    let mut wrongs = Vec::new();
    let mut folders = vec![workspace().join("crates/dispatch-core/src")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| Failure::File(folder.clone(), error))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(|error| Failure::File(path.clone(), error))?;
            wrongs.extend(core_source(&name, &text));
        }
    }
    Ok(wrongs)
}

fn core_source(name: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|(number, line)| {
            let found = CORE_MUST_NOT.iter().filter(move |word| line.contains(**word));
            found.map(move |word| {
                format!("dispatch-core, {name}:{}: `{word}`: the core only thinks", number + 1)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency { name: (*name).to_owned(), is_dev: false };
        let dependencies = dependencies.iter().map(dependency).collect();
        Package { name: name.to_owned(), folder: name.to_owned(), dependencies }
    }

    #[test]
    fn an_arrow_that_points_the_wrong_way_is_found() {
        assert!(check(&package("dispatch-boot", &["dispatch-core", "tokio"])).is_empty());
        assert_eq!(check(&package("dispatch-boot", &["dispatch-store"])).len(), 1);
        assert_eq!(check(&package("dispatch-core", &["dispatch-wire"])).len(), 1);
    }

    #[test]
    fn a_library_in_the_wrong_room_is_found() {
        assert_eq!(check(&package("dispatch-server", &["sqlx"])).len(), 1);
        assert_eq!(check(&package("dispatch-core", &["tokio"])).len(), 1);
        assert!(check(&package("dispatch-store", &["sqlx"])).is_empty());
    }

    #[test]
    fn a_crate_without_a_room_or_with_another_folder_is_found() {
        assert_eq!(check(&package("dispatch-misc", &[])).len(), 1);
        let moved = Package { folder: "core".to_owned(), ..package("dispatch-core", &[]) };
        assert_eq!(check(&moved).len(), 1);
    }

    #[test]
    fn a_core_that_does_more_than_think_is_found() {
        assert_eq!(core_source("x.rs", "use std::fs;\nasync fn f() {}\n").len(), 2);
        assert!(core_source("x.rs", "// std::fs\nuse std::fmt;\n#[cfg(test)]\nuse std::fs;\n").is_empty());
    }
}
