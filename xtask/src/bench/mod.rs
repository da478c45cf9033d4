//! `cargo xtask bench boot`: one image to many hosts at once, beside nginx with `sendfile`, on loopback.
//!
//! The two serve in turn, each started afresh for every round, the same file in the page cache to the same clients.
//! What counts is the server: clients throw away what they get inside the kernel, as if they were other machines.

mod load;
mod usage;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args as ClapArgs, Subcommand};
use dispatch_testkit::lab::packages::{Need, ensure_packages};
use dispatch_testkit::nginx::{self, Nginx};
use dispatch_testkit::program::Setup;
use dispatch_testkit::rig::target;

use self::load::{Load, Way};
use self::usage::{Usage, children, peak_memory, usage};
use crate::Failure;
use crate::steps::{cargo_with, step};

/// The most memory that dispatch may ever have held, in bytes (issue: resident memory under 50 MiB).
const MOST_MEMORY: u64 = 50 << 20;

/// The most processor time, in that of nginx.
const MOST_CPU: f64 = 1.2;

/// What is measured twice in the same way differs by this much on a machine that does nothing else.
const NOISE: f64 = 0.03;

const MIB: u64 = 1 << 20;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// One image to many clients at once: throughput, processor time and memory, beside nginx with sendfile
    Boot(Args),
}

/// How it is measured.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Fail unless the targets are met
    #[arg(long)]
    check: bool,
    /// How often each of the two serves; the medians count
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many clients download at once
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=200))]
    clients: u8,
    /// How large the image is, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// How many workers nginx has: a number, or `auto` for one on each processor
    #[arg(long, value_name = "COUNT", default_value = "auto")]
    workers: String,
    /// Clients copy what they get into their own memory, which takes processor time from the server
    #[arg(long)]
    copy: bool,
}

/// What one server did in one round.
struct Measured {
    load: Load,
    usage: Usage,
    peak: u64,
}

/// Runs it.
pub(crate) fn run(bench: &Bench) -> Result<(), Failure> {
    let Bench::Boot(args) = bench;
    ensure_packages(&[Need::Nginx])?;
    step("dispatch", &mut cargo_with(&["build", "--locked", "--release", "--package", "dispatch"]))?;
    let folder = target()?.join("bench");
    let failed = |error| Failure::File(folder.clone(), error);
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder).map_err(failed)?;
    }
    let images = folder.join("images");
    std::fs::create_dir_all(&images).map_err(failed)?;
    make_image(&images, args)?;
    println!(
        "\n── {} MiB to {} clients at once; {}, sendfile and tcp_nopush on, workers: {}\n",
        args.size,
        args.clients,
        nginx::version()?,
        args.workers
    );
    println!("round  server      GiB/s   CPU s   user    sys   peak MiB   HEAD p50 ms   max ms");
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        // Whoever is second may find a machine that is warmer, or busier: they take turns at that too.
        let (nginx, ours) = if round % 2 == 1 {
            let nginx = serve_with_nginx(&folder, args)?;
            (nginx, serve_with_dispatch(&folder, args)?)
        } else {
            let ours = serve_with_dispatch(&folder, args)?;
            (serve_with_nginx(&folder, args)?, ours)
        };
        print_row(round, "nginx", &nginx);
        print_row(round, "dispatch", &ours);
        rounds.push((nginx, ours));
    }
    let _ = std::fs::remove_dir_all(&folder);
    judge(&rounds, args.check)
}

/// One file under a name for each client and one more for the host that only asks, so that it is in the page cache
/// once.
fn make_image(images: &Path, args: &Args) -> Result<(), Failure> {
    let first = images.join(name(0));
    let failed = |error| Failure::File(first.clone(), error);
    let write = || -> io::Result<()> {
        let mut file = File::create(&first)?;
        let mut block = vec![0; usize::try_from(MIB).unwrap_or(0)];
        for number in 0..args.size {
            let bytes = number.to_le_bytes();
            block.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&bytes));
            file.write_all(&block)?;
        }
        // Not from just now, or dispatch would wait whether more follows.
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_hours(24))?;
        file.sync_all()
    };
    write().map_err(failed)?;
    for number in 1..=args.clients {
        std::fs::hard_link(&first, images.join(name(number))).map_err(failed)?;
    }
    Ok(())
}

fn name(number: u8) -> String {
    format!("image-{number:03}.img")
}

fn way(args: &Args) -> Way {
    Way { clients: args.clients, size: args.size * MIB, is_copied: args.copy }
}

/// The master and its workers.
fn processes(nginx: &Nginx) -> Result<Vec<u32>, Failure> {
    let mut processes = children(nginx.id())?;
    processes.push(nginx.id());
    Ok(processes)
}

fn serve_with_nginx(folder: &Path, args: &Args) -> Result<Measured, Failure> {
    let nginx = Nginx::start(folder, &args.workers)?;
    let before = usage(&processes(&nginx)?)?;
    let load = load::run(nginx.address, &way(args), |client| format!("/{}", name(client)))?;
    let processes = processes(&nginx)?;
    let measured = Measured { load, usage: usage(&processes)? - before, peak: peak_memory(&processes)? };
    nginx.stop()?;
    Ok(measured)
}

fn serve_with_dispatch(folder: &Path, args: &Args) -> Result<Measured, Failure> {
    let binary: PathBuf = target()?.join("release/dispatch");
    for kept in ["state", "reports"] {
        let _ = std::fs::remove_dir_all(folder.join(kept));
    }
    let program = Setup::new(&binary.to_string_lossy(), folder).start()?;
    let processes = [program.id()];
    let before = usage(&processes)?;
    let load = load::run(program.address, &way(args), |_| program.path.clone())?;
    let measured = Measured { load, usage: usage(&processes)? - before, peak: peak_memory(&processes)? };
    if !program.terminate()?.success() {
        return Err(Failure::Words("dispatch did not end in good order".to_owned()));
    }
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn in_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

fn print_row(round: u32, server: &str, measured: &Measured) {
    let Measured { load, usage, peak } = measured;
    println!(
        "{round:<6} {server:<9} {:>7.2} {:>7.2} {:>6.2} {:>6.2} {:>10.1} {:>13.2} {:>8.2}",
        load.gib_per_second(),
        usage.total(),
        usage.user,
        usage.system,
        in_mib(*peak),
        load.head_median() * 1e3,
        load.head_longest() * 1e3,
    );
    let _ = io::stdout().flush();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Ratios are taken within a round, because the machine may be slower in the next one.
fn judge(rounds: &[(Measured, Measured)], is_checked: bool) -> Result<(), Failure> {
    let ratio = |figure: fn(&Measured) -> f64| {
        median(rounds.iter().map(|(nginx, ours)| figure(ours) / figure(nginx)).collect())
    };
    let throughput = ratio(|measured| measured.load.gib_per_second());
    let cpu = ratio(|measured| measured.usage.total());
    let peak = rounds.iter().map(|(_, ours)| ours.peak).max().unwrap_or(0);
    let targets = [
        (
            throughput >= 1.0 - NOISE,
            format!("throughput: {throughput:.2} × nginx's; at least 1.00 within noise"),
        ),
        (cpu <= MOST_CPU, format!("processor time: {cpu:.2} × nginx's; at most {MOST_CPU:.2}")),
        (
            peak < MOST_MEMORY,
            format!("peak memory: {:.1} MiB; under {:.0}", in_mib(peak), in_mib(MOST_MEMORY)),
        ),
    ];
    println!("\ndispatch, median of {} rounds:", rounds.len());
    for (is_met, text) in &targets {
        println!("  {} {text}", if *is_met { "✔" } else { "✘" });
    }
    if is_checked && targets.iter().any(|(is_met, _)| !is_met) {
        return Err(Failure::Words("a target is missed".to_owned()));
    }
    Ok(())
}
