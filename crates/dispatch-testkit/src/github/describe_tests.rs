//! That what is not as GitHub describes it is noticed.

use super::*;

fn description() -> &'static Description {
    Description::get()
}

fn request(method: &str, path: &str, query: &[(&str, &str)], body: &str) -> Vec<String> {
    let (operation, names) = description().find(method, path).expect("an operation");
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    description().check_request(operation, &names, &query, body.as_bytes())
}

fn answer(path: &str, status: u16, body: &Value) -> Vec<String> {
    let (operation, _) = description().find("GET", path).expect("an operation");
    description().check_answer(operation, status, Some(body))
}

fn label() -> Value {
    json!({ "id": 1, "node_id": "n", "url": "http://h/l", "name": "bug", "description": null, "color": "ededed", "default": false })
}

#[test]
fn every_schema_of_the_extract_can_be_compiled() {
    for operation in &description().operations {
        let mut places: Vec<&String> = operation.answers.values().flatten().collect();
        places.extend(operation.body.iter().map(|(place, _)| place));
        places.extend(operation.parameters.iter().map(|parameter| &parameter.schema));
        for place in places {
            if let Err(error) = description().validator(place) {
                panic!("{error}");
            }
        }
    }
}

#[test]
fn every_operation_of_the_extract_is_one_that_the_fake_can_do() {
    let source = include_str!("api/mod.rs");
    for operation in &description().operations {
        assert!(source.contains(&format!("\"{}\" =>", operation.id)), "{}", operation.id);
    }
}

#[test]
fn words_of_a_path_go_before_names() {
    let id = |path: &str| description().find("GET", path).map(|(operation, _)| operation.id.as_str());
    assert_eq!(id("/repos/o/r/releases/latest"), Some("repos/get-latest-release"));
    assert_eq!(id("/repos/o/r/releases/5"), Some("repos/get-release"));
    assert_eq!(id("/search/issues"), None);
}

#[test]
fn a_name_in_a_path_is_decoded() {
    let (_, names) = description().find("GET", "/repos/o/r/labels/a%2Fb+c%26d").expect("an operation");
    assert_eq!(names["name"], "a/b+c&d");
}

#[test]
fn a_request_as_described_is_right() {
    let issue = r#"{"title": "t", "labels": ["a"], "milestone": 1, "assignees": []}"#;
    assert_eq!(request("POST", "/repos/o/r/issues", &[], issue), [""; 0]);
    let query = [("state", "all"), ("since", "2026-01-01T00:00:00Z"), ("per_page", "100")];
    assert_eq!(request("GET", "/repos/o/r/issues", &query, ""), [""; 0]);
}

#[test]
fn a_misspelt_parameter_is_noticed() {
    assert_eq!(request("GET", "/repos/o/r/issues", &[("perpage", "100")], "").len(), 1);
}

#[test]
fn a_parameter_of_the_wrong_form_is_noticed() {
    assert_eq!(request("GET", "/repos/o/r/issues", &[("state", "any")], "").len(), 1);
    assert_eq!(request("GET", "/repos/o/r/issues", &[("since", "yesterday")], "").len(), 1);
    assert_eq!(request("GET", "/repos/o/r/issues", &[("page", "two")], "").len(), 1);
    assert_eq!(request("GET", "/repos/o/r/issues/seven", &[], "").len(), 1);
}

#[test]
fn more_than_a_hundred_a_page_are_noticed() {
    assert_eq!(request("GET", "/repos/o/r/milestones", &[("per_page", "101")], "").len(), 1);
}

#[test]
fn a_body_of_the_wrong_form_is_noticed() {
    for body in [
        "",
        "{",
        "[]",
        r#"{"body": "b"}"#,
        r#"{"title": ["t"]}"#,
        r#"{"title": "t", "labels": "bug"}"#,
        r#"{"title": "t", "assignee": 5}"#,
    ] {
        assert!(!request("POST", "/repos/o/r/issues", &[], body).is_empty(), "{body}");
    }
}

#[test]
fn a_misspelt_member_of_a_body_is_noticed() {
    assert_eq!(request("POST", "/repos/o/r/issues", &[], r#"{"title": "t", "lables": []}"#).len(), 1);
}

#[test]
fn a_body_that_nobody_described_is_noticed() {
    assert_eq!(request("GET", "/repos/o/r/issues", &[], "{}").len(), 1);
}

#[test]
fn an_answer_as_described_is_right() {
    assert_eq!(answer("/repos/o/r/labels/bug", 200, &label()), [""; 0]);
}

#[test]
fn an_answer_that_lacks_something_is_noticed() {
    let mut label = label();
    label.as_object_mut().expect("an object").remove("color");
    assert_eq!(answer("/repos/o/r/labels/bug", 200, &label).len(), 1);
}

#[test]
fn an_answer_with_something_that_is_not_described_is_noticed() {
    let mut label = label();
    label["colour"] = "ededed".into();
    assert_eq!(answer("/repos/o/r/labels/bug", 200, &label).len(), 1);
}

#[test]
fn null_is_taken_where_it_is_described_and_nowhere_else() {
    let mut label = label();
    label["description"] = "a bug".into();
    assert_eq!(answer("/repos/o/r/labels/bug", 200, &label), [""; 0]);
    label["name"] = Value::Null;
    assert_eq!(answer("/repos/o/r/labels/bug", 200, &label).len(), 1);
}

#[test]
fn a_status_that_is_not_described_is_noticed() {
    assert_eq!(answer("/repos/o/r/labels/bug", 201, &label()).len(), 1);
    assert_eq!(answer("/repos/o/r/labels/bug", 500, &json!({})).len(), 1);
}

#[test]
fn a_body_or_its_lack_is_noticed_where_it_should_not_be() {
    let (operation, _) = description().find("GET", "/repos/o/r/assignees/a").expect("an operation");
    assert_eq!(description().check_answer(operation, 204, None), [""; 0]);
    assert_eq!(description().check_answer(operation, 204, Some(&json!({}))).len(), 1);
    let (operation, _) = description().find("GET", "/repos/o/r/labels/a").expect("an operation");
    assert_eq!(description().check_answer(operation, 200, None).len(), 1);
}

#[test]
fn nullable_becomes_a_type_a_member_of_an_enumeration_or_a_choice() {
    let made = |schema: Value| translate(&json!({}), &schema);
    assert_eq!(made(json!({ "type": "string", "nullable": true })), json!({ "type": ["string", "null"] }));
    assert_eq!(
        made(json!({ "type": "string", "enum": ["a"], "nullable": true })),
        json!({ "type": ["string", "null"], "enum": ["a", null] })
    );
    assert_eq!(
        made(json!({ "oneOf": [{ "type": "string" }], "nullable": true })),
        json!({ "anyOf": [{ "oneOf": [{ "type": "string" }] }, { "type": "null" }] })
    );
}

#[test]
fn a_member_that_is_called_like_a_word_of_the_language_stays_one() {
    let schema = json!({ "properties": { "nullable": { "type": "string" }, "default": { "type": "string", "nullable": true } } });
    let made = translate(&json!({}), &schema);
    assert_eq!(made["properties"]["nullable"], json!({ "type": "string" }));
    assert_eq!(made["properties"]["default"], json!({ "type": ["string", "null"] }));
}

#[test]
fn the_parts_of_an_all_of_are_one_object() {
    let whole = json!({ "a": { "type": "object", "properties": { "x": {} }, "required": ["x"] } });
    let made = translate(&whole, &json!({ "allOf": [{ "$ref": "#/a" }, { "properties": { "y": {} } }] }));
    assert_eq!(made["properties"], json!({ "x": {}, "y": {} }));
    assert_eq!((&made["required"], &made["additionalProperties"]), (&json!(["x"]), &json!(false)));
}

#[test]
fn every_correction_is_of_something_that_is_there() {
    let whole: Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
    for (place, right, _) in CORRECTIONS {
        assert!(whole.pointer(place).is_some(), "{place}");
        assert!(whole.pointer(right.trim_start_matches('#')).is_some(), "{right}");
    }
}
