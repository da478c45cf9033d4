//! The boot protocol: what each request is answered with (ARCHITECTURE.md, "The boot protocol").

use std::sync::Arc;

use dispatch_core::queue::{Ask, Idle, NoRun};
use dispatch_core::{RunId, Sighting};
use dispatch_wire::boot::{RUN_HEADER, Report};

use crate::http::range::Part;
use crate::http::request::Head;
use crate::http::response::Response;
use crate::idle::Programs;
use crate::queue::{Image, Progress, Queue, Unavailable, Work};
use crate::route::Route;

const ALLOW: &str = "HEAD, GET, POST, PUT";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// An answer, ready to be sent.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A head and its whole body, and what it is in words.
    Small(Response, Vec<u8>, String),
    /// A head, and a part of an image.
    File(Box<FileAnswer>),
}

impl Answer {
    /// The status, and what the answer is in words.
    pub(crate) fn told(&self) -> (u16, String) {
        match self {
            Self::Small(response, _, words) => (response.status(), words.clone()),
            Self::File(file) => (file.response.status(), file.image.name.clone()),
        }
    }
}

/// An answer whose body comes from a file.
#[derive(Debug)]
pub(crate) struct FileAnswer {
    pub(crate) response: Response,
    pub(crate) image: Image,
    pub(crate) progress: Arc<Progress>,
    /// The first byte of the part.
    pub(crate) start: u64,
    /// Bytes of the part.
    pub(crate) length: u64,
}

fn small(status: u16, media_type: &str, body: impl Into<Vec<u8>>, words: &str) -> Answer {
    let body = body.into();
    let response = Response::new(status, body.len() as u64).with("Content-Type", media_type);
    Answer::Small(response, body, words.to_owned())
}

/// One sentence for whoever reads it.
pub(crate) fn sentence(status: u16, text: &str) -> Answer {
    small(status, TEXT, format!("{text}\n"), text)
}

fn unavailable(error: &Unavailable) -> Answer {
    tracing::error!("{error}");
    sentence(503, &error.to_string())
}

/// Whether a request carries a body that is read before it is answered.
pub(crate) fn takes_report(route: &Route, head: &Head) -> bool {
    matches!(route, Route::Boot(_)) && head.method == "PUT"
}

/// Whether a request may start a download.
pub(crate) fn may_download(route: &Route, head: &Head) -> bool {
    matches!(route, Route::Boot(_)) && head.method == "GET" && !head.is_browser
}

/// Answers a request whose body, if it takes one, has been read.
pub(crate) async fn answer<Q: Queue>(
    queue: &Q,
    programs: &Programs,
    who: &Sighting,
    route: &Route,
    head: &Head,
    body: &[u8],
) -> Answer {
    let answer = match (route, head.method.as_str()) {
        (Route::Boot(_), "HEAD" | "GET") if head.is_browser => {
            queue.page().await.map(|page| small(200, HTML, page, "the status page"))
        }
        (Route::Boot(_), "HEAD") => queue.ask(who, Ask::Head).await.map(|work| promise(programs, &work)),
        (Route::Boot(_), "GET") => get(queue, programs, who, head).await,
        (Route::Boot(_), "POST") => post(queue, who, head).await,
        (Route::Boot(_), "PUT") => put(queue, who, head, body).await,
        (Route::Health, "HEAD" | "GET") => {
            queue.health().await.map(|health| small(200, JSON, health, "health"))
        }
        (Route::Boot(_), _) => Ok(method_not_allowed(ALLOW)),
        (Route::Health, _) => Ok(method_not_allowed("HEAD, GET")),
        (Route::BadName(why), _) => Ok(sentence(400, why)),
        (Route::Unknown, _) => {
            Ok(sentence(404, "nothing is here: dispatch prints its boot URL when it starts"))
        }
    };
    answer.unwrap_or_else(|error| unavailable(&error))
}

fn method_not_allowed(allow: &str) -> Answer {
    match sentence(405, &format!("this path takes {allow}")) {
        Answer::Small(response, body, words) => Answer::Small(response.with("Allow", allow), body, words),
        file @ Answer::File(_) => file,
    }
}

fn image_head(status: u16, image: &Image, length: u64) -> Response {
    Response::new(status, length)
        .with("Content-Type", image.kind.media_type())
        .with("Accept-Ranges", "bytes")
        .with("ETag", &image.etag)
        .with_modified(image.modified)
}

/// The answer to a `HEAD`; the body of a small answer is left out by the connection.
fn promise(programs: &Programs, work: &Work) -> Answer {
    match work {
        Work::Image(image) => {
            Answer::Small(image_head(200, image, image.size), Vec::new(), image.name.clone())
        }
        Work::Idle(idle) => idle_answer(programs, idle),
        Work::NotNow(why) => not_now(why),
    }
}

fn not_now(why: &str) -> Answer {
    sentence(503, &format!("the image cannot be read at the moment: {why}; ask again"))
}

/// The program that tells a host what to do, or a 404 if there is none.
fn idle_answer(programs: &Programs, idle: &Idle) -> Answer {
    match (programs.for_host(idle), idle.stub) {
        (Some(program), Some(stub)) => {
            small(200, "application/efi", program, &format!("{stub}: {}", idle.reason))
        }
        _ => sentence(404, &format!("nothing to boot: {}", idle.reason)),
    }
}

async fn get<Q: Queue>(
    queue: &Q,
    programs: &Programs,
    who: &Sighting,
    head: &Head,
) -> Result<Answer, Unavailable> {
    let image = match queue.ask(who, Ask::Get).await? {
        Work::Image(image) => image,
        Work::Idle(idle) => return Ok(idle_answer(programs, &idle)),
        Work::NotNow(why) => return Ok(not_now(&why)),
    };
    let size = image.size;
    let (status, start, length) = match Part::asked(head, size, &image.etag, image.modified) {
        Part::Everything => (200, 0, size),
        Part::Range { first, last } => (206, first, last - first + 1),
        Part::Changed => {
            return Ok(sentence(412, "the image is another one by now: fetch it from its start"));
        }
        Part::Unsatisfiable => {
            let response = Response::new(416, 0).with("Content-Range", &format!("bytes */{size}"));
            return Ok(Answer::Small(response, Vec::new(), format!("no such part of {}", image.name)));
        }
    };
    let Some(progress) = queue.begin(image.run, size, start).await? else {
        return Ok(sentence(
            404,
            "this run was ended, or what the host has is the beginning of another image; ask again from the start",
        ));
    };
    let mut response = image_head(status, &image, length);
    if status == 206 {
        response = response.with("Content-Range", &format!("bytes {start}-{}/{size}", start + length - 1));
    }
    Ok(Answer::File(Box::new(FileAnswer { response, image, progress, start, length })))
}

fn ok_of_run(run: RunId, words: &str) -> Answer {
    Answer::Small(Response::new(200, 0).with(RUN_HEADER, &run.to_string()), Vec::new(), words.to_owned())
}

async fn post<Q: Queue>(queue: &Q, who: &Sighting, head: &Head) -> Result<Answer, Unavailable> {
    Ok(match queue.started(who, &head.told).await? {
        Ok(run) => ok_of_run(run, "its image is up"),
        Err(why) => sentence(417, &why.to_string()),
    })
}

async fn put<Q: Queue>(queue: &Q, who: &Sighting, head: &Head, body: &[u8]) -> Result<Answer, Unavailable> {
    let report = match Report::from_json(body) {
        Ok(report) => report,
        Err(error) => return Ok(sentence(400, &error.to_string())),
    };
    let run = match head.run {
        None => None,
        Some(Ok(run)) => Some(run),
        Some(Err(())) => return Ok(sentence(417, "the Dispatch-Run of this report is no run of ours")),
    };
    Ok(match queue.reported(who, &head.told, run, report).await? {
        Ok(accepted) if accepted.known => ok_of_run(accepted.run, "a report that was here already"),
        Ok(accepted) => ok_of_run(accepted.run, "its report is stored"),
        Err(NoRun::Nothing) => sentence(417, "this report belongs to no run here"),
        Err(why @ NoRun::Several(_)) => sentence(417, &why.to_string()),
    })
}
