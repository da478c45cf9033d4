//! The document itself, and that it is kept by everybody for everybody.

use crate::contract::CONTRACT;
use crate::world::World;

/// To accept a change of the API: `DISPATCH_ACCEPT=1 cargo nextest run -p dispatch-server`; review the difference.
#[test]
fn the_reviewed_document_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let text = serde_json::to_string_pretty(&dispatch_server::api::document()).expect("the document") + "\n";
    if std::env::var_os("DISPATCH_ACCEPT").is_some() {
        std::fs::write(path, text).expect("docs/openapi.json");
    } else {
        let shown = std::fs::read_to_string(path).unwrap_or_default();
        assert!(shown == text, "docs/openapi.json is not what the code does: see this test's comment");
    }
}

#[tokio::test]
async fn the_service_shows_the_document_to_everybody() {
    let world = World::new().await;
    let shown = world.nobody().get("/api/v1/openapi.json").await.json();
    assert_eq!(shown, serde_json::to_value(dispatch_server::api::document()).expect("the document"));
    assert_eq!(shown["openapi"], "3.1.0");
}

/// Clients are generated of the document: two operations of one name would be one there.
#[test]
fn each_operation_has_a_name_of_its_own() {
    let mut names: Vec<String> = CONTRACT.operations().into_iter().map(|operation| operation.name).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
}

#[test]
fn what_is_open_to_everybody_is_known_by_name() {
    let mut open: Vec<String> = CONTRACT
        .operations()
        .into_iter()
        .filter(|operation| operation.role == "none")
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .collect();
    open.sort();
    assert_eq!(
        open,
        [
            "GET /api/v1/openapi.json",
            "GET /health",
            "GET /metrics",
            "GET /problems/{kind}",
            "GET /ready",
            "POST /api/v1/auth/login",
        ]
    );
}
