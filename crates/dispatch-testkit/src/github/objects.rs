//! The host of the assets' bytes, as a store behind signed addresses: it knows `Range`, `If-Range`, entity tags, an
//! end of each address, and it refuses whoever brings a token.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::api::{Answer, Ask, Payload, broken};
use super::content::hex;
use super::model::{Asset, Model};

/// The address of an asset's bytes, without the host, until the signature's life is over.
pub(super) fn address(model: &Model, repository: u64, asset: &Asset) -> String {
    let name: String = form_urlencoded::byte_serialize(asset.name.as_bytes()).collect();
    let path =
        format!("/github-production-release-asset/{repository}/{}/{}", asset.id, name.replace('+', "%20"));
    let now = model.now();
    let end = now.saturating_add(model.signature_life).unwrap_or(now).as_second();
    format!("{path}?sp=r&se={end}&sig={}", signature(model, &path, end))
}

fn signature(model: &Model, path: &str, end: i64) -> String {
    hex(&Sha256::digest(format!("{} {path} {end}", model.signature_secret)))
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Answer::new(status, Payload::Text("application/xml", text))
}

/// A failure that is no fault of the asset's.
pub(super) fn trouble(status: u16) -> Answer {
    refused(status, "ServerBusy", "The server is currently unable to receive requests.")
}

/// What a test wants to be otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odd {
    pub(super) ignores_range: bool,
    pub(super) changes_etag: bool,
}

/// Answers a request for an asset's bytes.
pub(super) fn answer(model: &mut Model, ask: &Ask, odd: Odd) -> Answer {
    if ask.header("authorization").is_some() {
        let words = "Only one form of authentication is allowed: this address is signed.";
        return refused(400, "InvalidAuthenticationInfo", words);
    }
    if ask.method != "GET" {
        return refused(405, "UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb.");
    }
    let given =
        |name: &str| ask.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let end = given("se").and_then(|end| end.parse::<i64>().ok()).unwrap_or(0);
    let is_signed = given("sig") == Some(signature(model, &ask.path, end).as_str());
    if !is_signed || Timestamp::from_second(end).is_ok_and(|end| end <= model.now()) {
        return refused(403, "AuthenticationFailed", "The address is not signed, or its time is over.");
    }
    let id = ask.path.split('/').nth(3).and_then(|id| id.parse::<u64>().ok());
    let releases = model.repositories.iter_mut().flat_map(|repository| &mut repository.releases);
    let asset = releases.flat_map(|release| &mut release.assets).find(|asset| Some(asset.id) == id);
    let Some(asset) = asset else {
        return refused(404, "BlobNotFound", "The specified blob does not exist.");
    };
    if odd.changes_etag {
        asset.version += 1;
    }
    serve(asset, ask, odd).unwrap_or_else(|error| broken(&error))
}

fn serve(asset: &Asset, ask: &Ask, odd: Odd) -> std::io::Result<Answer> {
    let len = asset.content.len()?;
    let tag = format!("\"0x{}-{}\"", asset.id, asset.version);
    let modified = asset.created.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let disposition = format!("attachment; filename={}", asset.name);
    let dressed = |answer: Answer| {
        answer
            .with("etag", &tag)
            .with("last-modified", &modified)
            .with("accept-ranges", "bytes")
            .with("content-type", "application/octet-stream")
            .with("content-disposition", &disposition)
    };
    if ask.header("if-match").is_some_and(|wanted| wanted != "*" && !wanted.split(", ").any(|one| one == tag))
    {
        return Ok(refused(412, "ConditionNotMet", "The condition specified was not met."));
    }
    if ask.header("if-none-match").is_some_and(|known| known.split(", ").any(|one| one == tag)) {
        return Ok(dressed(Answer::new(304, Payload::None)));
    }
    // RFC 9110 §13.1.5: a validator that does not match makes the range one that was not asked for.
    let is_same = ask.header("if-range").is_none_or(|known| known == tag || known == modified);
    let range =
        ask.header("range").filter(|_| is_same && !odd.ignores_range).and_then(|range| parse(range, len));
    let content = asset.content.clone();
    Ok(match range {
        None => dressed(Answer::new(200, Payload::Part { content, from: 0, len })),
        Some(Err(())) => refused(416, "InvalidRange", "The range specified is invalid.")
            .with("content-range", &format!("bytes */{len}")),
        Some(Ok((from, to))) => {
            let part = Payload::Part { content, from, len: to - from + 1 };
            dressed(Answer::new(206, part)).with("content-range", &format!("bytes {from}-{to}/{len}"))
        }
    })
}

/// The first and the last byte of a range (RFC 9110 §14.1.2); `None` is a range to be left alone, an error one that
/// nothing is in.
fn parse(range: &str, len: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let count: u64 = last.parse().ok()?;
        return Some(if count == 0 || len == 0 { Err(()) } else { Ok((len.saturating_sub(count), len - 1)) });
    }
    let first: u64 = first.parse().ok()?;
    let last: u64 = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    if last < first {
        return None;
    }
    Some(if first >= len { Err(()) } else { Ok((first, last.min(len - 1))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_rfc_says() {
        assert_eq!(parse("bytes=0-0", 10), Some(Ok((0, 0))));
        assert_eq!(parse("bytes=4-", 10), Some(Ok((4, 9))));
        assert_eq!(parse("bytes=4-99", 10), Some(Ok((4, 9))));
        assert_eq!(parse("bytes=-3", 10), Some(Ok((7, 9))));
        assert_eq!(parse("bytes=-30", 10), Some(Ok((0, 9))));
        assert_eq!(parse("bytes=10-", 10), Some(Err(())));
        assert_eq!(parse("bytes=-0", 10), Some(Err(())));
        for other in ["bytes=5-4", "lines=1-2", "bytes=x-", "bytes=1-2,4-5"] {
            assert_eq!(parse(other, 10), None, "{other}");
        }
    }
}
