//! Each rule by name, and what must hold of every plan.

use proptest::prelude::*;

use super::*;
use crate::id::WorkloadId;
use crate::queue::{Change, Context, Found, JobState, Snapshot};
use crate::workload::{Kind, Terms, Workload};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

fn key(number: u8) -> Key {
    Key::Digest(Digest::new([number; 32]))
}

fn need(number: u8, size: u64) -> Need {
    Need {
        key: key(number),
        name: number.to_string(),
        size,
        origin: String::new(),
        workloads: vec![WorkloadId::new(at(0), [number; 10])],
        is_asked: false,
        is_held: false,
    }
}

fn asked(number: u8, size: u64) -> Need {
    Need { is_asked: true, ..need(number, size) }
}

fn held(number: u8, size: u64) -> Need {
    Need { is_held: true, ..need(number, size) }
}

fn entry(number: u8, size: u64, used: i64) -> Entry {
    Entry { key: key(number), size, last_used: at(used), is_pinned: false, is_part: false }
}

fn part(number: u8, size: u64, used: i64) -> Entry {
    Entry { is_part: true, ..entry(number, size, used) }
}

/// The room, what is under way, and whether to prefetch.
struct World {
    limit: u64,
    free: u64,
    prefetch: bool,
    under_way: BTreeSet<Key>,
    troubles: BTreeMap<Key, Trouble>,
}

fn world(limit: u64) -> World {
    World { limit, free: 1000, prefetch: true, under_way: BTreeSet::new(), troubles: BTreeMap::new() }
}

impl World {
    fn plan(&self, needs: &[Need], entries: &[Entry]) -> Plan {
        plan(needs, entries, &self.situation())
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            room: Room { limit: self.limit, free: self.free },
            prefetch: self.prefetch,
            under_way: &self.under_way,
            troubles: &self.troubles,
            now: at(0),
        }
    }
}

fn keys(numbers: &[u8]) -> Vec<Key> {
    numbers.iter().copied().map(key).collect()
}

fn whole(numbers: &[u8]) -> Vec<(Key, bool)> {
    numbers.iter().map(|number| (key(*number), false)).collect()
}

#[test]
fn two_are_fetched_at_once_in_queue_order_and_what_a_host_asks_for_comes_first() {
    let world = world(100);
    assert_eq!(world.plan(&[need(1, 10), need(2, 10), need(3, 10)], &[]).fetch, keys(&[1, 2]));
    assert_eq!(world.plan(&[need(1, 10), need(2, 10), asked(3, 10)], &[]).fetch, keys(&[3, 1]));
    assert_eq!(world.plan(&[need(1, 10), need(2, 10)], &[entry(1, 10, 0)]).fetch, keys(&[2]));
}

#[test]
fn without_prefetching_only_what_a_host_asks_for_is_fetched() {
    let world = World { prefetch: false, ..world(100) };
    assert_eq!(world.plan(&[need(1, 10), asked(2, 10), need(3, 10)], &[]).fetch, keys(&[2]));
}

#[test]
fn what_a_host_asks_for_takes_the_place_of_what_nobody_asks_for() {
    let mut world = world(100);
    world.under_way.extend(keys(&[1, 2]));
    let plan = world.plan(&[need(1, 10), need(2, 10), asked(3, 10)], &[]);
    assert_eq!((plan.fetch, plan.pause), (keys(&[]), keys(&[2])), "the one that is needed last");
    let plan = world.plan(&[asked(1, 10), asked(2, 10), asked(3, 10)], &[]);
    assert_eq!(plan.pause, keys(&[]), "each has its host");
}

#[test]
fn what_no_job_needs_any_more_is_not_fetched_to_its_end() {
    let mut world = world(100);
    world.under_way.extend(keys(&[1]));
    assert_eq!(world.plan(&[need(2, 10)], &[]).pause, keys(&[1]));
}

#[test]
fn the_least_recently_used_goes_first_and_no_more_than_has_to() {
    let entries = [entry(1, 40, -10), entry(2, 40, -30), entry(3, 20, -20)];
    assert_eq!(world(100).plan(&[need(9, 30)], &entries).evict, whole(&[2]));
    assert_eq!(world(100).plan(&[need(9, 60)], &entries).evict, whole(&[2, 3]));
}

#[test]
fn parts_that_were_given_up_go_before_everything_else() {
    let entries = [entry(1, 40, -900_000), part(2, 40, -700_000), part(3, 20, -100)];
    assert_eq!(world(100).plan(&[need(9, 30)], &entries).evict, [(key(2), true)]);
}

#[test]
fn what_a_run_is_on_or_a_host_waits_for_or_another_session_holds_never_goes() {
    let theirs = Entry { is_pinned: true, ..entry(3, 30, -30) };
    let entries = [entry(1, 30, -10), entry(2, 30, -20), theirs];
    let needs = [asked(9, 30), held(1, 30), asked(2, 30)];
    let plan = world(100).plan(&needs, &entries);
    assert_eq!((plan.fetch, plan.evict), (keys(&[]), whole(&[])));
    let told = plan.waits[0].1.told();
    assert_eq!(told.outlook, Outlook::Coming);
    assert!(told.why.contains("full of images that are in use"), "{}", told.why);
}

#[test]
fn prefetching_pauses_when_the_room_is_taken_by_what_is_needed_and_nobody_is_told() {
    let entries = [entry(1, 50, -10), entry(2, 50, -20)];
    let plan = world(100).plan(&[need(1, 50), need(9, 30), need(2, 50), need(8, 1)], &entries);
    assert_eq!(plan, Plan::default());
}

#[test]
fn what_a_host_asks_for_drives_out_what_is_needed_last() {
    let entries = [entry(1, 50, -10), entry(2, 50, -5)];
    let plan = world(100).plan(&[need(1, 50), asked(9, 30), need(2, 50)], &entries);
    assert_eq!((plan.fetch, plan.evict), (keys(&[9]), whole(&[2])));
}

#[test]
fn an_image_larger_than_the_cache_waits_and_says_what_to_do() {
    let plan = world(100).plan(&[need(1, 101), need(2, 10)], &[]);
    assert_eq!(plan.fetch, keys(&[2]), "it holds up nothing");
    let told = plan.waits[0].1.told();
    assert_eq!((plan.waits[0].0, told.outlook), (key(1), Outlook::Lasting));
    assert!(told.why.contains("101 B") && told.why.contains("--cache-size"), "{}", told.why);
}

#[test]
fn what_is_here_of_an_image_that_is_fetched_takes_no_room_of_its_own() {
    let mut world = world(100);
    world.under_way.extend(keys(&[1]));
    assert_eq!(world.plan(&[need(1, 90), need(2, 10)], &[part(1, 50, 0)]).fetch, keys(&[2]));
    assert_eq!(world.plan(&[need(1, 90), need(2, 11)], &[part(1, 50, 0)]).fetch, keys(&[]));
}

#[test]
fn on_a_full_disk_it_is_tried_again_and_what_can_go_goes() {
    let world = World { free: 5, ..world(1000) };
    let plan = world.plan(&[need(1, 20)], &[entry(2, 10, -10), part(1, 8, -5)]);
    assert_eq!((plan.fetch, plan.evict), (keys(&[1]), whole(&[2])), "12 are still to come");
    let plan = world.plan(&[need(1, 20), need(3, 1)], &[held_entry(), part(1, 8, -5)]);
    assert_eq!((plan.fetch, plan.wake), (keys(&[]), Some(at(30))));
    assert!(plan.waits[0].1.to_string().contains("the disk of the cache is full"));
}

fn held_entry() -> Entry {
    Entry { is_pinned: true, ..entry(2, 10, -10) }
}

#[test]
fn a_disk_that_says_it_is_full_is_given_room_whatever_it_tells_of_itself() {
    let mut world = world(1000);
    let Next::Again(trouble) = after(None, &Failure::Full("no space left".into()), true, at(-60)) else {
        panic!("it waits")
    };
    world.troubles.insert(key(1), trouble);
    let plan = world.plan(&[need(1, 20)], &[entry(2, 10, -10), entry(3, 10, -5), entry(4, 10, -1)]);
    assert_eq!((plan.fetch, plan.evict), (keys(&[1]), whole(&[2, 3])));
}

#[test]
fn an_image_in_trouble_waits_for_its_time_and_holds_up_nothing() {
    let mut world = world(100);
    let failure = Failure::Network("no route".into());
    let Next::Again(trouble) = after(None, &failure, false, at(0)) else { panic!("it is tried again") };
    world.troubles.insert(key(1), trouble);
    let plan = world.plan(&[need(1, 10), need(2, 10)], &[]);
    assert_eq!((plan.fetch, plan.wake), (keys(&[2]), Some(at(1))));
}

#[test]
fn a_cache_that_may_hold_less_than_it_does_is_made_smaller() {
    let plan = world(50).plan(&[need(1, 30)], &[entry(1, 30, -30), entry(2, 30, -20), entry(3, 10, -10)]);
    assert_eq!(plan.evict, whole(&[2]));
}

#[test]
fn an_image_is_needed_once_for_all_open_jobs_that_have_it_in_the_order_of_the_first() {
    let found = |name: &str, digest: u8, order: i64| Found {
        name: name.into(),
        kind: Kind::Efi,
        size: 10,
        modified: at(0),
        digest: Some(Digest::new([digest; 32])),
        origin: (name != "local").then(|| format!("https://example.org/{name}")),
        terms: Terms { order, ..Terms::default() },
    };
    let found =
        [found("b", 2, 0), found("a", 1, 5), found("c", 3, 0), found("local", 4, 0), found("d", 2, 0)];
    let mut count = 0;
    let mut random = || {
        count += 1;
        [count; 10]
    };
    let outcome = Snapshot::default().open(&found, &[], &mut Context { now: at(0), random: &mut random });
    let mut snapshot = Snapshot::default();
    for change in outcome.changes {
        match change {
            Change::Job(job) => snapshot.jobs.push(job),
            Change::Workload(workload) => snapshot.workloads.push(workload),
            _ => {}
        }
    }
    snapshot.jobs[2].state = JobState::Cancelled;
    snapshot.jobs[4].state = JobState::Active;
    let asked = BTreeMap::from([(key(1), at(-599)), (key(2), at(-600))]);
    let key_of = |workload: &Workload| workload.digest.map(Key::Digest);
    let needs = needs(&snapshot, key_of, &asked, at(0));
    let told: Vec<_> = needs.iter().map(|need| (need.name.as_str(), need.is_asked, need.is_held)).collect();
    assert_eq!(told, [("b", false, true), ("a", true, false)]);
    assert_eq!(needs[0].workloads, [snapshot.workloads[0].id, snapshot.workloads[4].id]);
}

#[test]
fn pauses_grow_to_five_minutes_and_begin_anew_after_progress() {
    let mut trouble = None;
    let mut pauses = Vec::new();
    let failure = Failure::Network("broken".into());
    for progress in [[false; 12].as_slice(), &[true, false]].concat() {
        let Next::Again(next) = after(trouble.as_ref(), &failure, progress, at(0)) else { panic!("again") };
        pauses.push(next.not_before.duration_since(at(0)).as_secs());
        trouble = Some(next);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 1, 2]);
}

#[test]
fn a_wrong_digest_is_fetched_once_more_and_then_errs() {
    let wrong = Failure::Wrong("its digest is wrong".into());
    let Next::Again(first) = after(None, &wrong, true, at(0)) else { panic!("once more") };
    assert_eq!(first.not_before, at(10));
    let broken = Failure::Network("broken".into());
    let Next::Again(then) = after(Some(&first), &broken, true, at(1)) else { panic!("once more") };
    assert_eq!(
        after(Some(&then), &wrong, true, at(2)),
        Next::Spoiled("its digest is wrong, and it was fetched twice".into())
    );
}

#[test]
fn what_is_gone_or_refused_waits_without_holding_hosts_and_a_limit_is_obeyed() {
    let told = |failure: Failure| match after(None, &failure, false, at(0)) {
        Next::Again(trouble) => (trouble.told.map(|told| told.outlook), trouble.not_before),
        Next::Spoiled(why) => panic!("{why}"),
    };
    assert_eq!(told(Failure::NotThere("gone".into())), (Some(Outlook::Lasting), at(30)));
    assert_eq!(told(Failure::Denied("no".into())), (Some(Outlook::Lasting), at(30)));
    let limited = Failure::Limited { until: at(900), words: "too often".into() };
    assert_eq!(told(limited), (Some(Outlook::Coming), at(900)));
    let long_over = Failure::Limited { until: at(-900), words: "too often".into() };
    assert_eq!(told(long_over), (Some(Outlook::Coming), at(1)));
    assert_eq!(told(Failure::Full("full".into())), (Some(Outlook::Coming), at(30)));
}

#[test]
fn a_key_is_read_back_from_its_file_name() {
    for key in [key(7), Key::Origin(Digest::new([9; 32]))] {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    for name in ["", "lock", "origin-", "origin-zz", "sha256"] {
        assert!(name.parse::<Key>().is_err(), "{name}");
    }
}

#[test]
fn speed_and_share_are_told() {
    assert_eq!(per_second(&[]), 0);
    assert_eq!(per_second(&[(at(0), 10)]), 0);
    assert_eq!(per_second(&[(at(0), 10), (at(1), 20), (at(4), 50)]), 10);
    assert_eq!(share(0, 0), "0 % of 0 B");
    assert_eq!(share(1023, 1024), "99 % of 1.0 KiB");
}

fn any_need() -> impl Strategy<Value = (u64, bool, bool)> {
    (1..60_u64, any::<bool>(), any::<bool>())
}

proptest! {
    #[test]
    fn a_plan_keeps_to_the_room_and_takes_nothing_that_is_in_use(
        sizes in proptest::collection::vec(any_need(), 0..8),
        here in proptest::collection::vec((0..12_u8, 1..60_u64, -1000..0_i64, any::<bool>()), 0..10),
        parts in proptest::collection::vec((0..12_u8, 1..60_u64, -1_000_000..0_i64), 0..6),
        limit in 1..200_u64,
        free in 0..200_u64,
        prefetch: bool,
        under_way in proptest::collection::btree_set(0..10_u8, 0..3),
    ) {
        let needs: Vec<Need> = (0..).zip(&sizes).map(|(number, (size, is_asked, is_held))| Need {
            is_asked: *is_asked, is_held: *is_held, ..need(number, *size)
        }).collect();
        let mut entries: Vec<Entry> = Vec::new();
        for (number, size, used, is_pinned) in here {
            if !entries.iter().any(|known| known.key == key(number)) && !under_way.contains(&number) {
                entries.push(Entry { is_pinned, ..entry(number, size, used) });
            }
        }
        for (number, size, used) in parts {
            if !entries.iter().any(|known| known.key == key(number)) {
                let most = sizes.get(usize::from(number)).map_or(size, |(most, ..)| size.min(*most));
                entries.push(part(number, most, used));
            }
        }
        let under_way: BTreeSet<Key> = under_way.into_iter().map(key).collect();
        let first = World { free, prefetch, under_way: under_way.clone(), ..world(limit) };
        let plan = first.plan(&needs, &entries);
        let of = |key: &Key| needs.iter().find(|need| need.key == *key);
        let size_of = |key: &Key| of(key).map_or(0, |need| need.size);

        prop_assert!(plan.fetch.len() + under_way.len() <= AT_ONCE.max(under_way.len()));
        for (key, is_part) in &plan.evict {
            let entry = entries.iter().find(|entry| entry.key == *key && entry.is_part == *is_part);
            prop_assert!(entry.is_some_and(|entry| !entry.is_pinned), "it is there, and nobody else's");
            prop_assert!(!under_way.contains(key) && !plan.fetch.contains(key));
            prop_assert!(of(key).is_none_or(|need| !need.is_held && !need.is_asked));
            if of(key).is_some() {
                prop_assert!(plan.fetch.iter().any(|key| of(key).is_some_and(|need| need.is_asked)),
                    "what is needed goes only for what a host asks for");
            }
        }
        let once: BTreeSet<_> = plan.evict.iter().collect();
        prop_assert_eq!(once.len(), plan.evict.len());
        let stays = |entry: &&Entry| !plan.evict.contains(&(entry.key, entry.is_part));
        let will_be: BTreeSet<Key> = under_way.iter().chain(&plan.fetch).copied().collect();
        let part_of = |key: &Key| entries.iter()
            .filter(|entry| entry.is_part && entry.key == *key).map(|entry| entry.size).sum::<u64>();
        for key in &plan.fetch {
            prop_assert!(of(key).is_some_and(|need| need.is_asked || prefetch));
            prop_assert!(!entries.iter().any(|entry| entry.key == *key && !entry.is_part), "it is here");
        }
        if !plan.fetch.is_empty() {
            let still: u64 = entries.iter().filter(stays)
                .filter(|entry| !entry.is_part || !will_be.contains(&entry.key)).map(|entry| entry.size).sum();
            let coming: u64 = will_be.iter().map(|key| size_of(key).max(part_of(key))).sum();
            prop_assert!(still + coming <= limit, "{still} + {coming} > {limit}");
            let gone: u64 = entries.iter().filter(|entry| !stays(entry)).map(|entry| entry.size).sum();
            let to_come: u64 = will_be.iter().map(|key| size_of(key).max(part_of(key)) - part_of(key)).sum();
            prop_assert!(to_come <= free + gone, "{to_come} > {free} + {gone}");
        }
        // Whatever is evicted is not wanted back by the next plan, or two images would drive each other out for ever.
        let mut next = entries.iter().filter(stays).cloned().collect::<Vec<_>>();
        next.retain(|entry| !plan.fetch.contains(&entry.key));
        for key in &plan.fetch {
            next.push(Entry { key: *key, size: size_of(key), last_used: at(0), is_pinned: false, is_part: false });
        }
        let then = World { free: free + 1000, prefetch, under_way, ..world(limit) }.plan(&needs, &next);
        for (key, _) in then.evict.iter().filter(|(key, _)| plan.fetch.contains(key)) {
            prop_assert!(of(key).is_some_and(|need| !need.is_asked), "{key} was fetched for nothing");
        }
    }

    #[test]
    fn an_image_is_tried_again_until_it_is_wrong_twice(
        failures in proptest::collection::vec((0..7_u8, any::<bool>(), 0..2000_i64), 1..30),
    ) {
        let mut trouble: Option<Trouble> = None;
        let mut now = at(0);
        let mut wrong = 0;
        for (failure, has_progressed, pass) in failures {
            now = now.checked_add(Duration::from_secs(u64::try_from(pass).expect("positive"))).expect("a time");
            let words = || "words".to_owned();
            let failure = match failure {
                0 => Failure::Network(words()),
                1 => Failure::NotThere(words()),
                2 => Failure::Denied(words()),
                3 => Failure::Limited { until: at(100), words: words() },
                4 => Failure::Wrong(words()),
                5 => Failure::Full(words()),
                _ => Failure::Busy,
            };
            let is_wrong = matches!(failure, Failure::Wrong(_));
            wrong += u32::from(is_wrong);
            match after(trouble.as_ref(), &failure, has_progressed, now) {
                Next::Spoiled(_) => { prop_assert!(is_wrong && wrong == 2); return Ok(()); }
                Next::Again(next) => {
                    prop_assert!(wrong < 2);
                    prop_assert!(next.not_before >= now);
                    prop_assert!(next.not_before > now, "no loop without a pause");
                    prop_assert!(next.not_before <= at(100).max(now.checked_add(Duration::from_mins(5)).expect("a time")));
                    trouble = Some(next);
                }
            }
        }
    }
}
