//! Who an App's JSON Web Token is from (RFC 7519, signed as RFC 7518 §3.3 says), checked as GitHub checks it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::token::App;

/// How far in the future GitHub lets one end.
const LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// How wrong a clock may be.
const DRIFT: SignedDuration = SignedDuration::from_mins(1);

/// Whether it has the form of one; tokens have no dots.
pub(super) fn is_one(text: &str) -> bool {
    text.split('.').count() == 3
}

/// The App that it is from, or what GitHub says of it.
pub(super) fn app<'a>(text: &str, apps: &'a [App], now: Timestamp) -> Result<&'a App, &'static str> {
    const BROKEN: &str = "A JSON web token could not be decoded";
    let mut parts = text.split('.');
    let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(BROKEN);
    };
    let json =
        |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(head), Some(said), Ok(signed)) =
        (json(header), json(claims), URL_SAFE_NO_PAD.decode(signature))
    else {
        return Err(BROKEN);
    };
    if head["alg"] != "RS256" {
        return Err(BROKEN);
    }
    let issuer = said["iss"].as_str().map(str::to_owned).or_else(|| Some(said["iss"].as_u64()?.to_string()));
    let Some(issuer) = issuer else { return Err("'Issuer' claim ('iss') must be an Integer") };
    let app = apps.iter().find(|app| app.id.to_string() == issuer || app.client_id() == issuer);
    let Some(app) = app else { return Err("Integration not found") };
    let key = public_key(&app.key).ok_or("Integration must generate a public key")?;
    let message = format!("{header}.{claims}");
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(message.as_bytes(), &signed).map_err(|_| BROKEN)?;
    let time = |claim: &Value| claim.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let Some(begins) = time(&said["iat"]) else {
        return Err(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        );
    };
    let Some(expires) = time(&said["exp"]) else {
        return Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    };
    if expires <= now {
        return Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    }
    if expires.duration_since(now) > LONGEST {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    if begins.duration_since(now) > DRIFT {
        return Err(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        );
    }
    Ok(app)
}

/// The `RSAPublicKey` (RFC 8017 A.1.1) in a PEM file, in which it may be wrapped as RFC 5280 §4.1 does.
fn public_key(pem: &str) -> Option<Vec<u8>> {
    let is_wrapped = pem.contains("BEGIN PUBLIC KEY");
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = STANDARD.decode(lines).ok()?;
    if !is_wrapped {
        return Some(der);
    }
    let (inside, _) = element(&der, 0x30)?;
    let (_, behind_algorithm) = element(inside, 0x30)?;
    let (bits, _) = element(behind_algorithm, 0x03)?;
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// The content of a DER element of that type, and what comes behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let (len, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let count = usize::from(*length & 0x7f);
        let digits = rest.get(..count)?;
        (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest.get(count..)?)
    };
    Some((rest.get(..len)?, rest.get(len..)?))
}
