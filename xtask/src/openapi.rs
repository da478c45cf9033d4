//! `cargo xtask github-openapi`: takes out of GitHub's own API description what the fake GitHub speaks, and what its
//! tests are held against. The whole has 13 MB in 1,200 operations; we use two dozen.
//!
//! The description comes with the npm package `@octokit/openapi`, which npm fetches and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Args as ClapArgs;
use dispatch_testkit::rig::{target, workspace};
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::steps::step;

/// How the extract is made.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Change nothing; fail if the extract is not what it would be
    #[arg(long)]
    check: bool,
}

const PACKAGE: &str = "@octokit/openapi";
const VERSION: &str = "23.0.2";
const INTEGRITY: &str =
    "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==";

/// The description inside the package.
const MEMBER: &str = "package/generated/api.github.com.json";

/// Under which terms it may be used.
const LICENSE: &str = "package/LICENSE";

/// Where the extract is kept.
const EXTRACT: &str = "crates/dispatch-testkit/src/github/openapi.json";

/// What is taken. The first are those that `dispatch` uses; the rest are there so that a person can look around.
const OPERATIONS: [(&str, &str); 27] = [
    ("get", "/user"),
    ("get", "/rate_limit"),
    ("get", "/repos/{owner}/{repo}"),
    ("get", "/repos/{owner}/{repo}/releases/tags/{tag}"),
    ("get", "/repos/{owner}/{repo}/releases/latest"),
    ("get", "/repos/{owner}/{repo}/releases/{release_id}"),
    ("get", "/repos/{owner}/{repo}/releases/{release_id}/assets"),
    ("get", "/repos/{owner}/{repo}/releases/assets/{asset_id}"),
    ("get", "/repos/{owner}/{repo}/milestones"),
    ("get", "/repos/{owner}/{repo}/assignees/{assignee}"),
    ("get", "/repos/{owner}/{repo}/labels"),
    ("get", "/repos/{owner}/{repo}/labels/{name}"),
    ("get", "/repos/{owner}/{repo}/issues"),
    ("post", "/repos/{owner}/{repo}/issues"),
    ("get", "/repos/{owner}/{repo}/issues/{issue_number}"),
    ("patch", "/repos/{owner}/{repo}/issues/{issue_number}"),
    ("get", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("get", "/app"),
    ("get", "/app/installations"),
    ("get", "/repos/{owner}/{repo}/installation"),
    ("post", "/app/installations/{installation_id}/access_tokens"),
    ("get", "/installation/repositories"),
    ("get", "/users/{username}"),
    ("get", "/repos/{owner}/{repo}/releases"),
    ("get", "/repos/{owner}/{repo}/milestones/{milestone_number}"),
    ("get", "/repos/{owner}/{repo}/assignees"),
];

/// Makes the extract.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let folder = target()?.join("github-openapi");
    unpack(&folder)?;
    let whole = read(&folder.join(MEMBER))?;
    let whole = serde_json::from_str(&whole).map_err(|error| Failure::Words(format!("{MEMBER}: {error}")))?;
    let text = render(&extract(&whole, &read(&folder.join(LICENSE))?)?)?;
    let path = workspace().join(EXTRACT);
    if args.check {
        let is_same = fs::read_to_string(&path).is_ok_and(|old| old == text);
        return if is_same {
            println!("{EXTRACT} is what {PACKAGE} {VERSION} says");
            Ok(())
        } else {
            let hint = "run `cargo xtask github-openapi` and look at the difference";
            Err(Failure::Words(format!("{EXTRACT} is not what {PACKAGE} {VERSION} says: {hint}")))
        };
    }
    fs::write(&path, &text).map_err(|error| Failure::File(path, error))?;
    println!("{EXTRACT}: {} operations, {} bytes", OPERATIONS.len(), text.len());
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::File(path.to_owned(), error))
}

/// Fetches the package with npm, sees that it is the one that was pinned, and unpacks the description in it.
fn unpack(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::File(folder.to_owned(), error))?;
    let output = Command::new("npm")
        .args(["pack", "--json", &format!("{PACKAGE}@{VERSION}")])
        .current_dir(folder)
        .output()
        .map_err(|error| Failure::Words(format!("npm: {error}; it is in Debian's package npm")))?;
    let packed: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        Failure::Words(format!("npm pack {PACKAGE}: {}", String::from_utf8_lossy(&output.stderr)))
    })?;
    let is = |key: &str| packed[0][key].as_str().unwrap_or_default();
    if is("integrity") != INTEGRITY {
        let found = is("integrity");
        return Err(Failure::Words(format!("{PACKAGE} {VERSION} is {found}, and should be {INTEGRITY}")));
    }
    let archive = is("filename");
    step("unpack", Command::new("tar").args(["-xzf", archive, MEMBER, LICENSE]).current_dir(folder))?;
    Ok(())
}

/// The operations, and all that they refer to.
fn extract(whole: &Value, license: &str) -> Result<Value, Failure> {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut open = BTreeSet::new();
    for (method, path) in OPERATIONS {
        let operation = &whole["paths"][path][method];
        if !operation.is_object() {
            return Err(Failure::Words(format!("{PACKAGE} {VERSION} has no {method} {path}")));
        }
        let slim = slim(operation);
        references(&slim, &mut open);
        paths.entry(path).or_default().insert(method.to_owned(), slim);
    }
    let mut components: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    let mut done = BTreeSet::new();
    while let Some(reference) = open.pop_first() {
        let parts: Vec<&str> = reference.trim_start_matches("#/components/").split('/').collect();
        let [kind, name] = parts[..] else {
            return Err(Failure::Words(format!("{reference} is no component")));
        };
        let found = slim(&whole["components"][kind][name]);
        let mut more = BTreeSet::new();
        references(&found, &mut more);
        components.entry(kind.to_owned()).or_default().insert(name.to_owned(), found);
        done.insert(reference);
        open.extend(more.difference(&done).cloned());
    }
    Ok(json!({
        "_source": {
            "what": "Those of GitHub's REST operations that dispatch uses, without examples and descriptions.",
            "package": PACKAGE,
            "version": VERSION,
            "integrity": INTEGRITY,
            "member": MEMBER,
            "license": "MIT",
            "license_text": license.lines().collect::<Vec<_>>(),
            "made_by": "cargo xtask github-openapi",
        },
        "components": components,
        "openapi": whole["openapi"],
        "paths": paths,
    }))
}

/// Words that say something to people only, or that we do not look at.
const DROPPED: [&str; 13] = [
    "description",
    "deprecated",
    "example",
    "examples",
    "externalDocs",
    "headers",
    "summary",
    "tags",
    "title",
    "x-github",
    "x-github-breaking-changes",
    "x-multi-segment",
    "x-octokit",
];

/// Keys whose members have names of their own, which may be spelled like the words that are dropped.
const NAMES: [&str; 4] = ["properties", "content", "responses", "patternProperties"];

fn slim(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !DROPPED.contains(&key.as_str()));
            let slimmed = kept.map(|(key, value)| {
                let slimmed = match value {
                    Value::Object(members) if NAMES.contains(&key.as_str()) => {
                        members.iter().map(|(name, member)| (name.clone(), slim(member))).collect()
                    }
                    // Words of the language, not schemas.
                    _ if ["enum", "default", "required"].contains(&key.as_str()) => value.clone(),
                    _ => slim(value),
                };
                (key.clone(), slimmed)
            });
            slimmed.collect()
        }
        Value::Array(items) => items.iter().map(slim).collect(),
        _ => value.clone(),
    }
}

fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        into.insert(reference.clone());
                    }
                    _ => references(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

/// Sorted, one member a line, so that a newer version shows as a small difference.
fn render(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&sorted(value));
    text.map(|text| text + "\n").map_err(|error| Failure::Words(format!("the extract: {error}")))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members: BTreeMap<&String, Value> =
                map.iter().map(|(key, value)| (key, sorted(value))).collect();
            members.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_is_called_like_a_dropped_word_stays() {
        let schema = json!({"description": "x", "properties": {"title": {"type": "string", "title": "x"}}});
        assert_eq!(slim(&schema), json!({"properties": {"title": {"type": "string"}}}));
    }

    #[test]
    fn a_default_and_an_enumeration_stay_as_they_are() {
        let schema = json!({"default": {"title": 1}, "enum": ["title"], "required": ["title"]});
        assert_eq!(slim(&schema), schema);
    }

    #[test]
    fn an_operation_that_the_description_does_not_have_is_named() {
        let failure = extract(&json!({"paths": {}}), "").map(|_| ()).expect_err("nothing is in it");
        assert!(failure.to_string().contains("has no get /user"), "{failure}");
    }
}
