//! A queue of 100,000 is looked at page by page, and no page costs more than another.

use std::collections::BTreeSet;

use dispatch_core::queue::Phase;
use dispatch_core::run::Policy;
use dispatch_core::{GroupId, JobId};
use dispatch_store::queue::{QueueFilter, QueueKey};
use dispatch_store::reads::waits_statement;
use dispatch_store::{Focus, Scope, Store};

use crate::lab::Lab;
use crate::place::Place;

on_both![
    no_page_of_a_long_queue_reads_the_whole_table,
    a_page_goes_on_where_the_one_before_ended,
    which_images_a_long_queue_needs_is_seen_by_a_look_at_a_few_of_its_jobs,
];

const MANY: u32 = 100_000;

fn group() -> GroupId {
    "session".parse().expect("an id")
}

/// A queue with so many jobs: one in ten thousand is of the template, and one in a thousand has the label.
async fn filled(place: Place, jobs: u32) -> Lab {
    let lab = Lab::new(place, &["a.efi"]).await;
    let numbers = format!(
        "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {jobs}) "
    );
    let id = "'00000000-0000-7000-8000-' || CAST(100000000000 + number AS TEXT)";
    for statement in [
        format!(
            "INSERT INTO jobs (id, name, workload, priority, position, state, since, round, grp, template) {numbers} \
             SELECT {id}, 'job ' || number, jobs.workload, number % 3, number * 10, 'queued', 0, jobs.round, jobs.grp, \
             CASE WHEN number % 10000 = 0 THEN 'rare' ELSE 'usual' END FROM jobs, numbers WHERE jobs.name = 'a.efi'"
        ),
        format!(
            "INSERT INTO job_labels (job, name, value) {numbers} SELECT {id}, 'color', 'red' FROM numbers \
             WHERE number % 1000 = 0"
        ),
        "ANALYZE".to_owned(),
    ] {
        lab.place.execute(&statement).await.expect("filled");
    }
    lab
}

fn filters() -> Vec<(&'static str, QueueFilter)> {
    let all = QueueFilter::all(group());
    vec![
        ("all", all.clone()),
        ("template", QueueFilter { template: "rare".parse().ok(), ..all.clone() }),
        ("label", QueueFilter { labels: vec![("color".to_owned(), "red".to_owned())], ..all.clone() }),
        ("name", QueueFilter { name: Some("job 7".to_owned()), ..all.clone() }),
        ("queued", QueueFilter { phases: vec![Phase::Queued], ..all.clone() }),
        ("running", QueueFilter { phases: vec![Phase::Assigned, Phase::Booting], ..all.clone() }),
        ("either", QueueFilter { phases: vec![Phase::Queued, Phase::Reported], ..all }),
    ]
}

async fn no_page_of_a_long_queue_reads_the_whole_table(place: Place) {
    let lab = filled(place, MANY).await;
    let deep = deep(&lab.store).await;
    for (what, filter) in filters() {
        for after in [None, Some(deep)] {
            let plan = lab.store.explain_queue(&filter, after.as_ref(), 51).await.expect("a plan");
            let text = plan.join("\n");
            let is_scan = |line: &String| line.contains("SCAN jobs") || line.contains("Seq Scan on jobs");
            assert!(!plan.iter().any(is_scan), "{what} after {after:?}:\n{text}");
            assert!(text.contains("jobs"), "{text}");
            if matches!(what, "all" | "template" | "queued") {
                let sorts = |line: &String| line.contains("TEMP B-TREE") || line.contains("Sort Key");
                assert!(!plan.iter().any(sorts), "{what} after {after:?} is sorted anew:\n{text}");
            }
        }
    }
    lab.store.close().await;
}

/// A place far behind the beginning.
async fn deep(store: &Store) -> QueueKey {
    let id: JobId = "00000000-0000-7000-8000-100000090001".parse().expect("an id");
    let key = QueueKey { priority: 1, position: 900_010, id };
    let policy = Policy::default();
    let filter = QueueFilter::all(group());
    let part = store.queue(&filter, Some(&key), 3, &policy).await.expect("a page");
    assert_eq!(part.jobs.len(), 3);
    assert_eq!((part.jobs[0].priority, part.jobs[0].position), (1, 900_040));
    key
}

async fn a_page_goes_on_where_the_one_before_ended(place: Place) {
    let lab = filled(place, 300).await;
    let policy = Policy::default();
    let (mut seen, mut after, mut ranks) = (BTreeSet::new(), None, Vec::new());
    loop {
        let part = lab.store.queue(&QueueFilter::all(group()), after.as_ref(), 7, &policy).await;
        let jobs = part.expect("a page").jobs;
        let Some(last) = jobs.last() else { break };
        after = Some(QueueKey::of(last));
        for job in jobs {
            assert!(seen.insert(job.id), "{} comes twice", job.name);
            ranks.push(job.rank());
        }
    }
    assert_eq!(seen.len(), 301);
    assert!(ranks.is_sorted(), "in the order of the queue");
    let counts = lab.store.group_counts(&[group()]).await.expect("counts");
    assert_eq!((counts[&group()].queued, counts[&group()].active), (301, 0));
    lab.store.close().await;
}

async fn which_images_a_long_queue_needs_is_seen_by_a_look_at_a_few_of_its_jobs(place: Place) {
    let lab = filled(place, MANY).await;
    for statement in [
        "UPDATE workloads SET origin = 'https://example.org/a.efi'",
        "UPDATE jobs SET waits = 'its image is not here yet' WHERE position > 1000",
        "UPDATE jobs SET waits = 'its image cannot be read' WHERE position > 900000",
        "ANALYZE",
    ] {
        lab.place.execute(statement).await.expect("done");
    }
    let plan = lab.store.plan(&waits_statement()).await.expect("a plan");
    let is_scan = |line: &&String| line.contains("SCAN jobs") || line.contains("Seq Scan on jobs");
    assert_eq!(plan.iter().find(is_scan), None, "{plan:#?}");
    let focus = Focus::default().within(Scope::Images);
    let seen = lab.store.look(focus, &Policy::default(), |snapshot| snapshot).await.expect("a look");
    let mut said: Vec<_> = seen.jobs.iter().map(|job| (job.waits.clone(), job.priority)).collect();
    said.sort();
    let text = |text: &str| Some(text.to_owned());
    let cannot = (text("its image cannot be read"), 2);
    assert_eq!(said, [(None, 2), cannot, (text("its image is not here yet"), 2)]);
    assert_eq!(seen.workloads.len(), 1);
    lab.store.close().await;
}
