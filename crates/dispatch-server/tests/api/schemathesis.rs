//! `schemathesis` makes requests of the OpenAPI document, good ones and bad ones, and must find nothing wrong with the
//! answers. `cargo nextest run -p dispatch-server --profile schemathesis` runs it; the first time it is installed.

use std::path::PathBuf;
use std::process::Command;

use dispatch_wire::api::Role;

use crate::world::World;

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

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let world = World::new().await;
    let client = world.client(Role::Admin).await;
    let document = format!("http://{}/api/v1/openapi.json", world.address);
    let cookie = client.cookie.expect("a session");
    let token = cookie.split_once('=').expect("a value").1;
    let dir = tempfile::TempDir::new().expect("a folder");
    // Not as a header, which would be sent also where it tries what happens without.
    let settings = format!("[auth.openapi.session]\napi_key = \"{token}\"\n");
    std::fs::write(dir.path().join("schemathesis.toml"), settings).expect("written");
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
