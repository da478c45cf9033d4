//! What a decision changes.

use std::collections::BTreeMap;

use dispatch_core::queue::stats::Ended;
use dispatch_core::queue::{Change, Issue, Lease, Report, Round, Settled};
use dispatch_core::{
    Arch, Effect, Event, GroupState, Host, HostId, Job, Mac, Run, SourceId, Template, TemplateId, Verdict,
    Workload,
};
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::{StoreError, rows};

/// Writes the changes in their order. Returns the sequence number of the last event, if there was one.
pub(crate) async fn changes(
    connection: &mut AnyConnection,
    changes: &[Change],
) -> Result<Option<i64>, StoreError> {
    let mut last = None;
    let mut now = None;
    for change in changes {
        match change {
            Change::Host(host) => save_host(connection, host).await?,
            Change::Workload(workload) => save_workload(connection, workload).await?,
            Change::Job(job) => save_job(connection, job).await?,
            Change::Run(run) => save_run(connection, run).await?,
            Change::Lease(lease) => take_lease(connection, lease).await?,
            Change::Release(lease) => release_lease(connection, lease).await?,
            Change::Report(report) => {
                now = Some(report.at);
                save_report(connection, report).await?;
            }
            Change::Round(round) => save_round(connection, round).await?,
            Change::Event(event) => {
                now = Some(event.at);
                last = Some(append_event(connection, event).await?);
            }
            Change::Effect(effect) => {
                // Every effect follows from a report or an event of the same decision.
                save_effect(connection, effect, now.unwrap_or(Timestamp::UNIX_EPOCH)).await?;
            }
            Change::Group(group) => {
                now = Some(group.updated);
                save_group(connection, group).await?;
            }
            Change::Template(template, at) => save_template(connection, template, *at).await?,
            Change::TemplatesAre(left, at) => forget_templates(connection, left, *at).await?,
            Change::SourcesAre(there) => forget_sources(connection, there).await?,
            Change::Settled(settled) => settle_effect(connection, settled).await?,
            Change::Issue(issue) => save_issue(connection, issue).await?,
        }
    }
    Ok(last)
}

fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Text as both engines keep it: PostgreSQL refuses the character of number 0, and a report must not be lost for one.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn word(verdict: Option<Verdict>) -> Option<&'static str> {
    verdict.map(Verdict::as_str)
}

fn json<T: serde::Serialize>(column: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged { column, value: error.to_string() })
}

async fn save_host(connection: &mut AnyConnection, host: &Host) -> Result<(), StoreError> {
    let idle = host.idle.as_ref().map(|idle| json("idle", idle)).transpose()?;
    sqlx::query(
        "INSERT INTO hosts (id, name, address, uuid, arch, shared, epoch, idle, first_seen, last_seen, host_key, \
         title, labels, accepted, paused, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address, uuid = excluded.uuid, \
         arch = excluded.arch, shared = excluded.shared, epoch = excluded.epoch, idle = excluded.idle, \
         last_seen = excluded.last_seen, host_key = excluded.host_key, title = excluded.title, \
         labels = excluded.labels, accepted = excluded.accepted, paused = excluded.paused, \
         version = excluded.version",
    )
    .bind(host.id.to_string())
    .bind(host.name.as_ref().map(ToString::to_string))
    .bind(host.address.to_string())
    .bind(host.uuid.as_deref().map(plain))
    .bind(host.arch.map(Arch::as_str))
    .bind(host.shared.as_deref().map(plain))
    .bind(big(host.epoch))
    .bind(idle)
    .bind(host.first_seen.as_microsecond())
    .bind(host.last_seen.as_microsecond())
    .bind(host.key.as_ref().map(ToString::to_string))
    .bind(host.title.clone())
    .bind(json("labels", &host.labels)?)
    .bind(i64::from(host.is_accepted))
    .bind(i64::from(host.is_paused))
    .bind(big(host.version))
    .execute(&mut *connection)
    .await?;
    save_macs(connection, host).await
}

async fn save_macs(connection: &mut AnyConnection, host: &Host) -> Result<(), StoreError> {
    let id = host.id.to_string();
    let known =
        sqlx::query("SELECT host, mac, seen FROM host_macs WHERE host = $1 ORDER BY seen DESC, place, mac")
            .bind(&id)
            .fetch_all(&mut *connection)
            .await?;
    let known = known.iter().map(rows::mac).collect::<Result<Vec<_>, _>>()?;
    let seen = host.macs.iter().map(|mac| (host.id, *mac, true));
    let wanted: Vec<(HostId, Mac, bool)> =
        seen.chain(host.told_macs.iter().map(|mac| (host.id, *mac, false))).collect();
    if known == wanted {
        return Ok(());
    }
    sqlx::query("DELETE FROM host_macs WHERE host = $1").bind(&id).execute(&mut *connection).await?;
    for (place, (_, mac, was_seen)) in (0_i64..).zip(wanted) {
        sqlx::query(
            "INSERT INTO host_macs (host, mac, seen, place) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (host, mac, seen) DO NOTHING",
        )
        .bind(&id)
        .bind(mac.to_string())
        .bind(i64::from(was_seen))
        .bind(place)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn save_round(connection: &mut AnyConnection, round: &Round) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO rounds (number, begun, again, is_over) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (number) DO UPDATE SET is_over = excluded.is_over",
    )
    .bind(i64::from(round.number))
    .bind(round.begun.as_microsecond())
    .bind(json("again", &round.again)?)
    .bind(i64::from(round.is_over))
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_workload(connection: &mut AnyConnection, workload: &Workload) -> Result<(), StoreError> {
    let terms = &workload.terms;
    sqlx::query(
        "INSERT INTO workloads (id, name, kind, size, modified, digest, origin, reboots, description, arch, labels, \
         retries, deadlines, place, made_for, source, grp, offered, queued_for, first_seen, workflow) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) \
         ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, origin = excluded.origin, \
         reboots = excluded.reboots, description = excluded.description, arch = excluded.arch, \
         labels = excluded.labels, retries = excluded.retries, deadlines = excluded.deadlines, place = excluded.place, \
         made_for = excluded.made_for, offered = excluded.offered, queued_for = excluded.queued_for",
    )
    .bind(workload.id.to_string())
    .bind(plain(&workload.name))
    .bind(workload.kind.as_str())
    .bind(big(workload.size))
    .bind(workload.modified.as_microsecond())
    .bind(workload.digest.map(|digest| digest.to_string()))
    .bind(workload.origin.as_deref().map(plain))
    .bind(i64::from(terms.reboots))
    .bind(terms.description.as_deref().map(plain))
    .bind(terms.arch.map(Arch::as_str))
    .bind(json("labels", &terms.labels)?)
    .bind(terms.retries.map(i64::from))
    .bind(json("deadlines", &terms.deadlines)?)
    .bind(terms.order)
    .bind(workload.made_for.map(Arch::as_str))
    .bind(workload.source.to_string())
    .bind(workload.group.to_string())
    .bind(i64::from(workload.is_offered))
    .bind(json("queued_for", &workload.queued_for)?)
    .bind(workload.first_seen.as_microsecond())
    .bind(workload.workflow.as_ref().map(|workflow| json("workflow", workflow)).transpose()?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_job(connection: &mut AnyConnection, job: &Job) -> Result<(), StoreError> {
    count_history(connection, job).await?;
    sqlx::query(
        "INSERT INTO jobs (id, name, workload, priority, position, state, verdict, reason, waits, since, \
         round, forgiven, withdrawn, version, grp, created, created_by, source, template, inputs, labels, \
         required_labels, pin, not_before, dedupe_key, retries, paused, auto_requeue, requeue_limit, requeue_count, \
         errors_in_row, deleted, ended, asked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
         $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, workload = excluded.workload, priority = excluded.priority, \
         position = excluded.position, state = excluded.state, verdict = excluded.verdict, \
         reason = excluded.reason, waits = excluded.waits, since = excluded.since, \
         forgiven = excluded.forgiven, withdrawn = excluded.withdrawn, version = excluded.version, \
         inputs = excluded.inputs, labels = excluded.labels, required_labels = excluded.required_labels, \
         not_before = excluded.not_before, dedupe_key = excluded.dedupe_key, retries = excluded.retries, \
         paused = excluded.paused, auto_requeue = excluded.auto_requeue, requeue_limit = excluded.requeue_limit, \
         requeue_count = excluded.requeue_count, errors_in_row = excluded.errors_in_row, \
         deleted = excluded.deleted, ended = excluded.ended, asked = excluded.asked",
    )
    .bind(job.id.to_string())
    .bind(plain(&job.name))
    .bind(job.workload.to_string())
    .bind(job.priority)
    .bind(job.position)
    .bind(job.state.as_str())
    .bind(word(job.verdict))
    .bind(job.reason.as_deref().map(plain))
    .bind(job.waits.as_deref().map(plain))
    .bind(job.since.as_microsecond())
    .bind(i64::from(job.round))
    .bind(i64::from(job.forgiven))
    .bind(i64::from(job.is_withdrawn))
    .bind(big(job.version))
    .bind(job.group.to_string())
    .bind(job.created.as_microsecond())
    .bind(job.created_by.clone())
    .bind(job.source.as_ref().map(ToString::to_string))
    .bind(job.template.as_ref().map(ToString::to_string))
    .bind(json("inputs", &job.inputs)?)
    .bind(json("labels", &job.labels)?)
    .bind(json("required_labels", &job.required_labels)?)
    .bind(job.pin.clone())
    .bind(job.not_before.map(Timestamp::as_microsecond))
    .bind(job.dedupe_key.clone())
    .bind(job.retries.map(i64::from))
    .bind(i64::from(job.is_paused))
    .bind(i64::from(job.auto_requeue))
    .bind(job.requeue_limit.map(i64::from))
    .bind(i64::from(job.requeue_count))
    .bind(i64::from(job.errors_in_row))
    .bind(i64::from(job.is_deleted))
    .bind(Ended::of(job.state, job.verdict).map(Ended::as_str))
    .bind(i64::from(job.is_asked))
    .execute(&mut *connection)
    .await?;
    save_labels(connection, job).await
}

/// Keeps the counts of a group's history, before a job is saved that comes into it or leaves it.
async fn count_history(connection: &mut AnyConnection, job: &Job) -> Result<(), StoreError> {
    let known = sqlx::query("SELECT ended FROM jobs WHERE id = $1 AND deleted = 0").bind(job.id.to_string());
    let before: Option<String> = match known.fetch_optional(&mut *connection).await? {
        Some(row) => row.try_get("ended")?,
        None => None,
    };
    let now = Ended::of(job.state, job.verdict).filter(|_| !job.is_deleted).map(Ended::as_str);
    if before.as_deref() == now {
        return Ok(());
    }
    for (ended, more) in [(before.as_deref(), -1_i64), (now, 1)] {
        let Some(ended) = ended else { continue };
        sqlx::query(
            "INSERT INTO history_counts (grp, ended, jobs) VALUES ($1, $2, $3) \
             ON CONFLICT (grp, ended) DO UPDATE SET jobs = history_counts.jobs + excluded.jobs",
        )
        .bind(job.group.to_string())
        .bind(ended.to_owned())
        .bind(more)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// What people call a job by has a table of its own, for filters.
async fn save_labels(connection: &mut AnyConnection, job: &Job) -> Result<(), StoreError> {
    let id = job.id.to_string();
    // A job without labels, which is most of them, costs one look at an index.
    let known = sqlx::query("SELECT name, value FROM job_labels WHERE job = $1")
        .bind(&id)
        .fetch_all(&mut *connection)
        .await?;
    let pair = |row: &AnyRow| Ok((row.try_get("name")?, row.try_get("value")?));
    let known = known.iter().map(pair).collect::<Result<BTreeMap<String, String>, StoreError>>()?;
    if known == job.labels {
        return Ok(());
    }
    sqlx::query("DELETE FROM job_labels WHERE job = $1").bind(&id).execute(&mut *connection).await?;
    for (name, value) in &job.labels {
        sqlx::query("INSERT INTO job_labels (job, name, value) VALUES ($1, $2, $3)")
            .bind(&id)
            .bind(name.clone())
            .bind(value.clone())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn save_group(connection: &mut AnyConnection, group: &GroupState) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO job_groups (id, kind, name, description, labels, paused, draining, in_config, place, version, \
         created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name, \
         description = excluded.description, labels = excluded.labels, paused = excluded.paused, \
         draining = excluded.draining, in_config = excluded.in_config, place = excluded.place, \
         version = excluded.version, updated = excluded.updated",
    )
    .bind(group.id.to_string())
    .bind(group.kind.as_str())
    .bind(group.name.clone())
    .bind(group.description.clone())
    .bind(json("labels", &group.labels)?)
    .bind(i64::from(group.is_paused))
    .bind(i64::from(group.is_draining))
    .bind(i64::from(group.in_config))
    .bind(group.place)
    .bind(big(group.version))
    .bind(group.created.as_microsecond())
    .bind(group.updated.as_microsecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_template(
    connection: &mut AnyConnection,
    template: &Template,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO templates (id, grp, definition, in_config, created, updated) VALUES ($1, $2, $3, 1, $4, $4) \
         ON CONFLICT (id) DO UPDATE SET grp = excluded.grp, definition = excluded.definition, in_config = 1, \
         updated = excluded.updated \
         WHERE templates.definition <> excluded.definition OR templates.in_config = 0",
    )
    .bind(template.id.to_string())
    .bind(template.group.to_string())
    .bind(json("definition", template)?)
    .bind(now.as_microsecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn forget_templates(
    connection: &mut AnyConnection,
    left: &[TemplateId],
    now: Timestamp,
) -> Result<(), StoreError> {
    let known =
        sqlx::query("SELECT id FROM templates WHERE in_config = 1").fetch_all(&mut *connection).await?;
    for row in &known {
        let id: TemplateId = rows::parsed(row, "id")?;
        if !left.contains(&id) {
            sqlx::query("UPDATE templates SET in_config = 0, updated = $1 WHERE id = $2")
                .bind(now.as_microsecond())
                .bind(id.to_string())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// What other sources had is offered no more.
async fn forget_sources(connection: &mut AnyConnection, there: &[SourceId]) -> Result<(), StoreError> {
    let known = sqlx::query("SELECT DISTINCT source FROM workloads WHERE offered = 1 AND workflow IS NULL")
        .fetch_all(&mut *connection)
        .await?;
    for row in &known {
        let source = SourceId::new(&row.try_get::<String, _>("source")?);
        if !there.contains(&source) {
            sqlx::query("UPDATE workloads SET offered = 0 WHERE source = $1 AND offered = 1")
                .bind(source.to_string())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

async fn save_run(connection: &mut AnyConnection, run: &Run) -> Result<(), StoreError> {
    fence(connection, run).await?;
    sqlx::query(
        "INSERT INTO runs (id, job, host, workload, epoch, attempt, state, active, verdict, reason, created, since, \
         deadline, size, transfer, transfers, sent, most_sent, broken, wholes, reboots, reboots_allowed, booted_at, \
         reports, disputed, public_name, grp) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
         $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, (SELECT grp FROM jobs WHERE jobs.id = $2)) \
         ON CONFLICT (id) DO UPDATE SET workload = excluded.workload, state = excluded.state, \
         active = excluded.active, verdict = excluded.verdict, reason = excluded.reason, since = excluded.since, \
         deadline = excluded.deadline, size = excluded.size, transfer = excluded.transfer, \
         transfers = excluded.transfers, sent = excluded.sent, most_sent = excluded.most_sent, \
         broken = excluded.broken, wholes = excluded.wholes, reboots = excluded.reboots, \
         booted_at = excluded.booted_at, reports = excluded.reports, disputed = excluded.disputed",
    )
    .bind(run.id.to_string())
    .bind(run.job.to_string())
    .bind(run.host.to_string())
    .bind(run.workload.to_string())
    .bind(big(run.epoch))
    .bind(i64::from(run.attempt))
    .bind(run.state.as_str())
    .bind(i64::from(!run.state.is_final()))
    .bind(word(run.verdict))
    .bind(run.reason.as_deref().map(plain))
    .bind(run.created.as_microsecond())
    .bind(run.since.as_microsecond())
    .bind(run.deadline.map(Timestamp::as_microsecond))
    .bind(big(run.size))
    .bind(run.transfer.as_str())
    .bind(i64::from(run.transfers))
    .bind(big(run.sent))
    .bind(big(run.most_sent))
    .bind(i64::from(run.broken))
    .bind(i64::from(run.wholes))
    .bind(i64::from(run.reboots))
    .bind(i64::from(run.reboots_allowed))
    .bind(run.booted_at.map(Timestamp::as_microsecond))
    .bind(i64::from(run.reports))
    .bind(i64::from(run.is_disputed))
    .bind(run.id.public_name().to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// A run that is going on is written only by whoever holds its lease; one that is over by anybody, because
/// the rules let nothing change there but its reports.
async fn fence(connection: &mut AnyConnection, run: &Run) -> Result<(), StoreError> {
    let active = sqlx::query("SELECT active FROM runs WHERE id = $1")
        .bind(run.id.to_string())
        .fetch_optional(&mut *connection)
        .await?
        .map_or(Ok(1_i64), |row| row.try_get("active"))?;
    let held = sqlx::query("SELECT 1 AS held FROM leases WHERE host = $1 AND run = $2 AND epoch = $3")
        .bind(run.host.to_string())
        .bind(run.id.to_string())
        .bind(big(run.epoch))
        .fetch_optional(connection)
        .await?;
    if active == 1 && held.is_none() {
        return Err(StoreError::Fenced { run: run.id, host: run.host });
    }
    Ok(())
}

/// Takes a lease that nobody holds, or renews the run's own.
async fn take_lease(connection: &mut AnyConnection, lease: &Lease) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO leases (host, run, epoch, held_until) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (host) DO UPDATE SET held_until = excluded.held_until \
         WHERE leases.run = excluded.run AND leases.epoch = excluded.epoch",
    )
    .bind(lease.host.to_string())
    .bind(lease.run.to_string())
    .bind(big(lease.epoch))
    .bind(lease.until.as_microsecond())
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Fenced { run: lease.run, host: lease.host });
    }
    Ok(())
}

async fn release_lease(connection: &mut AnyConnection, lease: &Lease) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM leases WHERE host = $1 AND run = $2 AND epoch = $3")
        .bind(lease.host.to_string())
        .bind(lease.run.to_string())
        .bind(big(lease.epoch))
        .execute(connection)
        .await?;
    Ok(())
}

async fn save_report(connection: &mut AnyConnection, report: &Report) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reports (id, run, at, late, digest, title, verdict, content, grp, job, host) \
         SELECT $1, id, $3, $4, $5, $6, $7, $8, grp, job, host FROM runs WHERE id = $2",
    )
    .bind(report.id.to_string())
    .bind(report.run.to_string())
    .bind(report.at.as_microsecond())
    .bind(i64::from(report.late))
    .bind(plain(&report.content.digest))
    .bind(plain(&report.content.title))
    .bind(report.content.verdict.as_str())
    .bind(plain(&report.content.json))
    .execute(connection)
    .await?;
    Ok(())
}

/// The next number of a sequence. Whoever took one holds the counter's row until it commits, so that the numbers are in the
/// order of the commits.
async fn next(connection: &mut AnyConnection, counter: &str) -> Result<i64, StoreError> {
    let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
        .bind(counter)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("value")?)
}

async fn append_event(connection: &mut AnyConnection, event: &Event) -> Result<i64, StoreError> {
    let seq = next(connection, "event").await?;
    sqlx::query(
        "INSERT INTO events (seq, at, job, run, host, data, grp) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(seq)
    .bind(event.at.as_microsecond())
    .bind(event.job.as_ref().map(|job| job.id.to_string()))
    .bind(event.run.as_ref().map(|run| run.id.to_string()))
    .bind(event.host.as_ref().map(|host| host.id.to_string()))
    .bind(json("data", event)?)
    .bind(event.group.as_ref().map(ToString::to_string))
    .execute(connection)
    .await?;
    Ok(seq)
}

async fn save_effect(
    connection: &mut AnyConnection,
    effect: &Effect,
    now: Timestamp,
) -> Result<(), StoreError> {
    let seq = next(connection, "effect").await?;
    sqlx::query(
        "INSERT INTO outbox (idempotency_key, effect, at, due, attempts, seq) VALUES ($1, $2, $3, $4, 0, $5) \
         ON CONFLICT (idempotency_key) DO NOTHING",
    )
    .bind(effect.idempotency_key())
    .bind(json("effect", effect)?)
    .bind(now.as_microsecond())
    .bind(now.as_microsecond())
    .bind(seq)
    .execute(connection)
    .await?;
    Ok(())
}

async fn settle_effect(connection: &mut AnyConnection, settled: &Settled) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET done_at = $1, error = $2, refused = $3, attempts = attempts + 1 WHERE idempotency_key = $4",
    )
    .bind(settled.at.as_microsecond())
    .bind(settled.refused.as_deref().map(plain))
    .bind(i64::from(settled.refused.is_some()))
    .bind(settled.key.clone())
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_issue(connection: &mut AnyConnection, issue: &Issue) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO issues (report, repository, number, url) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (report) DO NOTHING",
    )
    .bind(issue.report.to_string())
    .bind(issue.repository.clone())
    .bind(big(issue.number))
    .bind(plain(&issue.url))
    .execute(connection)
    .await?;
    Ok(())
}
