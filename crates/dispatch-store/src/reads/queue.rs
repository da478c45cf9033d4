//! What people look at of groups: their queues, how full these are, and their templates.
//!
//! A page of a queue begins after the last job of the page before, in the order of the queue, which an index has. So it
//! takes as long on the last page as on the first.

use std::collections::BTreeMap;

use dispatch_core::queue::Phase;
use dispatch_core::run::Policy;
use dispatch_core::{GroupId, Job, JobId, Snapshot, Template, TemplateId};
use jiff::Timestamp;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row as _};

use crate::load::part;
use crate::load::{self, all, maybe};
use crate::{Focus, Scope, Store, StoreError, rows, save};

/// Which jobs of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFilter {
    /// Whose queue.
    pub group: GroupId,
    /// Only those of this template.
    pub template: Option<TemplateId>,
    /// Only those whose name has this in it. Case matters.
    pub name: Option<String>,
    /// Only those with all of these labels.
    pub labels: Vec<(String, String)>,
    /// Only those that stand at one of these; none named means all.
    pub phases: Vec<Phase>,
}

impl QueueFilter {
    /// All jobs of a queue.
    #[must_use]
    pub fn all(group: GroupId) -> Self {
        Self { group, template: None, name: None, labels: Vec::new(), phases: Vec::new() }
    }
}

/// A place in the order of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueKey {
    /// Higher goes first.
    pub priority: i64,
    /// Then lower goes first.
    pub position: i64,
    /// Then the older one.
    pub id: JobId,
}

impl QueueKey {
    /// Where a job is.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self { priority: job.priority, position: job.position, id: job.id }
    }
}

/// A part of a queue.
#[derive(Clone, Debug)]
pub struct QueuePart {
    /// The jobs, in the order of the queue.
    pub jobs: Vec<Job>,
    /// The same jobs with all that is needed to say why they wait: their runs, workloads and hosts, the groups, and all jobs
    /// that run.
    pub snapshot: Snapshot,
}

/// How full a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that have a run which goes on.
    pub active: u64,
    /// Templates that are in the configuration.
    pub templates: u64,
}

/// A template as it was last in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTemplate {
    /// What it says.
    pub template: Template,
    /// It is in the configuration.
    pub in_config: bool,
    /// When it was first in it.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// Words of runs, by the state of their job.
const RUNNING: [(Phase, &str); 5] = [
    (Phase::Assigned, "'assigned'"),
    (Phase::Downloading, "'downloading'"),
    (Phase::Booting, "'booting'"),
    (Phase::Running, "'running'"),
    (Phase::Reported, "'reported'"),
];

enum Value {
    Text(String),
    Number(i64),
}

/// A statement in the making: its text is made of constants, and what comes from outside is bound.
struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    /// All of a filter but where to begin. None where no job that is not over can fit.
    fn of(filter: &QueueFilter) -> Option<Self> {
        let text = "SELECT * FROM jobs WHERE state IN ('queued', 'active')".to_owned();
        let mut statement = Self { text, values: Vec::new() };
        statement.narrow(" AND grp = ?", [Value::Text(filter.group.to_string())]);
        statement.phases(&filter.phases)?;
        if let Some(template) = &filter.template {
            statement.narrow(" AND template = ?", [Value::Text(template.to_string())]);
        }
        for (name, value) in &filter.labels {
            let pair = [name, value].map(|text| Value::Text(save::plain(text)));
            statement.narrow(" AND id IN (SELECT job FROM job_labels WHERE name = ? AND value = ?)", pair);
        }
        if let Some(name) = filter.name.as_ref().filter(|name| !name.is_empty()) {
            // The engines do not agree on LIKE.
            statement.narrow(" AND replace(name, ?, '') <> name", [Value::Text(save::plain(name))]);
        }
        Some(statement)
    }

    fn phases(&mut self, phases: &[Phase]) -> Option<()> {
        if phases.is_empty() {
            return Some(());
        }
        let is_wanted = |(phase, _): &&(Phase, &str)| phases.contains(phase);
        let words: Vec<&str> = RUNNING.iter().filter(is_wanted).map(|(_, word)| *word).collect();
        let running = format!(
            "state = 'active' AND id IN (SELECT job FROM runs WHERE active = 1 AND state IN ({}))",
            words.join(", ")
        );
        let text = match (phases.contains(&Phase::Queued), words.is_empty()) {
            (true, true) => " AND state = 'queued'".to_owned(),
            (true, false) => format!(" AND (state = 'queued' OR {running})"),
            (false, false) => format!(" AND {running}"),
            (false, true) => return None,
        };
        self.narrow(&text, []);
        Some(())
    }

    /// Each `?` stands for one of the values.
    fn narrow<const N: usize>(&mut self, text: &str, values: [Value; N]) {
        let mut number = self.values.len();
        for part in text.split_inclusive('?') {
            if let Some(before) = part.strip_suffix('?') {
                number += 1;
                self.text.push_str(before);
                self.text.push('$');
                self.text.push_str(&number.to_string());
            } else {
                self.text.push_str(part);
            }
        }
        self.values.extend(values);
    }

    /// The statements that read on after a place, one after the other: the rest of its priority, and what is below. One
    /// condition for both would be tried on each job from the beginning.
    fn after(filter: &QueueFilter, after: Option<&QueueKey>, limit: u32) -> Vec<Self> {
        let begun = |narrow: &dyn Fn(&mut Self)| {
            let mut statement = Self::of(filter)?;
            narrow(&mut statement);
            statement
                .narrow(" ORDER BY priority DESC, position, id LIMIT ?", [Value::Number(i64::from(limit))]);
            Some(statement)
        };
        let parts = match after {
            None => vec![begun(&|_| {})],
            Some(key) => vec![
                begun(&|statement| {
                    let (priority, position) = (Value::Number(key.priority), Value::Number(key.position));
                    let place = [priority, position, Value::Text(key.id.to_string())];
                    statement.narrow(" AND priority = ? AND (position, id) > (?, ?)", place);
                }),
                begun(&|statement| statement.narrow(" AND priority < ?", [Value::Number(key.priority)])),
            ],
        };
        parts.into_iter().flatten().collect()
    }

    fn query(self, before: &str) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(format!("{before}{}", self.text)));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    }
}

impl Store {
    /// The jobs of a group that are not over, in the order of its queue, after a place of it.
    pub async fn queue(
        &self,
        filter: &QueueFilter,
        after: Option<&QueueKey>,
        limit: u32,
        policy: &Policy,
    ) -> Result<QueuePart, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut jobs: Vec<Job> = Vec::new();
        for statement in Statement::after(filter, after, limit) {
            if jobs.len() < limit as usize {
                jobs.append(&mut all(&mut transaction, statement.query(""), rows::job).await?);
            }
        }
        jobs.truncate(limit as usize);
        let mut snapshot = Snapshot::default();
        snapshot.policy.clone_from(policy);
        snapshot.groups = load::groups(&mut transaction).await?;
        // What a job waits for may be any of them.
        snapshot.hosts = load::all_hosts(&mut transaction).await?;
        part::add(&mut transaction, &mut snapshot, &Scope::Active, &Focus::default()).await?;
        let known: Vec<JobId> = snapshot.jobs.iter().map(|job| job.id).collect();
        snapshot.jobs.extend(jobs.iter().filter(|job| !known.contains(&job.id)).cloned());
        part::add_belongings(&mut transaction, &mut snapshot).await?;
        transaction.rollback().await?;
        Ok(QueuePart { jobs, snapshot })
    }

    /// All that is needed to say why hosts are idle, but the hosts: the groups, all jobs that run, and the first `limit` of
    /// those that wait in each of these groups; and how many wait there in all.
    pub async fn waiting(
        &self,
        groups: &[GroupId],
        limit: u32,
        policy: &Policy,
    ) -> Result<(Snapshot, BTreeMap<GroupId, u64>), StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut snapshot = Snapshot::default();
        snapshot.policy.clone_from(policy);
        snapshot.groups = load::groups(&mut transaction).await?;
        part::add(&mut transaction, &mut snapshot, &Scope::Active, &Focus::default()).await?;
        let mut waiting = BTreeMap::new();
        for group in groups {
            let filter = QueueFilter { phases: vec![Phase::Queued], ..QueueFilter::all(group.clone()) };
            for statement in Statement::after(&filter, None, limit) {
                snapshot.jobs.append(&mut all(&mut transaction, statement.query(""), rows::job).await?);
            }
            let queued =
                count(&mut transaction, "FROM jobs WHERE grp = $1 AND state = 'queued'", group).await?;
            waiting.insert(group.clone(), queued);
        }
        part::add_belongings(&mut transaction, &mut snapshot).await?;
        snapshot.hosts.clear();
        transaction.rollback().await?;
        Ok((snapshot, waiting))
    }

    /// How the database would read such a page, a line for each step: for whoever looks into a slow one.
    pub async fn explain_queue(
        &self,
        filter: &QueueFilter,
        after: Option<&QueueKey>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let (explain, column) = if self.engine.is_sqlite() {
            ("EXPLAIN QUERY PLAN ", "detail")
        } else {
            ("EXPLAIN ", "QUERY PLAN")
        };
        let mut connection = self.readers.acquire().await?;
        let mut lines = Vec::new();
        for statement in Statement::after(filter, after, limit) {
            let query = statement.query(explain);
            lines.append(&mut all(&mut connection, query, |row| Ok(row.try_get(column)?)).await?);
        }
        Ok(lines)
    }

    /// How full these groups are.
    pub async fn group_counts(
        &self,
        groups: &[GroupId],
    ) -> Result<BTreeMap<GroupId, GroupCounts>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut counts = BTreeMap::new();
        for group in groups {
            // What an index has by itself: so many jobs need not be looked at.
            let open = "FROM jobs WHERE grp = $1 AND state IN ('queued', 'active')";
            let open = count(&mut transaction, open, group).await?;
            let active =
                count(&mut transaction, "FROM jobs WHERE grp = $1 AND state = 'active'", group).await?;
            let templates =
                count(&mut transaction, "FROM templates WHERE grp = $1 AND in_config = 1", group).await?;
            let queued = open.saturating_sub(active);
            counts.insert(group.clone(), GroupCounts { queued, active, templates });
        }
        transaction.rollback().await?;
        Ok(counts)
    }

    /// The templates of a group, by their ids, after one of these.
    pub async fn templates(
        &self,
        group: &GroupId,
        after: Option<&TemplateId>,
        limit: u32,
    ) -> Result<Vec<KnownTemplate>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        // No id is empty.
        let query = sqlx::query("SELECT * FROM templates WHERE grp = $1 AND id > $2 ORDER BY id LIMIT $3")
            .bind(group.to_string())
            .bind(after.map(ToString::to_string).unwrap_or_default())
            .bind(i64::from(limit));
        all(&mut connection, query, known_template).await
    }

    /// One template.
    pub async fn template(&self, id: &TemplateId) -> Result<Option<KnownTemplate>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let query = sqlx::query("SELECT * FROM templates WHERE id = $1").bind(id.to_string());
        maybe(&mut connection, query, known_template).await
    }
}

fn known_template(row: &sqlx::any::AnyRow) -> Result<KnownTemplate, StoreError> {
    let (template, in_config) = rows::template(row)?;
    let (created, updated) = (rows::time(row, "created")?, rows::time(row, "updated")?);
    Ok(KnownTemplate { template, in_config, created, updated })
}

async fn count(
    connection: &mut AnyConnection,
    what: &'static str,
    group: &GroupId,
) -> Result<u64, StoreError> {
    let query =
        sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) AS count {what}"))).bind(group.to_string());
    Ok(maybe(connection, query, |row| rows::number(row, "count")).await?.unwrap_or(0))
}
