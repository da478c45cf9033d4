//! Reports as files: one Markdown and one JSON file each, named so that they sort by time.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dispatch_core::ReportId;
use dispatch_store::StoredReport;
use dispatch_wire::boot::Report;
use serde_json::{Value, json};

/// The names of a report's files, without their extension: time, job, verdict, and enough of the report's
/// identifier to tell two of one moment apart. The same report always has the same name.
#[must_use]
pub fn file_stem(stored: &StoredReport) -> String {
    let name: String = stored
        .job
        .name
        .chars()
        .map(|letter| if letter.is_alphanumeric() || "._-+".contains(letter) { letter } else { '_' })
        .scan(0, |bytes, letter| {
            // File names end at 255 bytes, whatever letters they are made of.
            *bytes += letter.len_utf8();
            (*bytes <= 120).then_some(letter)
        })
        .collect();
    let id = stored.report.id.to_string();
    let tail = &id[id.len().saturating_sub(6)..];
    let time = stored.report.at.strftime("%Y-%m-%dT%H-%M-%S%.3fZ");
    format!("{time}_{name}_{}_{tail}", stored.report.content.verdict)
}

/// A file of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub text: String,
}

/// Both files of a report: what machines read, then what people read.
pub fn files(stored: &StoredReport) -> Result<[ReportFile; 2], serde_json::Error> {
    let content: Report = serde_json::from_str(&stored.report.content.json)?;
    let stem = file_stem(stored);
    let json = ReportFile {
        name: format!("{stem}.json"),
        content_type: "application/json",
        text: machine_readable(stored, &content),
    };
    let page = ReportFile {
        name: format!("{stem}.md"),
        content_type: "text/markdown; charset=utf-8",
        text: markdown(stored, &content),
    };
    Ok([json, page])
}

/// Whether this is the JSON file of this report, however it was written: a host may have a new name or address since.
#[must_use]
pub fn is_of(json: &[u8], report: ReportId) -> bool {
    let value: Result<Value, _> = serde_json::from_slice(json);
    value.is_ok_and(|value| value["report"] == json!(report))
}

/// Writes both files of a report into a folder and returns the one for people. Doing it again gives the same files.
pub fn write(folder: &Path, stored: &StoredReport) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let [json, page] = files(stored)?;
    put(&folder.join(&json.name), json.text.as_bytes())?;
    let path = folder.join(&page.name);
    put(&path, page.text.as_bytes())?;
    Ok(path)
}

/// Puts a whole file in place, or none: whoever looks never sees half of one.
fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut file = File::create(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    // The name too is on disk before anybody is told that the file is there.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn machine_readable(stored: &StoredReport, content: &Report) -> String {
    let StoredReport { report, run, job, host, .. } = stored;
    let value = json!({
        "report": report.id,
        "at": report.at,
        "verdict": report.content.verdict,
        "late": report.late,
        "workload": job.name,
        "job": job.id,
        "run": run.id,
        // By this name issues know it.
        "public_run": run.id.public_name(),
        "attempt": run.attempt,
        "host": { "id": host.id, "name": host.name.as_ref().map(ToString::to_string), "macs": host.macs, "address": host.address, "uuid": host.uuid },
        "assigned_at": run.created,
        "booted_at": run.booted_at,
        "content": content,
    });
    format!("{value:#}\n")
}

fn markdown(stored: &StoredReport, content: &Report) -> String {
    let StoredReport { report, run, job, host, .. } = stored;
    let title: String =
        content.title.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut text = format!("# {title}\n\n|  |  |\n|---|---|\n");
    let mut row = |what: &str, value: &str| {
        let value = value.replace(['\n', '\r'], " ").replace('|', "\\|");
        let _ = writeln!(text, "| {what} | {value} |");
    };
    let late = if report.late { ", late: its run was over" } else { "" };
    row("verdict", &format!("**{}**{late}", report.content.verdict));
    row("workload", &job.name);
    row("host", &host.label());
    if let Some(uuid) = &host.uuid {
        row("SMBIOS UUID", uuid);
    }
    row("attempt", &run.attempt.to_string());
    row("run", &run.id.to_string());
    row("run, in issues", &run.id.public_name().to_string());
    row("reported", &report.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    for (what, values) in [("labels", &content.labels), ("assignees", &content.assignees)] {
        if !values.is_empty() {
            row(what, &values.join(", "));
        }
    }
    if let Some(milestone) = &content.milestone {
        row("milestone", milestone);
    }
    if !content.body.is_empty() {
        let _ = write!(text, "\n{}", content.body);
        if !content.body.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}
