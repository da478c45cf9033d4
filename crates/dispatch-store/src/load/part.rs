//! Decisions that need only some of the jobs that are not over.

use std::collections::BTreeSet;

use dispatch_core::queue::Snapshot;
use dispatch_core::{GroupId, Host, HostId, Job, JobId, JobState, Sighting, SourceId, WorkloadId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{MOST_VALUES, all, maybe, places};
use crate::{Scope, StoreError, rows};

/// How many of the jobs that wait in a group are looked at for a host that asks.
const CANDIDATES: i64 = 1000;

/// The jobs that run, and those of the scope, with what belongs to them.
pub(crate) async fn add(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    scope: &Scope,
    who: Option<&Sighting>,
) -> Result<(), StoreError> {
    snapshot.is_part = true;
    let active = sqlx::query("SELECT * FROM jobs WHERE state = 'active' ORDER BY position, id");
    snapshot.jobs = all(connection, active, rows::job).await?;
    match scope {
        Scope::Open | Scope::Active => {}
        Scope::Group(group) => {
            let query = sqlx::query(
                "SELECT * FROM jobs WHERE grp = $1 AND state = 'queued' ORDER BY priority DESC, position, id",
            )
            .bind(group.to_string());
            snapshot.jobs.extend(all(connection, query, rows::job).await?);
        }
        Scope::Candidates => {
            add_runs(connection, snapshot).await?;
            for group in groups_of(snapshot, who) {
                add_candidates(connection, snapshot, &group).await?;
            }
        }
        Scope::Source(source) => add_source(connection, snapshot, source).await?,
    }
    add_runs(connection, snapshot).await?;
    add_workloads_of_jobs(connection, snapshot).await
}

/// The groups that a host which asks may be given work of, by the labels that it carries.
fn groups_of(snapshot: &Snapshot, who: Option<&Sighting>) -> Vec<GroupId> {
    // One that was never seen may be listed.
    let stranger = who.map(|who| {
        let mut host =
            Host::new(HostId::new(Timestamp::UNIX_EPOCH, [0; 10]), who.address, Timestamp::UNIX_EPOCH);
        host.name.clone_from(&who.name);
        host.macs.extend(who.mac);
        host
    });
    let groups = snapshot.hosts.iter().chain(&stranger).flat_map(|host| snapshot.groups_of(host));
    let groups: BTreeSet<GroupId> = groups.map(|group| group.id.clone()).collect();
    groups.into_iter().collect()
}

async fn add_candidates(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    group: &GroupId,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "SELECT * FROM jobs WHERE grp = $1 AND state = 'queued' AND paused = 0 \
         ORDER BY priority DESC, position, id LIMIT $2",
    )
    .bind(group.to_string())
    .bind(CANDIDATES);
    snapshot.jobs.extend(all(connection, query, rows::job).await?);
    Ok(())
}

/// All workloads of a source, and the jobs with them that wait, or that left the queue with them.
async fn add_source(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    source: &SourceId,
) -> Result<(), StoreError> {
    let query = sqlx::query("SELECT * FROM workloads WHERE source = $1 ORDER BY first_seen, id")
        .bind(source.to_string());
    snapshot.workloads = all(connection, query, rows::workload).await?;
    let query = sqlx::query(
        "SELECT * FROM jobs WHERE workload IN (SELECT id FROM workloads WHERE source = $1) \
         AND (state = 'queued' OR state = 'cancelled' AND withdrawn = 1) ORDER BY position, id",
    )
    .bind(source.to_string());
    snapshot.jobs.extend(all(connection, query, rows::job).await?);
    Ok(())
}

/// The workloads that a group's sources offer, and the last place in its queue.
pub(super) async fn add_group(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    group: &GroupId,
) -> Result<(), StoreError> {
    add_tail(connection, snapshot, group).await?;
    let query =
        sqlx::query("SELECT * FROM workloads WHERE grp = $1 AND offered = 1 ORDER BY name, first_seen, id")
            .bind(group.to_string());
    let offered = all(connection, query, rows::workload).await?;
    let known: BTreeSet<WorkloadId> = snapshot.workloads.iter().map(|workload| workload.id).collect();
    snapshot.workloads.extend(offered.into_iter().filter(|workload| !known.contains(&workload.id)));
    Ok(())
}

async fn add_tail(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    group: &GroupId,
) -> Result<(), StoreError> {
    let query =
        sqlx::query("SELECT MAX(position) AS position FROM jobs WHERE grp = $1").bind(group.to_string());
    let last =
        maybe(connection, query, |row| Ok(sqlx::Row::try_get::<Option<i64>, _>(row, "position")?)).await?;
    snapshot.tails.insert(group.clone(), last.flatten().unwrap_or(0));
    Ok(())
}

/// The ends of the queues that a job comes back to when one of those here is over.
pub(super) async fn add_tails(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let again = snapshot.jobs.iter().filter(|job| job.auto_requeue && !job.state.is_final());
    let groups: BTreeSet<GroupId> = again.map(|job| job.group.clone()).collect();
    for group in groups {
        if !snapshot.tails.contains_key(&group) {
            add_tail(connection, snapshot, &group).await?;
        }
    }
    Ok(())
}

/// The runs of the jobs that are not merely waiting in a queue, and the reports of these.
async fn add_runs(connection: &mut AnyConnection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let known: BTreeSet<JobId> = snapshot.runs.iter().map(|run| run.job).collect();
    // One that waits may have been tried.
    let is_wanted =
        |job: &&Job| job.state == JobState::Active || job.reason.is_some() || job.since != job.created;
    let jobs = snapshot.jobs.iter().filter(is_wanted).map(|job| job.id);
    let jobs: Vec<String> = jobs.filter(|job| !known.contains(job)).map(|job| job.to_string()).collect();
    add_runs_of(connection, snapshot, &jobs).await
}

async fn add_runs_of(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    jobs: &[String],
) -> Result<(), StoreError> {
    for jobs in jobs.chunks(MOST_VALUES) {
        let places = places(jobs.len());
        let runs = format!("SELECT * FROM runs WHERE job IN ({places}) ORDER BY created, id");
        snapshot.runs.extend(all(connection, bound(runs, jobs), rows::run).await?);
        let reports = format!(
            "SELECT id, run, digest FROM reports WHERE run IN (SELECT id FROM runs WHERE job IN ({places})) \
             ORDER BY at, id"
        );
        snapshot.reports.extend(all(connection, bound(reports, jobs), rows::report_key).await?);
    }
    Ok(())
}

/// These jobs, where they are not there yet, with what belongs to them.
pub(super) async fn add_jobs(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    wanted: &BTreeSet<JobId>,
) -> Result<(), StoreError> {
    let known: BTreeSet<JobId> = snapshot.jobs.iter().map(|job| job.id).collect();
    let missing: Vec<String> = wanted.difference(&known).map(ToString::to_string).collect();
    for ids in missing.chunks(MOST_VALUES) {
        let query = format!("SELECT * FROM jobs WHERE id IN ({}) ORDER BY id", places(ids.len()));
        snapshot.jobs.extend(all(connection, bound(query, ids), rows::job).await?);
    }
    let had: BTreeSet<String> = snapshot.runs.iter().map(|run| run.job.to_string()).collect();
    let without: Vec<String> = missing.into_iter().filter(|job| !had.contains(job)).collect();
    add_runs_of(connection, snapshot, &without).await?;
    add_workloads_of_jobs(connection, snapshot).await
}

/// What belongs to jobs that were read by themselves.
pub(crate) async fn add_belongings(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    add_runs(connection, snapshot).await?;
    add_workloads_of_jobs(connection, snapshot).await?;
    super::add_hosts(connection, snapshot).await
}

async fn add_workloads_of_jobs(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let jobs = snapshot.jobs.iter().map(|job| job.workload);
    let wanted: BTreeSet<WorkloadId> = jobs.chain(snapshot.runs.iter().map(|run| run.workload)).collect();
    let wanted: Vec<WorkloadId> = wanted.into_iter().collect();
    add_workloads(connection, snapshot, &wanted).await
}

/// These workloads, where they are not there yet.
pub(super) async fn add_workloads(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    wanted: &[WorkloadId],
) -> Result<(), StoreError> {
    let known: BTreeSet<WorkloadId> = snapshot.workloads.iter().map(|workload| workload.id).collect();
    let missing = wanted.iter().filter(|id| !known.contains(id));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    for ids in missing.chunks(MOST_VALUES) {
        let query = format!("SELECT * FROM workloads WHERE id IN ({}) ORDER BY id", places(ids.len()));
        snapshot.workloads.extend(all(connection, bound(query, ids), rows::workload).await?);
    }
    Ok(())
}

/// A query with these values. Its text must be made of nothing that comes from outside.
fn bound(query: String, values: &[String]) -> Query<'static, Any, AnyArguments> {
    values.iter().fold(sqlx::query(AssertSqlSafe(query)), |query, value| query.bind(value.clone()))
}
