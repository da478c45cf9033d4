//! From rows to types.

use std::str::FromStr;

use dispatch_core::queue::{Issue, Light, NewReport, Report, ReportKey, Round};
use dispatch_core::{GroupState, Host, HostId, Job, JobId, Mac, Run, SourceId, Template, Terms, Workload};
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::{StoreError, StoredEvent, WaitingEffect};

fn damaged(column: &'static str, value: &dyn ToString) -> StoreError {
    StoreError::Damaged { column, value: value.to_string() }
}

pub(crate) fn text(row: &AnyRow, column: &'static str) -> Result<String, StoreError> {
    Ok(row.try_get(column)?)
}

pub(crate) fn optional_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, StoreError> {
    Ok(row.try_get(column)?)
}

pub(crate) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let text = text(row, column)?;
    text.parse().map_err(|_| damaged(column, &text))
}

pub(crate) fn optional_parsed<T: FromStr>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    optional_text(row, column)?.map(|text| text.parse().map_err(|_| damaged(column, &text))).transpose()
}

pub(crate) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| damaged(column, &number))
}

fn optional_number<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let number: Option<i64> = row.try_get(column)?;
    number.map(|number| T::try_from(number).map_err(|_| damaged(column, &number))).transpose()
}

pub(crate) fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, StoreError> {
    let micros: i64 = row.try_get(column)?;
    Timestamp::from_microsecond(micros).map_err(|_| damaged(column, &micros))
}

pub(crate) fn optional_time(row: &AnyRow, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = row.try_get(column)?;
    micros.map(|micros| Timestamp::from_microsecond(micros).map_err(|_| damaged(column, &micros))).transpose()
}

fn json<T: serde::de::DeserializeOwned>(column: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| damaged(column, &text))
}

pub(crate) fn flag(row: &AnyRow, column: &'static str) -> Result<bool, StoreError> {
    Ok(number::<u8>(row, column)? != 0)
}

/// The host without its MACs, which have a table of their own.
pub(crate) fn host(row: &AnyRow) -> Result<Host, StoreError> {
    Ok(Host {
        id: parsed(row, "id")?,
        name: optional_parsed(row, "name")?,
        macs: Vec::new(),
        told_macs: Vec::new(),
        address: parsed(row, "address")?,
        uuid: optional_text(row, "uuid")?,
        arch: optional_parsed(row, "arch")?,
        shared: optional_text(row, "shared")?,
        epoch: number(row, "epoch")?,
        idle: optional_text(row, "idle")?.map(|text| json("idle", &text)).transpose()?,
        first_seen: time(row, "first_seen")?,
        last_seen: time(row, "last_seen")?,
        key: optional_parsed(row, "host_key")?,
        title: optional_text(row, "title")?,
        labels: json("labels", &text(row, "labels")?)?,
        is_accepted: flag(row, "accepted")?,
        is_paused: flag(row, "paused")?,
        version: number(row, "version")?,
    })
}

pub(crate) fn workload(row: &AnyRow) -> Result<Workload, StoreError> {
    Ok(Workload {
        id: parsed(row, "id")?,
        name: text(row, "name")?,
        kind: parsed(row, "kind")?,
        size: number(row, "size")?,
        modified: time(row, "modified")?,
        digest: optional_parsed(row, "digest")?,
        origin: optional_text(row, "origin")?,
        made_for: optional_parsed(row, "made_for")?,
        terms: Terms {
            reboots: number(row, "reboots")?,
            description: optional_text(row, "description")?,
            arch: optional_parsed(row, "arch")?,
            labels: json("labels", &text(row, "labels")?)?,
            retries: optional_number(row, "retries")?,
            deadlines: json("deadlines", &text(row, "deadlines")?)?,
            order: number(row, "place")?,
        },
        source: SourceId::new(&text(row, "source")?),
        group: parsed(row, "grp")?,
        is_offered: flag(row, "offered")?,
        queued_for: json("queued_for", &text(row, "queued_for")?)?,
        first_seen: time(row, "first_seen")?,
        workflow: optional_text(row, "workflow")?.map(|text| json("workflow", &text)).transpose()?,
    })
}

/// A job that waits, by what little is needed to know whom it is for, and its place in the queue.
pub(crate) fn light(row: &AnyRow) -> Result<((i64, i64, JobId), Light), StoreError> {
    // Most have none.
    let labels = |column| {
        let text = text(row, column)?;
        if text == "[]" { Ok(Vec::new()) } else { json(column, &text) }
    };
    let id = parsed(row, "id")?;
    let is_workflow = optional_text(row, "workflow")?.is_some();
    let light = Light {
        id,
        workload: parsed(row, "workload")?,
        required_labels: labels("required_labels")?,
        template: optional_parsed(row, "template")?,
        is_paused: flag(row, "paused")?,
        not_before: optional_time(row, "not_before")?,
        is_tried: time(row, "since")? != time(row, "created")?,
        workload_labels: labels("labels")?,
        arch: optional_parsed(row, "made_for")?.or(optional_parsed(row, "arch")?),
        source: Some(SourceId::new(&text(row, "source")?)).filter(|_| !is_workflow),
    };
    Ok(((number(row, "priority")?, number(row, "position")?, id), light))
}

pub(crate) fn job(row: &AnyRow) -> Result<Job, StoreError> {
    Ok(Job {
        id: parsed(row, "id")?,
        name: text(row, "name")?,
        workload: parsed(row, "workload")?,
        priority: number(row, "priority")?,
        position: number(row, "position")?,
        state: parsed(row, "state")?,
        verdict: optional_parsed(row, "verdict")?,
        reason: optional_text(row, "reason")?,
        waits: optional_text(row, "waits")?,
        since: time(row, "since")?,
        round: number(row, "round")?,
        forgiven: number(row, "forgiven")?,
        is_withdrawn: flag(row, "withdrawn")?,
        is_asked: flag(row, "asked")?,
        version: number(row, "version")?,
        group: parsed(row, "grp")?,
        created: time(row, "created")?,
        created_by: optional_text(row, "created_by")?,
        source: optional_text(row, "source")?.map(|text| SourceId::new(&text)),
        template: optional_parsed(row, "template")?,
        inputs: json("inputs", &text(row, "inputs")?)?,
        labels: json("labels", &text(row, "labels")?)?,
        required_labels: json("required_labels", &text(row, "required_labels")?)?,
        pin: optional_text(row, "pin")?,
        not_before: optional_time(row, "not_before")?,
        dedupe_key: optional_text(row, "dedupe_key")?,
        retries: optional_number(row, "retries")?,
        is_paused: flag(row, "paused")?,
        auto_requeue: flag(row, "auto_requeue")?,
        requeue_limit: optional_number(row, "requeue_limit")?,
        requeue_count: number(row, "requeue_count")?,
        errors_in_row: number(row, "errors_in_row")?,
        is_deleted: flag(row, "deleted")?,
    })
}

pub(crate) fn group(row: &AnyRow) -> Result<GroupState, StoreError> {
    Ok(GroupState {
        id: parsed(row, "id")?,
        kind: parsed(row, "kind")?,
        name: text(row, "name")?,
        description: optional_text(row, "description")?,
        labels: json("labels", &text(row, "labels")?)?,
        is_paused: flag(row, "paused")?,
        is_draining: flag(row, "draining")?,
        in_config: flag(row, "in_config")?,
        place: number(row, "place")?,
        version: number(row, "version")?,
        created: time(row, "created")?,
        updated: time(row, "updated")?,
    })
}

/// A template, and whether it is in the configuration.
pub(crate) fn template(row: &AnyRow) -> Result<(Template, bool), StoreError> {
    Ok((json("definition", &text(row, "definition")?)?, flag(row, "in_config")?))
}

pub(crate) fn round(row: &AnyRow) -> Result<Round, StoreError> {
    Ok(Round {
        number: number(row, "number")?,
        begun: time(row, "begun")?,
        again: json("again", &text(row, "again")?)?,
        is_over: flag(row, "is_over")?,
    })
}

/// A host's MAC, and whether the neighbour table had it.
pub(crate) fn mac(row: &AnyRow) -> Result<(HostId, Mac, bool), StoreError> {
    Ok((parsed(row, "host")?, parsed(row, "mac")?, flag(row, "seen")?))
}

pub(crate) fn run(row: &AnyRow) -> Result<Run, StoreError> {
    Ok(Run {
        id: parsed(row, "id")?,
        job: parsed(row, "job")?,
        host: parsed(row, "host")?,
        workload: parsed(row, "workload")?,
        epoch: number(row, "epoch")?,
        attempt: number(row, "attempt")?,
        state: parsed(row, "state")?,
        verdict: optional_parsed(row, "verdict")?,
        reason: optional_text(row, "reason")?,
        created: time(row, "created")?,
        since: time(row, "since")?,
        deadline: optional_time(row, "deadline")?,
        size: number(row, "size")?,
        transfer: parsed(row, "transfer")?,
        transfers: number(row, "transfers")?,
        sent: number(row, "sent")?,
        most_sent: number(row, "most_sent")?,
        broken: number(row, "broken")?,
        wholes: number(row, "wholes")?,
        reboots: number(row, "reboots")?,
        reboots_allowed: number(row, "reboots_allowed")?,
        booted_at: optional_time(row, "booted_at")?,
        reports: number(row, "reports")?,
        is_disputed: flag(row, "disputed")?,
    })
}

pub(crate) fn report_key(row: &AnyRow) -> Result<ReportKey, StoreError> {
    Ok(ReportKey { id: parsed(row, "id")?, run: parsed(row, "run")?, digest: text(row, "digest")? })
}

pub(crate) fn report(row: &AnyRow) -> Result<Report, StoreError> {
    Ok(Report {
        id: parsed(row, "id")?,
        run: parsed(row, "run")?,
        at: time(row, "at")?,
        late: flag(row, "late")?,
        content: NewReport {
            digest: text(row, "digest")?,
            title: text(row, "title")?,
            json: text(row, "content")?,
            verdict: parsed(row, "verdict")?,
        },
    })
}

pub(crate) fn event(row: &AnyRow) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent { seq: number(row, "seq")?, event: json("data", &text(row, "data")?)? })
}

pub(crate) fn issue(row: &AnyRow) -> Result<Issue, StoreError> {
    Ok(Issue {
        report: parsed(row, "report")?,
        repository: text(row, "repository")?,
        number: number(row, "number")?,
        url: text(row, "url")?,
    })
}

pub(crate) fn waiting_effect(row: &AnyRow) -> Result<WaitingEffect, StoreError> {
    Ok(WaitingEffect {
        key: text(row, "idempotency_key")?,
        effect: json("effect", &text(row, "effect")?)?,
        at: time(row, "at")?,
        due: time(row, "due")?,
        attempts: number(row, "attempts")?,
        error: optional_text(row, "error")?,
        progress: optional_text(row, "progress")?,
    })
}
