//! Decisions that need only some of the jobs that are not over.

use std::collections::{BTreeMap, BTreeSet};

use dispatch_core::queue::{Found, Light, Sieve, Snapshot};
use dispatch_core::{GroupId, Host, HostId, Job, JobId, SourceId, Workload, WorkloadId};
use sqlx::AnyConnection;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{MOST_VALUES, all, maybe, places};
use crate::{Focus, Scope, StoreError, rows};

/// How many of the jobs that wait in a group are looked at at once for a host that asks; each time twice as many, up
/// to the second number.
const AT_ONCE: (i64, i64) = (250, 4000);

/// The jobs that run, and those of the scope, with what belongs to them.
pub(crate) async fn add(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    scope: &Scope,
    focus: &Focus,
) -> Result<(), StoreError> {
    snapshot.is_part = true;
    let asking = match scope {
        Scope::Candidates => focus.who.as_ref().and_then(|who| snapshot.asking(who)),
        _ => None,
    };
    snapshot.jobs = if let Some(host) = &asking {
        active_near(connection, snapshot, host).await?
    } else {
        let active = sqlx::query("SELECT * FROM jobs WHERE state = 'active' ORDER BY position, id");
        all(connection, active, rows::job).await?
    };
    match scope {
        Scope::Open | Scope::Active => {}
        Scope::Group(group) => {
            // Where a job is moved, nobody asks what was tried of those that wait.
            add_runs(connection, snapshot).await?;
            let query = sqlx::query(
                "SELECT * FROM jobs WHERE grp = $1 AND state = 'queued' ORDER BY priority DESC, position, id",
            )
            .bind(group.to_string());
            snapshot.jobs.extend(all(connection, query, rows::job).await?);
            return add_workloads_of_jobs(connection, snapshot).await;
        }
        Scope::Candidates => {
            if let Some(host) = asking {
                add_candidates(connection, snapshot, &host, focus).await?;
            }
        }
        Scope::Source(source) => add_source(connection, snapshot, source, &focus.found).await?,
        Scope::Workloads(workloads) => add_waiting(connection, snapshot, workloads).await?,
        Scope::Images => {
            let first = sqlx::query(FIRST_OF_EACH_WAIT);
            let read = |row: &AnyRow| rows::optional_parsed::<JobId>(row, "job");
            let first = all(connection, first, read).await?.into_iter().flatten().collect();
            add_jobs(connection, snapshot, &first).await?;
        }
    }
    add_runs(connection, snapshot).await?;
    add_workloads_of_jobs(connection, snapshot).await
}

/// From workload to workload, and from reason to reason, along an index: however many jobs wait, only one of each kind is
/// looked at. Each workload ends with one that has no reason.
pub(crate) const FIRST_OF_EACH_WAIT: &str = "\
    WITH RECURSIVE waiting (workload) AS ( \
        SELECT MIN(jobs.workload) FROM jobs WHERE jobs.state = 'queued' \
        UNION ALL \
        SELECT (SELECT MIN(jobs.workload) FROM jobs WHERE jobs.state = 'queued' AND jobs.workload > waiting.workload) \
        FROM waiting WHERE waiting.workload IS NOT NULL \
    ), \
    reasons (workload, waits) AS ( \
        SELECT workloads.id, (SELECT MIN(jobs.waits) FROM jobs WHERE jobs.state = 'queued' AND jobs.workload = workloads.id) \
        FROM waiting JOIN workloads ON workloads.id = waiting.workload WHERE workloads.origin IS NOT NULL \
        UNION ALL \
        SELECT reasons.workload, (SELECT MIN(jobs.waits) FROM jobs WHERE jobs.state = 'queued' \
            AND jobs.workload = reasons.workload AND jobs.waits > reasons.waits) \
        FROM reasons WHERE reasons.waits IS NOT NULL \
    ) \
    SELECT CASE WHEN reasons.waits IS NULL \
        THEN (SELECT jobs.id FROM jobs WHERE jobs.state = 'queued' AND jobs.workload = reasons.workload \
            AND jobs.waits IS NULL ORDER BY jobs.priority DESC, jobs.position, jobs.id LIMIT 1) \
        ELSE (SELECT jobs.id FROM jobs WHERE jobs.state = 'queued' AND jobs.workload = reasons.workload \
            AND jobs.waits = reasons.waits ORDER BY jobs.priority DESC, jobs.position, jobs.id LIMIT 1) \
        END AS job FROM reasons";

/// The jobs that wait with these workloads; all jobs are in the order in which they came then.
async fn add_waiting(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    workloads: &[WorkloadId],
) -> Result<(), StoreError> {
    let ids: Vec<String> = workloads.iter().map(ToString::to_string).collect();
    for ids in ids.chunks(MOST_VALUES) {
        let query = format!(
            "SELECT * FROM jobs WHERE state = 'queued' AND workload IN ({}) ORDER BY position, id",
            places(ids.len())
        );
        snapshot.jobs.extend(all(connection, bound(query, ids), rows::job).await?);
    }
    snapshot.jobs.sort_by_key(|job| (job.position, job.id));
    Ok(())
}

/// The jobs that run in the groups that a host belongs to, and what runs on the hosts that it may be: nothing else stands in
/// its way.
async fn active_near(
    connection: &mut AnyConnection,
    snapshot: &Snapshot,
    host: &Host,
) -> Result<Vec<Job>, StoreError> {
    let groups: Vec<String> = snapshot.groups_of(host).map(|group| group.id.to_string()).collect();
    let hosts: Vec<String> = snapshot.hosts.iter().map(|host| host.id.to_string()).collect();
    let mut jobs: BTreeMap<(i64, JobId), Job> = BTreeMap::new();
    for (condition, values) in
        [("grp IN ({})", &groups), ("id IN (SELECT job FROM runs WHERE active = 1 AND host IN ({}))", &hosts)]
    {
        for values in values.chunks(MOST_VALUES) {
            let condition = condition.replace("{}", &places(values.len()));
            let query = format!("SELECT * FROM jobs WHERE state = 'active' AND {condition}");
            let found = all(connection, bound(query, values), rows::job).await?;
            jobs.extend(found.into_iter().map(|job| ((job.position, job.id), job)));
        }
    }
    Ok(jobs.into_values().collect())
}

/// The jobs that matter for a host that asks, of all groups that it belongs to.
async fn add_candidates(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    host: &Host,
    focus: &Focus,
) -> Result<(), StoreError> {
    let groups: Vec<GroupId> = snapshot.groups_of(host).map(|group| group.id.clone()).collect();
    // The engines do not agree on the case of letters that ASCII does not have: a job too many does no harm.
    let labels = snapshot.policy.labels_of(host);
    let own = labels.iter().flat_map(|label| [label.to_ascii_lowercase(), label.to_lowercase()]);
    let own: Vec<String> = own.collect::<BTreeSet<_>>().into_iter().collect();
    let mut kept = BTreeSet::new();
    for group in groups {
        let sieve = Sieve::new(snapshot, host, &group, &focus.leave_out, focus.now);
        let Some(mut sieve) = sieve else { continue };
        let (mut at, mut limit) = (None, AT_ONCE.0);
        while !sieve.is_enough() {
            let mut jobs = next_jobs(connection, &group, at, limit, &own).await?;
            keep_tried(connection, &mut jobs, host.id).await?;
            for (_, job) in &jobs {
                if !sieve.is_enough() {
                    sieve.put(job);
                }
            }
            let is_all = i64::try_from(jobs.len()).unwrap_or(i64::MAX) < limit;
            let Some((last, _)) = jobs.last().filter(|_| !is_all) else { break };
            at = Some(*last);
            limit = (limit * 2).min(AT_ONCE.1);
        }
        if !sieve.is_enough() {
            // What is pinned to others was passed over: that there is such a job may be told.
            if let Some(job) = one_for_others(connection, &group, &own).await? {
                sieve.put(&job);
            }
        }
        kept.extend(sieve.kept());
    }
    add_jobs(connection, snapshot, &kept).await
}

/// A place in the order of a queue.
type At = (i64, i64, JobId);

/// The next jobs that wait in a group, in its order, by what little is needed to know whom they are for.
async fn next_jobs(
    connection: &mut AnyConnection,
    group: &GroupId,
    after: Option<At>,
    limit: i64,
    own: &[String],
) -> Result<Vec<(At, Light)>, StoreError> {
    let select = |after: &str| {
        let is_own = format!("(jobs.pin IS NULL OR LOWER(jobs.pin) IN ({}))", places_from(6, own.len()));
        select_light(&format!("AND {is_own} {after}"))
    };
    // Every query has all of the values, whether it looks at them or not.
    let (priority, position, id) =
        after.map_or((0, 0, String::new()), |(priority, position, id)| (priority, position, id.to_string()));
    let bind = |text: AssertSqlSafe<String>, limit: i64| {
        let query = sqlx::query(text).bind(group.to_string()).bind(limit);
        let query = query.bind(priority).bind(position).bind(id.clone());
        own.iter().fold(query, |query, label| query.bind(label.clone()))
    };
    // PostgreSQL wants to know of what kind each is.
    let used = "AND CAST($3 AS BIGINT) IS NOT NULL AND CAST($4 AS BIGINT) IS NOT NULL AND CAST($5 AS TEXT) IS NOT NULL";
    if after.is_none() {
        return all(connection, bind(select(used), limit), rows::light).await;
    }
    // In two steps, each of which is one stretch of the index.
    let same = "AND jobs.priority = $3 AND jobs.position >= $4 AND (jobs.position > $4 OR jobs.id > $5)";
    let mut jobs = all(connection, bind(select(same), limit), rows::light).await?;
    let left = limit - i64::try_from(jobs.len()).unwrap_or(limit);
    if left > 0 {
        let lower = format!("AND jobs.priority < $3 {used}");
        jobs.append(&mut all(connection, bind(select(&lower), left), rows::light).await?);
    }
    Ok(jobs)
}

/// Of jobs that came back into the queue, those stay marked of which an attempt has errored on this host.
async fn keep_tried(
    connection: &mut AnyConnection,
    jobs: &mut [(At, Light)],
    host: HostId,
) -> Result<(), StoreError> {
    let came_back = jobs.iter().filter(|(_, job)| job.is_tried).map(|(_, job)| job.id.to_string());
    let mut tried: BTreeSet<JobId> = BTreeSet::new();
    for ids in came_back.collect::<Vec<_>>().chunks(MOST_VALUES) {
        let query = format!(
            "SELECT DISTINCT runs.job AS job FROM runs JOIN jobs ON jobs.id = runs.job \
             WHERE runs.job IN ({}) AND runs.host = ${} AND runs.active = 0 AND runs.verdict = 'errored' \
             AND runs.workload = jobs.workload AND runs.attempt > jobs.forgiven",
            places(ids.len()),
            ids.len() + 1
        );
        let query = bound(query, ids).bind(host.to_string());
        tried.extend(all(connection, query, |row| rows::parsed::<JobId>(row, "job")).await?);
    }
    for (_, job) in jobs {
        job.is_tried = tried.contains(&job.id);
    }
    Ok(())
}

/// One of the jobs of a group that are pinned to other hosts.
async fn one_for_others(
    connection: &mut AnyConnection,
    group: &GroupId,
    own: &[String],
) -> Result<Option<Light>, StoreError> {
    let is_other = format!("AND LOWER(jobs.pin) NOT IN ({})", places_from(3, own.len()));
    let query = sqlx::query(select_light(&is_other)).bind(group.to_string()).bind(1_i64);
    let query = own.iter().fold(query, |query, label| query.bind(label.clone()));
    Ok(maybe(connection, query, rows::light).await?.map(|(_, job)| job))
}

/// The jobs that wait in the group `$1`, at most `$2` of them, by what little is needed to know whom they are for.
/// The condition must be made of nothing that comes from outside.
fn select_light(condition: &str) -> AssertSqlSafe<String> {
    // The first condition is that of the index.
    AssertSqlSafe(format!(
        "SELECT jobs.id, jobs.priority, jobs.position, jobs.workload, jobs.required_labels, jobs.template, \
         jobs.paused, jobs.not_before, jobs.since, jobs.created, workloads.labels, workloads.arch, \
         workloads.made_for, workloads.source, workloads.workflow \
         FROM jobs JOIN workloads ON workloads.id = jobs.workload \
         WHERE jobs.state IN ('queued', 'active') AND jobs.grp = $1 AND jobs.state = 'queued' {condition} \
         ORDER BY jobs.priority DESC, jobs.position, jobs.id LIMIT $2"
    ))
}

/// `$6, $7`: as many places for values, from this one on.
fn places_from(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// The last place in the queue of each group into which a job that is here may come again.
pub(super) async fn add_tails(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let again = snapshot.jobs.iter().filter(|job| job.auto_requeue && !job.state.is_final());
    let groups: BTreeSet<GroupId> = again.map(|job| job.group.clone()).collect();
    for group in groups {
        add_tail(connection, snapshot, &group).await?;
    }
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

/// What a source offers as far as is known, what is known of what was found, the jobs that wait with any of its workloads,
/// and those that left the queue with what is found.
async fn add_source(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    source: &SourceId,
    found: &[Found],
) -> Result<(), StoreError> {
    let query =
        sqlx::query("SELECT * FROM workloads WHERE source = $1 AND offered = 1 ORDER BY first_seen, id")
            .bind(source.to_string());
    snapshot.workloads = all(connection, query, rows::workload).await?;
    let mut known: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
    for workload in &snapshot.workloads {
        known.entry(&workload.name).or_default().push(workload);
    }
    let is_known = |file: &&Found| {
        known.get(file.name.as_str()).is_some_and(|known| known.iter().any(|known| known.is_version(file)))
    };
    let unknown: Vec<&Found> = found.iter().filter(|file| !is_known(file)).collect();
    let mut earlier = Vec::new();
    for files in unknown.chunks(MOST_VALUES) {
        let query = format!(
            "SELECT * FROM workloads WHERE name IN ({}) AND source = ${} AND offered = 0 ORDER BY first_seen, id",
            places(files.len()),
            files.len() + 1
        );
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        let mut some = all(connection, bound(query, &names).bind(source.to_string()), rows::workload).await?;
        some.retain(|known| files.iter().any(|file| file.name == known.name && known.is_version(file)));
        earlier.append(&mut some);
    }
    snapshot.workloads.append(&mut earlier);
    let query = sqlx::query(
        "SELECT * FROM jobs WHERE workload IN (SELECT id FROM workloads WHERE source = $1) \
         AND state = 'queued' ORDER BY position, id",
    )
    .bind(source.to_string());
    snapshot.jobs.extend(all(connection, query, rows::job).await?);
    let ids: Vec<String> = snapshot.workloads.iter().map(|workload| workload.id.to_string()).collect();
    for ids in ids.chunks(MOST_VALUES) {
        let query = format!(
            "SELECT * FROM jobs WHERE workload IN ({}) AND state = 'cancelled' AND withdrawn = 1 ORDER BY position, id",
            places(ids.len())
        );
        snapshot.jobs.extend(all(connection, bound(query, ids), rows::job).await?);
    }
    Ok(())
}

/// The hosts on which workloads have come out, with jobs that are over. An attempt that errored says nothing of its workload
/// on that host, unless its job was over with it.
pub(super) async fn add_past(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    workloads: &[WorkloadId],
) -> Result<(), StoreError> {
    snapshot.past.extend(workloads.iter().map(|workload| (*workload, BTreeSet::new())));
    let ids: Vec<String> = workloads.iter().map(ToString::to_string).collect();
    for ids in ids.chunks(MOST_VALUES) {
        let query = format!(
            "SELECT DISTINCT runs.workload AS workload, runs.host AS host FROM runs JOIN jobs ON jobs.id = runs.job \
             WHERE runs.workload IN ({}) AND runs.verdict IS NOT NULL AND jobs.state IN ('done', 'cancelled') \
             AND (runs.verdict <> 'errored' OR (jobs.state = 'done' AND NOT EXISTS \
             (SELECT 1 FROM runs AS later WHERE later.job = runs.job AND later.attempt > runs.attempt)))",
            places(ids.len())
        );
        let read = |row: &AnyRow| {
            Ok((rows::parsed::<WorkloadId>(row, "workload")?, rows::parsed::<HostId>(row, "host")?))
        };
        for (workload, host) in all(connection, bound(query, ids), read).await? {
            snapshot.past.entry(workload).or_default().insert(host);
        }
    }
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

/// The runs of the jobs that are here, and the reports of these.
async fn add_runs(connection: &mut AnyConnection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let known: BTreeSet<JobId> = snapshot.runs.iter().map(|run| run.job).collect();
    let jobs = snapshot.jobs.iter().map(|job| job.id);
    let jobs: Vec<String> = jobs.filter(|job| !known.contains(job)).map(|job| job.to_string()).collect();
    add_runs_of(connection, snapshot, &jobs).await
}

async fn add_runs_of(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    jobs: &[String],
) -> Result<(), StoreError> {
    let mut tried: Vec<String> = Vec::new();
    for jobs in jobs.chunks(MOST_VALUES) {
        let query = format!("SELECT * FROM runs WHERE job IN ({}) ORDER BY created, id", places(jobs.len()));
        let runs = all(connection, bound(query, jobs), rows::run).await?;
        tried.extend(runs.iter().filter(|run| run.reports > 0).map(|run| run.id.to_string()));
        snapshot.runs.extend(runs);
    }
    for runs in tried.chunks(MOST_VALUES) {
        let places = places(runs.len());
        let query = format!("SELECT id, run, digest FROM reports WHERE run IN ({places}) ORDER BY at, id");
        snapshot.reports.extend(all(connection, bound(query, runs), rows::report_key).await?);
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
