//! What a decision needs to know.

use std::collections::{BTreeSet, HashMap};

use dispatch_core::queue::Snapshot;
use dispatch_core::run::Policy;
use dispatch_core::{GroupState, Host, HostId, JobId, Mac, ReportId, Run};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use crate::{Focus, Overview, Refused, Scope, StoreError, StoredReport, rows};

mod near;
pub(crate) mod part;

/// How many of a host's latest runs are loaded with it: enough to find the one that a late report is from.
const LATEST_RUNS: i64 = 4;

/// Which jobs are not over.
const OPEN: &str = "state IN ('queued', 'active')";

const JOBS_OF_LAST_ROUND: &str = "SELECT id FROM jobs WHERE round = (SELECT MAX(number) FROM rounds)";

/// Which jobs are of the latest round, or the newest of their name: positions only grow.
const LAST_ROUND: &str = "(round = (SELECT MAX(number) FROM rounds) \
                          OR position IN (SELECT MAX(position) FROM jobs GROUP BY name))";

/// How many of the effects that wait are shown.
const SHOWN: i64 = 100;

/// How many values are bound to one query at most: SQLite takes 32,766.
pub(crate) const MOST_VALUES: usize = 500;

pub(crate) async fn all<T>(
    connection: &mut AnyConnection,
    query: Query<'_, Any, AnyArguments>,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    query.fetch_all(connection).await?.iter().map(read).collect()
}

pub(crate) async fn maybe<T>(
    connection: &mut AnyConnection,
    query: Query<'_, Any, AnyArguments>,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    query.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// Whether any job is not over.
pub(crate) async fn has_open_jobs(connection: &mut AnyConnection) -> Result<bool, StoreError> {
    let query = format!("SELECT 1 AS one FROM jobs WHERE {OPEN} LIMIT 1");
    Ok(maybe(connection, sqlx::query(AssertSqlSafe(query)), |_| Ok(())).await?.is_some())
}

pub(crate) async fn snapshot(
    connection: &mut AnyConnection,
    focus: Focus,
    policy: &Policy,
) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    snapshot.policy.clone_from(policy);
    let mut more_jobs: BTreeSet<JobId> = BTreeSet::new();
    if let Some(who) = &focus.who {
        let mac = who.mac.map(|mac| mac.to_string());
        let query = sqlx::query(
            "SELECT * FROM hosts WHERE address = $1 OR name = $2 OR id IN (SELECT host FROM host_macs WHERE mac = $3) \
             ORDER BY first_seen, id",
        )
        .bind(who.address.to_string())
        .bind(who.name.as_ref().map(ToString::to_string))
        .bind(mac);
        snapshot.hosts = all(connection, query, rows::host).await?;
        let mut by_card = hosts_with(connection, &focus.cards).await?;
        by_card.retain(|host| !snapshot.hosts.iter().any(|known| known.id == host.id));
        snapshot.hosts.append(&mut by_card);
        add_macs(connection, &mut snapshot.hosts).await?;
        for host in &snapshot.hosts {
            more_jobs.extend(jobs_of_latest_runs(connection, host.id).await?);
        }
    }
    if let Some(run) = focus.run {
        let query = sqlx::query("SELECT job FROM runs WHERE id = $1").bind(run.to_string());
        more_jobs.extend(maybe(connection, query, |row| rows::parsed::<JobId>(row, "job")).await?);
        // What its host had before.
        let query = sqlx::query(
            "SELECT job FROM runs WHERE host = (SELECT host FROM runs WHERE id = $1) AND id <> $1 \
             AND transfers > 0 ORDER BY created DESC, id DESC LIMIT 1",
        )
        .bind(run.to_string());
        more_jobs.extend(maybe(connection, query, |row| rows::parsed::<JobId>(row, "job")).await?);
    }
    if let Some(host) = focus.host {
        add_host(connection, &mut snapshot, host).await?;
    }
    if focus.all_hosts {
        let mut hosts = all_hosts(connection).await?;
        hosts.retain(|host| !snapshot.hosts.iter().any(|known| known.id == host.id));
        snapshot.hosts.append(&mut hosts);
    }
    more_jobs.extend(focus.jobs.iter().copied());
    more_jobs.extend(near::jobs(connection, focus.near.as_ref()).await?);
    for (group, key) in &focus.dedupe {
        more_jobs.extend(near::with_dedupe_key(connection, group, key).await?);
    }
    let round = sqlx::query("SELECT * FROM rounds ORDER BY number DESC LIMIT 1");
    snapshot.round = maybe(connection, round, rows::round).await?;
    snapshot.groups = groups(connection).await?;
    match focus.scope.clone() {
        Scope::Open => add_open(connection, &mut snapshot, focus.last_round).await?,
        scope => part::add(connection, &mut snapshot, &scope, &focus).await?,
    }
    part::add_jobs(connection, &mut snapshot, &more_jobs).await?;
    // Whoever asks for one again must see whether another one has its key by now.
    near::add_namesakes(connection, &mut snapshot, &focus.jobs).await?;
    part::add_workloads(connection, &mut snapshot, &focus.workloads).await?;
    part::add_past(connection, &mut snapshot, &focus.past_of).await?;
    if let Some(group) = &focus.group {
        part::add_group(connection, &mut snapshot, group).await?;
    }
    part::add_tails(connection, &mut snapshot).await?;
    add_hosts(connection, &mut snapshot).await?;
    Ok(snapshot)
}

/// How the groups stand.
pub(crate) async fn groups(connection: &mut AnyConnection) -> Result<Vec<GroupState>, StoreError> {
    all(connection, sqlx::query("SELECT * FROM job_groups ORDER BY place, id"), rows::group).await
}

/// All hosts, in the order in which they were first seen.
pub(crate) async fn all_hosts(connection: &mut AnyConnection) -> Result<Vec<Host>, StoreError> {
    let query = sqlx::query("SELECT * FROM hosts ORDER BY first_seen, id");
    let mut hosts = all(connection, query, rows::host).await?;
    let macs = sqlx::query("SELECT host, mac, seen FROM host_macs ORDER BY host, place, mac");
    put_macs(&mut hosts, all(connection, macs, rows::mac).await?);
    Ok(hosts)
}

/// All jobs that are not over, or all of the latest round, with what belongs to them.
async fn add_open(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    last_round: bool,
) -> Result<(), StoreError> {
    let jobs = if last_round { LAST_ROUND } else { OPEN };
    let select = |what: &str, order: &str| {
        // The text is made of the constants above and of those below.
        sqlx::query(AssertSqlSafe(format!("SELECT {} ORDER BY {order}", what.replace("{jobs}", jobs))))
    };
    // The newest job of a name may be of an earlier round: how it came out is known without its runs.
    let runs = "runs WHERE job IN (SELECT id FROM jobs WHERE {jobs})";
    let runs = if last_round { format!("{runs} AND job IN ({JOBS_OF_LAST_ROUND})") } else { runs.into() };
    snapshot.jobs = all(connection, select("* FROM jobs WHERE {jobs}", "position, id"), rows::job).await?;
    snapshot.runs = all(connection, select(&format!("* FROM {runs}"), "created, id"), rows::run).await?;
    let workloads = "* FROM workloads WHERE id IN (SELECT workload FROM jobs WHERE {jobs})";
    snapshot.workloads = all(connection, select(workloads, "id"), rows::workload).await?;
    // All at once: with a query for each, many hosts that boot at the same time would wait for one another.
    let shared = if last_round { " OR shared IS NOT NULL" } else { "" };
    let hosts = format!("* FROM hosts WHERE id IN (SELECT host FROM {runs}){shared}");
    let mut hosts = all(connection, select(&hosts, "first_seen, id"), rows::host).await?;
    let reports = format!("id, run, digest FROM reports WHERE run IN (SELECT id FROM {runs})");
    snapshot.reports = all(connection, select(&reports, "at, id"), rows::report_key).await?;
    hosts.retain(|host| !snapshot.hosts.iter().any(|known| known.id == host.id));
    add_macs(connection, &mut hosts).await?;
    snapshot.hosts.append(&mut hosts);
    Ok(())
}

/// The hosts that were seen with one of these cards.
async fn hosts_with(connection: &mut AnyConnection, cards: &[Mac]) -> Result<Vec<Host>, StoreError> {
    let cards = &cards[..cards.len().min(MOST_VALUES)];
    if cards.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT * FROM hosts WHERE id IN (SELECT host FROM host_macs WHERE seen = 1 AND mac IN ({})) \
         ORDER BY first_seen, id",
        places(cards.len())
    );
    // The text is made of nothing but numbers.
    let query =
        cards.iter().fold(sqlx::query(AssertSqlSafe(query)), |query, card| query.bind(card.to_string()));
    all(connection, query, rows::host).await
}

/// `$1, $2`: as many places for values.
pub(crate) fn places(count: usize) -> String {
    (1..=count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

async fn jobs_of_latest_runs(connection: &mut AnyConnection, host: HostId) -> Result<Vec<JobId>, StoreError> {
    let query = sqlx::query(
        "SELECT job FROM runs WHERE host = $1 \
         AND (wholes > 0 OR booted_at IS NOT NULL OR transfer IN ('lost', 'unsure') \
         OR disputed = 1 AND transfers > 0) \
         ORDER BY created DESC, id DESC LIMIT $2",
    )
    .bind(host.to_string())
    .bind(LATEST_RUNS);
    all(connection, query, |row| rows::parsed(row, "job")).await
}

/// The hosts that runs of further jobs are on, where they are not there yet.
pub(crate) async fn add_hosts(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let known: BTreeSet<HostId> = snapshot.hosts.iter().map(|host| host.id).collect();
    let wanted: BTreeSet<HostId> = snapshot.runs.iter().map(|run| run.host).collect();
    let missing: Vec<HostId> = wanted.difference(&known).copied().collect();
    let mut found = Vec::new();
    for ids in missing.chunks(MOST_VALUES) {
        let query = format!("SELECT * FROM hosts WHERE id IN ({}) ORDER BY id", places(ids.len()));
        // The text is made of nothing but numbers.
        let query =
            ids.iter().fold(sqlx::query(AssertSqlSafe(query)), |query, id| query.bind(id.to_string()));
        found.append(&mut all(connection, query, rows::host).await?);
    }
    add_macs(connection, &mut found).await?;
    snapshot.hosts.append(&mut found);
    Ok(())
}

async fn add_host(
    connection: &mut AnyConnection,
    snapshot: &mut Snapshot,
    id: HostId,
) -> Result<(), StoreError> {
    if !snapshot.hosts.iter().any(|host| host.id == id) {
        snapshot.hosts.extend(one_host(connection, id).await?);
    }
    Ok(())
}

pub(crate) async fn one_host(connection: &mut AnyConnection, id: HostId) -> Result<Option<Host>, StoreError> {
    let query = sqlx::query("SELECT * FROM hosts WHERE id = $1").bind(id.to_string());
    let mut host = maybe(connection, query, rows::host).await?;
    add_macs(connection, host.as_mut_slice()).await?;
    Ok(host)
}

/// The MACs of these hosts, which have a table of their own.
pub(crate) async fn add_macs(connection: &mut AnyConnection, hosts: &mut [Host]) -> Result<(), StoreError> {
    for hosts in hosts.chunks_mut(MOST_VALUES) {
        let places = places(hosts.len());
        let query = format!(
            "SELECT host, mac, seen FROM host_macs WHERE host IN ({places}) ORDER BY host, place, mac"
        );
        // The text is made of nothing but numbers.
        let query = hosts
            .iter()
            .fold(sqlx::query(AssertSqlSafe(query)), |query, host| query.bind(host.id.to_string()));
        put_macs(hosts, all(connection, query, rows::mac).await?);
    }
    Ok(())
}

fn put_macs(hosts: &mut [Host], macs: Vec<(HostId, Mac, bool)>) {
    let mut hosts: HashMap<HostId, &mut Host> = hosts.iter_mut().map(|host| (host.id, host)).collect();
    for (id, mac, was_seen) in macs {
        if let Some(host) = hosts.get_mut(&id) {
            let macs = if was_seen { &mut host.macs } else { &mut host.told_macs };
            macs.push(mac);
        }
    }
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
    let query = sqlx::query("SELECT * FROM workloads WHERE id = $1").bind(run.workload.to_string());
    let Some(workload) = maybe(connection, query, rows::workload).await? else { return Ok(None) };
    let query = sqlx::query("SELECT * FROM issues WHERE report = $1").bind(report.id.to_string());
    let issue = maybe(connection, query, rows::issue).await?;
    Ok(Some(StoredReport { report, run, job, host, workload, issue }))
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
    let workloads = sqlx::query(
        "SELECT * FROM workloads WHERE id IN (SELECT workload FROM jobs WHERE round = $1) ORDER BY id",
    )
    .bind(number);
    let workloads = all(connection, workloads, rows::workload).await?;
    let hosts = all_hosts(connection).await?;
    let due = sqlx::query("SELECT COUNT(*) AS due FROM outbox WHERE done_at IS NULL");
    let due: i64 = sqlx::Row::try_get(&due.fetch_one(&mut *connection).await?, "due")?;
    let effects_due = u64::try_from(due).unwrap_or(0);
    let first =
        sqlx::query("SELECT * FROM outbox WHERE done_at IS NULL ORDER BY seq, at, idempotency_key LIMIT $1")
            .bind(SHOWN);
    let outbox = all(connection, first, rows::waiting_effect).await?;
    let issues = sqlx::query(
        "SELECT reports.run AS run, issues.* FROM issues JOIN reports ON reports.id = issues.report \
         JOIN runs ON runs.id = reports.run JOIN jobs ON jobs.id = runs.job WHERE jobs.round = $1 \
         ORDER BY reports.at, reports.id",
    )
    .bind(number);
    let issues = all(connection, issues, |row| Ok((rows::parsed(row, "run")?, rows::issue(row)?))).await?;
    let refused = refused(connection, number).await?;
    Ok(Overview { round, jobs, runs, workloads, hosts, effects_due, outbox, issues, refused })
}

/// The reports of a round that will never be issues.
async fn refused(connection: &mut AnyConnection, round: i64) -> Result<Vec<Refused>, StoreError> {
    // By the key, so that the outbox of all rounds is not searched.
    let refused = sqlx::query(
        "SELECT reports.id AS report, reports.run AS run, outbox.error AS why FROM reports \
         JOIN runs ON runs.id = reports.run JOIN jobs ON jobs.id = runs.job \
         JOIN outbox ON outbox.idempotency_key = 'file-issue:' || reports.id \
         WHERE jobs.round = $1 AND outbox.refused = 1 ORDER BY reports.at, reports.id",
    )
    .bind(round);
    all(connection, refused, |row| {
        let why = sqlx::Row::try_get::<Option<String>, _>(row, "why")?.unwrap_or_default();
        Ok(Refused { report: rows::parsed(row, "report")?, run: rows::parsed(row, "run")?, why })
    })
    .await
}
