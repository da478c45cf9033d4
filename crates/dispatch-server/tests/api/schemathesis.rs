//! `schemathesis` makes requests of the OpenAPI document, good ones and bad ones, and must find nothing wrong with the
//! answers. `cargo nextest run -p dispatch-server --profile schemathesis` runs it; the first time it is installed.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use dispatch_wire::api::Role;

use crate::full::Full;

const VERSION: &str = "4.32.5";

/// Always the same requests.
const SEED: &str = "20260102";

/// How many requests for each operation.
const EXAMPLES: &str = "50";

/// What a test of single answers cannot ask for: the first ends the session, the others never end.
const LEFT_OUT: [&str; 3] = ["/api/v1/auth/logout", "/api/v1/events", "/api/v1/ws"];

/// The program, in an environment of its own in the cache directory.
fn installed() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let home = cache.expect("HOME is set").join(format!("dispatch/schemathesis-{VERSION}"));
    let program = home.join("bin/schemathesis");
    if !program.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home)).expect("an environment");
        let package = format!("schemathesis=={VERSION}");
        let mut pip = Command::new(home.join("bin/pip"));
        run(pip.args(["install", "--quiet", &package])).expect("an installation");
    }
    program
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&text).into_owned()) }
}

/// How many jobs wait: many of the requests delete some.
const WAITING: usize = 600;

/// How many of them are named where one request may delete many.
const NAMED: usize = 60;

/// Requests that are meant to be good get none of what it makes up where only an answer could have given it: a cursor, or an
/// `If-Match` that it does not make of the pattern that the document has for it. That both are refused, other tests show.
const HOOKS: &str = r#"
import re
import schemathesis

TAGS = re.compile(r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$')

@schemathesis.hook
def map_case(context, case):
    if case.meta is not None and case.meta.generation.mode.is_positive:
        for name in ("cursor", "before"):
            if case.query and name in case.query:
                del case.query[name]
        for name in list(case.headers or ()):
            if name.lower() == "if-match" and not TAGS.match(case.headers[name]):
                del case.headers[name]
    return case
"#;

/// What it is given to go by: who asks, the identifiers of what is there, and what else an answer may be than it thinks.
fn settings(token: &str, full: &Full) -> String {
    // Not as a header, which would be sent also where it tries what happens without.
    let mut text = format!("hooks = \"hooks.py\"\n[auth.openapi.session]\napi_key = \"{token}\"\n");
    // A request that fits may come at the wrong time: the thing is gone, or in another state (409), or has another version
    // than the one that is named (412).
    text += "[checks.positive_data_acceptance]\n\
             expected-statuses = [\"2xx\", 401, 403, 404, 409, 412]\n";
    // Whoever reaches nothing but 404 has tried nothing.
    text += "[warnings]\nfail-on = [\"missing_test_data\", \"missing_auth\", \"unmatched_filter\"]\n";
    for (kind, ids) in full.kinds() {
        let _ = write!(text, "[dictionaries.{kind}]\nvalues = {ids:?}\n");
    }
    text += "[dictionaries.closing]\nvalues = [\"actions\"]\n";
    let _ = write!(text, "[dictionaries.named]\nvalues = {:?}\n", &full.ids("jobs")[WAITING - NAMED..]);
    let mut bind = |path: &str, places: &[(&str, &str)]| {
        let places = places
            .iter()
            .map(|(place, kind)| format!("\"{place}\" = {{ dictionary = \"{kind}\", probability = 0.9 }}\n"));
        let places: String = places.collect();
        let _ =
            write!(text, "[[operations]]\ninclude-path-regex = '{path}'\n[operations.parameters]\n{places}");
    };
    for (kind, _) in full.kinds().filter(|(kind, _)| !matches!(*kind, "groups" | "jobs")) {
        let name = if kind == "problems" { "path.kind" } else { "path.id" };
        bind(&format!("/{kind}/[{{]"), &[(name, kind)]);
    }
    // The other group goes on taking jobs.
    bind("/groups/[{]id}/(drain|pause)$", &[("path.id", "closing")]);
    bind(
        "/groups/[{]id}(?!/(drain|pause)$)",
        &[
            ("path.id", "groups"),
            ("body.template_id", "templates"),
            ("body.workload_id", "workloads"),
            ("body.host", "hosts"),
            ("body.job_ids[*]", "jobs"),
        ],
    );
    bind("/jobs/[{]", &[("path.id", "jobs"), ("body.before", "jobs"), ("body.after", "jobs")]);
    bind("/jobs/bulk", &[("body.ids[*]", "named")]);
    let queries = ["group", "job", "run", "host"].map(|name| (format!("query.{name}"), format!("{name}s")));
    let queries: Vec<_> = queries.iter().map(|(place, kind)| (place.as_str(), kind.as_str())).collect();
    bind("/(runs|reports|hosts|workloads)$", &queries);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let full = Full::new(WAITING).await;
    let world = &full.world;
    let client = world.client(Role::Admin).await;
    let document = format!("http://{}/api/v1/openapi.json", world.address);
    let cookie = client.cookie.expect("a session");
    let token = cookie.split_once('=').expect("a value").1;
    let dir = tempfile::TempDir::new().expect("a folder");
    std::fs::write(dir.path().join("schemathesis.toml"), settings(token, &full)).expect("written");
    std::fs::write(dir.path().join("hooks.py"), HOOKS).expect("written");
    let folder = dir.path().to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(installed());
        command.current_dir(&folder).args(["run", &document]);
        command.args(["--seed", SEED, "--max-examples", EXAMPLES, "--checks", "all"]);
        command.args(["--generation-database", "none", "--no-color"]);
        for path in LEFT_OUT {
            command.args(["--exclude-path", path]);
        }
        run(&mut command)
    });
    if let Err(found) = run.await.expect("it runs") {
        panic!("{found}");
    }
    let measured = world.nobody().get("/metrics").await;
    let measured = String::from_utf8_lossy(&measured.body).into_owned();
    let signed_in = "route=\"/api/v1/status\",status=\"200\"";
    assert!(measured.contains(signed_in), "it was not signed in:\n{measured}");
}
