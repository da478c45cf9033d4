//! What a decision needs to know.

use std::collections::BTreeSet;

use dispatch_core::queue::Snapshot;
use dispatch_core::run::Policy;
use dispatch_core::{Host, HostId, JobId, ReportId, Run, RunId};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};

use crate::{Focus, Overview, StoreError, StoredReport, rows};

/// How many of a host's latest runs are loaded with it: enough to find the one that a late report is from.
const LATEST_RUNS: i64 = 4;

async fn all<T>(
    connection: &mut AnyConnection,
    query: Query<'_, Any, AnyArguments>,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    query.fetch_all(connection).await?.iter().map(read).collect()
}

async fn maybe<T>(
    connection: &mut AnyConnection,
    query: Query<'_, Any, AnyArguments>,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    query.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

pub(crate) async fn snapshot(
    connection: &mut AnyConnection,
    focus: Focus,
    policy: &Policy,
) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    snapshot.policy.clone_from(policy);
    let mut more_jobs: BTreeSet<JobId> = BTreeSet::new();
    if let Some(who) = focus.who {
        let mac = who.mac.map(|mac| mac.to_string());
        let query = sqlx::query(
            "SELECT * FROM hosts WHERE address = $1 OR name = $2 OR id IN (SELECT host FROM host_macs WHERE mac = $3) \
             ORDER BY first_seen, id",
        )
        .bind(who.address.to_string())
        .bind(who.name.map(|name| name.to_string()))
        .bind(mac);
        snapshot.hosts = all(connection, query, rows::host).await?;
        for host in &mut snapshot.hosts {
            add_macs(connection, host).await?;
        }
        for host in &snapshot.hosts {
            more_jobs.extend(jobs_of_latest_runs(connection, host.id).await?);
        }
    }
    if let Some(run) = focus.run {
        let query = sqlx::query("SELECT job FROM runs WHERE id = $1").bind(run.to_string());
        more_jobs.extend(maybe(connection, query, |row| rows::parsed::<JobId>(row, "job")).await?);
    }
    more_jobs.extend(focus.job);
    let round = sqlx::query("SELECT * FROM rounds ORDER BY number DESC LIMIT 1");
    snapshot.round = maybe(connection, round, rows::round).await?;
    let (jobs, runs, workloads) = if focus.all_jobs {
        (
            "SELECT * FROM jobs ORDER BY position, id",
            "SELECT * FROM runs ORDER BY created, id",
            "SELECT * FROM workloads",
        )
    } else {
        (
            "SELECT * FROM jobs WHERE state IN ('queued', 'active') ORDER BY position, id",
            "SELECT * FROM runs WHERE job IN (SELECT id FROM jobs WHERE state IN ('queued', 'active')) \
             ORDER BY created, id",
            "SELECT * FROM workloads WHERE id IN (SELECT workload FROM jobs WHERE state IN ('queued', 'active'))",
        )
    };
    snapshot.jobs = all(connection, sqlx::query(jobs), rows::job).await?;
    snapshot.runs = all(connection, sqlx::query(runs), rows::run).await?;
    snapshot.workloads = all(connection, sqlx::query(workloads), rows::workload).await?;
    for id in more_jobs {
        if !snapshot.jobs.iter().any(|job| job.id == id) {
            add_job(connection, &mut snapshot, id).await?;
        }
    }
    add_hosts(connection, &mut snapshot).await?;
    let with_reports: Vec<RunId> =
        snapshot.runs.iter().filter(|run| run.reports > 0).map(|run| run.id).collect();
    for run in with_reports {
        let query = sqlx::query("SELECT id, run, digest FROM reports WHERE run = $1 ORDER BY at, id")
            .bind(run.to_string());
        snapshot.reports.extend(all(connection, query, rows::report_key).await?);
    }
    Ok(snapshot)
}

async fn jobs_of_latest_runs(connection: &mut AnyConnection, host: HostId) -> Result<Vec<JobId>, StoreError> {
    let query = sqlx::query(
        "SELECT job FROM runs WHERE host = $1 \
         AND (wholes > 0 OR booted_at IS NOT NULL OR transfer IN ('lost', 'unsure')) \
         ORDER BY created DESC, id DESC LIMIT $2",
    )
    .bind(host.to_string())
    .bind(LATEST_RUNS);
    all(connection, query, |row| rows::parsed(row, "job")).await
}

async fn add_job(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    id: JobId,
) -> Result<(), StoreError> {
    let id = id.to_string();
    let query = sqlx::query("SELECT * FROM jobs WHERE id = $1").bind(&id);
    snapshot.jobs.extend(maybe(connection, query, rows::job).await?);
    let query = sqlx::query("SELECT * FROM runs WHERE job = $1 ORDER BY created, id").bind(&id);
    snapshot.runs.extend(all(connection, query, rows::run).await?);
    let query = sqlx::query("SELECT * FROM workloads WHERE id IN (SELECT workload FROM jobs WHERE id = $1)")
        .bind(&id);
    snapshot.workloads.extend(maybe(connection, query, rows::workload).await?);
    Ok(())
}

/// The hosts that runs are on, where they are not there yet.
async fn add_hosts(connection: &mut AnyConnection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let known: BTreeSet<HostId> = snapshot.hosts.iter().map(|host| host.id).collect();
    let wanted: BTreeSet<HostId> = snapshot.runs.iter().map(|run| run.host).collect();
    for id in wanted.difference(&known) {
        snapshot.hosts.extend(one_host(connection, *id).await?);
    }
    Ok(())
}

async fn one_host(connection: &mut AnyConnection, id: HostId) -> Result<Option<Host>, StoreError> {
    let query = sqlx::query("SELECT * FROM hosts WHERE id = $1").bind(id.to_string());
    let Some(mut host) = maybe(connection, query, rows::host).await? else { return Ok(None) };
    add_macs(connection, &mut host).await?;
    Ok(Some(host))
}

async fn add_macs(connection: &mut AnyConnection, host: &mut Host) -> Result<(), StoreError> {
    let query = sqlx::query("SELECT mac, seen FROM host_macs WHERE host = $1 ORDER BY place, mac")
        .bind(host.id.to_string());
    for (mac, was_seen) in all(connection, query, rows::mac).await? {
        let macs = if was_seen { &mut host.macs } else { &mut host.told_macs };
        macs.push(mac);
    }
    Ok(())
}

pub(crate) async fn report(
    connection: &mut AnyConnection,
    id: ReportId,
) -> Result<Option<StoredReport>, StoreError> {
    let query = sqlx::query("SELECT * FROM reports WHERE id = $1").bind(id.to_string());
    let Some(report) = maybe(connection, query, rows::report).await? else { return Ok(None) };
    let query = sqlx::query("SELECT * FROM runs WHERE id = $1").bind(report.run.to_string());
    let Some(run): Option<Run> = maybe(connection, query, rows::run).await? else { return Ok(None) };
    let query = sqlx::query("SELECT * FROM jobs WHERE id = $1").bind(run.job.to_string());
    let Some(job) = maybe(connection, query, rows::job).await? else { return Ok(None) };
    let Some(host) = one_host(connection, run.host).await? else { return Ok(None) };
    Ok(Some(StoredReport { report, run, job, host }))
}

pub(crate) async fn reports_of(
    connection: &mut AnyConnection,
    job: JobId,
) -> Result<Vec<StoredReport>, StoreError> {
    let query = sqlx::query(
        "SELECT reports.id FROM reports JOIN runs ON runs.id = reports.run WHERE runs.job = $1 \
         ORDER BY reports.at, reports.id",
    )
    .bind(job.to_string());
    let ids: Vec<ReportId> = all(connection, query, |row| rows::parsed(row, "id")).await?;
    let mut reports = Vec::new();
    for id in ids {
        reports.extend(report(connection, id).await?);
    }
    Ok(reports)
}

pub(crate) async fn overview(connection: &mut AnyConnection) -> Result<Overview, StoreError> {
    let round = sqlx::query("SELECT * FROM rounds ORDER BY number DESC LIMIT 1");
    let round = maybe(connection, round, rows::round).await?;
    let number = i64::from(round.as_ref().map_or(1, |round| round.number));
    let jobs =
        sqlx::query("SELECT * FROM jobs WHERE round = $1 ORDER BY priority DESC, position, id").bind(number);
    let jobs = all(connection, jobs, rows::job).await?;
    let runs = sqlx::query(
        "SELECT * FROM runs WHERE job IN (SELECT id FROM jobs WHERE round = $1) ORDER BY created, id",
    )
    .bind(number);
    let runs = all(connection, runs, rows::run).await?;
    let workloads =
        sqlx::query("SELECT * FROM workloads WHERE id IN (SELECT workload FROM jobs WHERE round = $1)")
            .bind(number);
    let workloads = all(connection, workloads, rows::workload).await?;
    let mut hosts =
        all(connection, sqlx::query("SELECT * FROM hosts ORDER BY first_seen, id"), rows::host).await?;
    for host in &mut hosts {
        add_macs(connection, host).await?;
    }
    let due = sqlx::query("SELECT COUNT(*) AS due FROM outbox WHERE done_at IS NULL");
    let due: i64 = sqlx::Row::try_get(&due.fetch_one(connection).await?, "due")?;
    Ok(Overview { round, jobs, runs, workloads, hosts, effects_due: u64::try_from(due).unwrap_or(0) })
}
